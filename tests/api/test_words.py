"""The one table of who may do what: what it says is what the doors ask, what the admin shows and what docs/roles.md prints."""

from pathlib import Path

import pytest
from django.urls import reverse
from django.utils.html import escape

from labelhub.accounts.roles import POWERS, Power, Role
from labelhub.api.label_backend.envelope import ADMIN
from labelhub.api.uipath.powers import PERMISSIONS, permissions_of
from labelhub.api.words import UIPATH, WORDS
from tests.factories import make_staff, make_user

DOC = Path(__file__).parents[2] / "docs" / "roles.md"


def marks(held):
    return " | ".join("✓" if is_held else "–" for is_held in held)


@pytest.mark.parametrize("power", Power)
def test_the_page_of_the_docs_says_what_each_role_may_do(power):
    assert f"| {power.label} (`{power}`) | {marks(power in POWERS[role] for role in Role)} |" in DOC.read_text()


@pytest.mark.parametrize("row", WORDS, ids=lambda row: row.word)
def test_it_says_what_each_contract_s_word_is_with_us(row):
    held = marks(row.power in POWERS[role] for role in Role)
    assert f"| {row.contract} | {row.word} | {row.opens} | `{row.power}` | {held} |" in DOC.read_text()


def test_the_rooms_ask_this_table():
    assert {row.word: row.power for row in WORDS if row.contract == UIPATH} == PERMISSIONS
    assert {row.power for row in WORDS if row.word == "ADMIN"} == {ADMIN}
    assert permissions_of(Role.BUYER) == [
        *("voc-readonly", "datasets-export", "sources-read", "sources-add-comments", "users-read")
    ]


def test_the_admin_shows_it_to_everybody_who_may_come_in(client, db):
    address = reverse("roles")
    client.force_login(make_user())
    assert client.get(address).status_code == 302
    client.force_login(make_staff())
    shown = client.get(address).content.decode()
    for text in (*Role.labels, *(row.word for row in WORDS), *(row.opens for row in WORDS)):
        assert escape(text) in shown
    held = sum(power in POWERS[role] for power in Power for role in Role) + sum(len(row.roles) for row in WORDS)
    assert shown.count('aria-label="yes"') == held
    assert address in client.get(reverse("admin:index")).content.decode()
