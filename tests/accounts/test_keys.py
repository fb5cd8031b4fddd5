"""Access keys: shown once, kept encrypted, closed when they should be."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from labelhub.accounts.keys import TOUCH_EVERY, bearer_of, create_key, key_of_bearer, revoke_key
from labelhub.accounts.models import AccessKey, AuditEntry
from tests.factories import make_user

pytestmark = pytest.mark.django_db


def make_key(**fields):
    key, secret = create_key(make_user(), **fields)
    return key, bearer_of(key, secret)


def test_a_key_opens_with_its_secret():
    key, bearer = make_key()
    assert key_of_bearer(bearer) == key
    assert key_of_bearer(bearer).user == key.user


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bearer: bearer[:-1] + ("0" if bearer[-1] != "0" else "1"),
        lambda bearer: bearer + "0",
        lambda bearer: bearer.replace(".", ""),
        lambda bearer: bearer.partition(".")[0] + ".",
        lambda bearer: "lh0." + bearer.partition(".")[2],
        lambda bearer: "",
        lambda bearer: "é." + bearer,
        lambda bearer: bearer.partition(".")[0] + ".é",
    ],
)
def test_nothing_else_opens_it(spoil):
    key, bearer = make_key()
    assert key_of_bearer(spoil(bearer)) is None
    key.refresh_from_db()
    assert key.last_used_at is None


def test_another_key_s_secret_does_not_open_it():
    (_, mine), (_, theirs) = make_key(), make_key()
    assert key_of_bearer(f"{mine.partition('.')[0]}.{theirs.partition('.')[2]}") is None


def test_the_secret_is_nowhere_in_the_database():
    key, bearer = make_key(name="nightly export")
    secret = bearer.partition(".")[2]
    assert secret not in str(AccessKey.objects.values().get())
    assert secret not in str(AuditEntry.objects.values().get())
    assert key.secret == secret


def test_an_expired_key_opens_nothing():
    _, bearer = make_key(expires_at=timezone.now() - timedelta(seconds=1))
    assert key_of_bearer(bearer) is None


def test_a_key_opens_until_it_expires():
    _, bearer = make_key(expires_at=timezone.now() + timedelta(minutes=1))
    assert key_of_bearer(bearer)


def test_a_revoked_key_opens_nothing_and_the_trail_says_who_revoked_it():
    key, bearer = make_key()
    admin = make_user("admin")
    assert revoke_key(key, by=admin)
    assert key_of_bearer(bearer) is None
    assert key.revoked_at
    entry = AuditEntry.objects.get(action="revoke")
    assert (entry.actor, entry.subject, entry.subject_id) == (admin, "accesskey", key.pk)
    assert (entry.before, entry.after) == ("active", "revoked")


def test_a_key_is_revoked_once():
    key, _ = make_key()
    admin = make_user()
    assert [revoke_key(key, by=admin), revoke_key(key, by=admin)] == [True, False]
    assert AuditEntry.objects.filter(action="revoke").count() == 1


def test_the_trail_says_who_made_a_key():
    admin = make_user("admin")
    key, _ = create_key(make_user("program"), by=admin)
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject_id, entry.after) == (admin, "create", key.pk, "active")


def test_the_key_of_a_user_who_may_not_log_in_opens_nothing():
    key, bearer = make_key()
    key.user.is_active = False
    key.user.save()
    assert key_of_bearer(bearer) is None


def test_use_is_noted_at_most_once_a_minute(django_assert_num_queries):
    key, bearer = make_key()
    with django_assert_num_queries(2):
        key_of_bearer(bearer)
    with django_assert_num_queries(1):
        key_of_bearer(bearer)
    key.refresh_from_db()
    first = key.last_used_at
    assert timezone.now() - first < timedelta(seconds=10)

    AccessKey.objects.update(last_used_at=first - TOUCH_EVERY - timedelta(seconds=1))
    key_of_bearer(bearer)
    key.refresh_from_db()
    assert key.last_used_at >= first


def test_a_changed_secrets_key_closes_the_door_and_says_why(settings, caplog):
    key, bearer = make_key()
    settings.SECRETS_KEY = "another"
    assert key_of_bearer(bearer) is None
    assert "SECRETS_KEY is not the one" in caplog.text
    assert bearer.partition(".")[2] not in caplog.text


# The command ----------------------------------------------------------------------------------------------------------


def create_access_key(*arguments):
    out = StringIO()
    call_command("create_access_key", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_one_json_object_whose_bearer_opens():
    user = make_user("robot")
    said = create_access_key("robot", "--name", "nightly", "--days", "30")
    printed = json.loads(said)
    assert said.count("\n") == 1
    assert list(printed) == ["access_key", "secret_key", "bearer"]
    assert printed["bearer"] == f"{printed['access_key']}.{printed['secret_key']}"
    key = key_of_bearer(printed["bearer"])
    assert (key.user, key.name, key.key_id) == (user, "nightly", printed["access_key"])
    assert timedelta(days=29, hours=23) < key.expires_at - timezone.now() <= timedelta(days=30)
    assert AuditEntry.objects.get().actor is None  # whoever sits at the machine: the hub itself


def test_a_key_without_days_never_expires():
    make_user("robot")
    assert key_of_bearer(json.loads(create_access_key("robot"))["bearer"]).expires_at is None


def test_the_command_refuses_what_would_make_a_useless_key():
    make_user("gone", is_active=False)
    make_user("robot")
    for arguments, said in {
        ("nobody",): "there is no user 'nobody'",
        ("gone",): "the user 'gone' is not active",
        ("robot", "--days", "0"): "--days is 0; it must be from 1 to 36500",
        ("robot", "--name", "n" * 101): "--name has 101 characters; 100 are allowed",
    }.items():
        with pytest.raises(CommandError, match=said):
            create_access_key(*arguments)
    assert not AccessKey.objects.exists()
