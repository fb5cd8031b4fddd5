"""GET /api/v1/exports, as its page describes it."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zipfile import ZipFile

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelhub.accounts.roles import Role
from samples.models import Task
from tests.factories import (
    make_member,
    make_project,
    make_samples,
    make_settled_task,
    make_source,
    make_superuser,
    make_task,
    make_user,
)

from .conftest import Buyer

GOLDEN = Path(__file__).parent / "golden"
VALIDATED = datetime(2026, 5, 25, 10, 5, tzinfo=UTC)
FORMATS = ("json", "jsonl", "csv", "openai", "huggingface", "alpaca")


def lines(answer):
    assert answer.status == 200, answer.message
    return [json.loads(line) for line in answer.raw.splitlines()]


def contents(answer):
    return [row["content"] for row in lines(answer)]


def members(answer):
    """The members of a ZIP by name, in their order."""
    assert answer.status == 200, answer.message
    with ZipFile(io.BytesIO(answer.raw)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


# The page's own examples ----------------------------------------------------------------------------------------------


def product(project):
    return make_settled_task(project, "Ce produit est fantastique !", confidence=0.87, validated_at=VALIDATED)


def service(project):
    return make_settled_task(project, "Service catastrophique", label="Négatif")


def image(project):
    other = make_project("images", task_type="BINARY_CHOICE", labels=("Oui", "Non"))
    make_member(other, Role.BUYER, user=project.members.get())
    return make_settled_task(other, "Cette image est-elle appropriée ?", label="Oui")


@pytest.mark.parametrize(
    ("format", "golden", "rows"),
    [
        ("jsonl", "export.jsonl", [product, image]),
        ("csv", "export.csv", [product]),
        ("openai", "openai.jsonl", [product, service]),
        ("huggingface", "huggingface.jsonl", [product, service]),
        ("alpaca", "alpaca.jsonl", [product]),
    ],
)
def test_the_example_comes_out_byte_for_byte(buyer, project, format, golden, rows):
    expected = (GOLDEN / golden).read_text()
    for make in rows:
        expected = expected.replace("cmpkb...", make(project).uid, 1)
    assert buyer.export(format=format).raw.decode() == expected


def test_json_is_the_example_without_its_line_breaks(buyer, project):
    task = product(project)
    example = json.loads((GOLDEN / "export.json").read_text())
    example[0]["id"] = task.uid
    answer = buyer.export(format="json")
    assert answer.raw == json.dumps(example, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("format", "kind", "name", "empty"),
    [
        ("json", "application/json", "export.json", b"[]"),
        ("jsonl", "application/x-ndjson", "export.jsonl", b""),
        ("csv", "text/csv; charset=utf-8", "export.csv", b"id,type,content,label,confidence,locale,validatedAt\n"),
        ("openai", "application/x-ndjson", "export.jsonl", b""),
        ("huggingface", "application/x-ndjson", "export.jsonl", b""),
        ("alpaca", "application/x-ndjson", "export.jsonl", b""),
    ],
)
def test_without_tasks_the_file_is_empty_but_whole(buyer, format, kind, name, empty):
    answer = buyer.export(format=format)
    assert (answer.status, answer.raw) == (200, empty)
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_content_goes_out_verbatim(buyer, project):
    said = [
        '{"text": "a", "url": "https://x.example/1"}',
        "https://x.example/ü?a=1&b=2",
        'dit "oui",\r\nfin\u2028\t\\ 🙂 /',
    ]
    for content in said:
        make_settled_task(project, content)
    assert contents(buyer.export()) == said
    assert [
        row["content"] for row in csv.DictReader(io.StringIO(buyer.export(format="csv").raw.decode(), newline=""))
    ] == said


def test_what_the_client_accepts_does_not_matter(buyer, project):
    product(project)
    for accept in ("text/html", "application/xml", "*/*", ""):
        buyer.headers["accept"] = accept
        assert len(lines(buyer.export(format="openai"))) == 1


def test_it_is_not_squeezed_on_its_way(buyer, project):
    product(project)
    buyer.headers["accept-encoding"] = "gzip, deflate"
    assert len(lines(buyer.export())) == 1


# Which tasks ----------------------------------------------------------------------------------------------------------


def test_without_a_status_only_completed_tasks_come(buyer, project):
    product(project)
    for status in ("PENDING", "VALIDATING", "FAILED"):
        make_task(project, status, status=status)
    assert contents(buyer.export()) == ["Ce produit est fantastique !"]
    for status in ("PENDING", "VALIDATING", "FAILED"):
        assert contents(buyer.export(status=status)) == [status]
    assert contents(buyer.export(status="COMPLETED")) == ["Ce produit est fantastique !"]


def test_a_task_without_a_verdict_has_no_label_confidence_or_moment(buyer, project):
    task = make_task(project, "vide", status="FAILED", vote_shares={"Positif": 0.5, "Négatif": 0.5})
    (row,) = json.loads(buyer.export(format="json", status="FAILED").raw)
    assert (row["id"], row["label"], row["confidence"], row["validatedAt"]) == (task.uid, None, None, None)
    assert buyer.export(format="csv", status="FAILED").raw.splitlines()[1] == (
        f'{task.uid},SENTIMENT_ANALYSIS,"vide",,,fr,'.encode()
    )
    for format in ("openai", "huggingface", "alpaca"):
        assert buyer.export(format=format, status="FAILED").raw == b""


def test_a_buyer_gets_the_tasks_of_the_projects_in_which_he_may_export(buyer, project):
    product(project)
    make_settled_task(make_project("autre"), "celle d’un autre")
    looked_at = make_project("regarder")
    make_member(looked_at, Role.VIEWER, user=buyer.user)
    make_settled_task(looked_at, "à regarder seulement")
    assert contents(buyer.export()) == ["Ce produit est fantastique !"]
    assert len(lines(Buyer(make_superuser()).export())) == 3


def test_filters_are_exact_and_combine(buyer, project):
    second = make_project("second", task_type="BINARY_CHOICE", labels=("Oui", "Non"), locale="en")
    make_member(second, Role.BUYER, user=buyer.user)
    product(project)
    make_settled_task(project, "en-ca", locale="en-CA")
    make_settled_task(second, "really?", label="Oui")
    assert contents(buyer.export(projectId=project.uid)) == ["Ce produit est fantastique !", "en-ca"]
    assert contents(buyer.export(projectId="second")) == ["really?"]
    assert contents(buyer.export(type="BINARY_CHOICE")) == ["really?"]
    assert contents(buyer.export(locale="en")) == ["really?"]
    assert contents(buyer.export(locale="en", type="SENTIMENT_ANALYSIS")) == []
    assert contents(buyer.export(locale="fr", projectId=project.uid, status="COMPLETED")) == [
        "Ce produit est fantastique !"
    ]


def test_label_ids_follow_the_project_s_list_and_are_the_same_in_every_part(buyer):
    many = make_samples(40, labels=("Positif", "Négatif", "Mitigé"))
    make_member(many, Role.BUYER, user=buyer.user)
    split = members(buyer.export(format="huggingface", trainRatio="0.5", valRatio="0.25", testRatio="0.25"))
    pairs = {(row["label"], row["label_id"]) for part in split.values() for row in map(json.loads, part.splitlines())}
    assert pairs == {("Positif", 0), ("Négatif", 1), ("Mitigé", 2)}


def test_labels_outside_any_list_are_numbered_after_it_by_first_appearance(buyer, project):
    for label in ("Mitigé", "Autre", "Mitigé"):
        make_task(
            project,
            label,
            options=["Autre", "Mitigé"],
            status="COMPLETED",
            label_name=label,
            answer={"label": label},
            confidence=1.0,
            validated_at=VALIDATED,
        )
    product(project)
    rows = lines(buyer.export(format="huggingface"))
    assert [(row["label"], row["label_id"]) for row in rows] == [
        ("Mitigé", 2),
        ("Autre", 3),
        ("Mitigé", 2),
        ("Positif", 0),
    ]


def test_asking_again_gives_the_same_bytes(buyer):
    make_member(make_samples(120), Role.BUYER, user=buyer.user)
    for question in ({}, {"format": "csv"}, {"trainRatio": "0.8", "valRatio": "0.1", "testRatio": "0.1"}):
        assert buyer.export(**question).raw == buyer.export(**question).raw


# Splits ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fifty(buyer):
    project = make_samples(50)
    make_member(project, Role.BUYER, user=buyer.user)
    return buyer


@pytest.mark.parametrize("format", FORMATS)
def test_three_ratios_give_a_zip_of_train_val_and_test(fifty, format):
    answer = fifty.export(format=format, trainRatio="0.8", valRatio="0.1", testRatio="0.1")
    ending = {"json": "json", "csv": "csv"}.get(format, "jsonl")
    split = members(answer)
    assert list(split) == [f"train.{ending}", f"val.{ending}", f"test.{ending}"]
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="export.zip"'

    def rows(part):
        if format == "json":
            return json.loads(part)
        if format == "csv":
            return list(csv.reader(io.StringIO(part.decode())))[1:]
        return part.splitlines()

    assert [len(rows(part)) for part in split.values()] == [40, 5, 5]
    whole = rows(fifty.export(format=format).raw)
    assert sorted(map(str, whole)) == sorted(str(row) for part in split.values() for row in rows(part))


@pytest.mark.parametrize(
    "ratios", [("0.7", "0.2", "0.1"), ("0.6", "0.3", "0.1"), ("1", "0", "0"), ("1.0", "0.0", "0.0")]
)
def test_shares_that_add_up_to_one_as_written_are_taken(fifty, ratios):
    answer = fifty.export(**dict(zip(("trainRatio", "valRatio", "testRatio"), ratios, strict=True)))
    counts = [len(part.splitlines()) for part in members(answer).values()]
    assert counts == [int(50 * Decimal(ratio)) for ratio in ratios]


@pytest.mark.parametrize("ratio", ["0.8", "1", "0", "0.35"])
def test_a_train_ratio_alone_gives_one_plain_file_of_every_row(fifty, ratio):
    answer = fifty.export(trainRatio=ratio)
    assert answer.raw == fifty.export().raw
    assert len(lines(answer)) == 50


def test_of_two_ratios_that_add_up_the_third_part_is_empty_but_there(fifty):
    assert [len(part.splitlines()) for part in members(fifty.export(trainRatio="0.9", testRatio="0.1")).values()] == [
        45,
        0,
        5,
    ]
    assert [len(part.splitlines()) for part in members(fifty.export(trainRatio="0.9", valRatio="0.1")).values()] == [
        45,
        5,
        0,
    ]


@pytest.mark.parametrize(
    "ratios",
    [
        ("0.8", "0.1", "0.2"),
        ("0.8", "0.1", "0.09999999999999999"),
        ("0.8", "0.1", None),
        ("0.8", None, "0.1"),
        (None, "0.5", "0.5"),
        (None, "1", None),
        (None, None, "0.1"),
        ("NaN", "0.5", "0.5"),
        ("1.5", "-0.5", "0"),
        ("1e0", "0", "0"),
        ("80", "10", "10"),
        ("0,8", "0,1", "0,1"),
        ("abc", None, None),
        ("1.1", None, None),
        ("-1", None, None),
        ("", "0.5", "0.5"),
        ("٠.٨", "0.1", "0.1"),
        ("0." + "9" * 400, None, None),
    ],
)
def test_shares_that_are_not_three_that_add_up_to_exactly_one_are_refused(fifty, ratios):
    named = dict(zip(("trainRatio", "valRatio", "testRatio"), ratios, strict=True))
    answer = fifty.export(**{name: value for name, value in named.items() if value is not None})
    assert (answer.status, answer.code) == (400, "INVALID_RATIOS")
    assert len(answer.message) < 300


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 99), st.integers(0, 99))
def test_every_whole_percent_split_is_disjoint_complete_and_of_the_exact_sizes(fifty, train, val):
    val = min(val, 100 - train)
    shares = [f"{Decimal(percent) / 100}" for percent in (train, val, 100 - train - val)]
    split = members(fifty.export(**dict(zip(("trainRatio", "valRatio", "testRatio"), shares, strict=True))))
    rows = [part.splitlines() for part in split.values()]
    assert sorted(sum(rows, [])) == sorted(fifty.export().raw.splitlines())
    for part, share in zip(rows, shares, strict=True):
        assert abs(len(part) - 50 * Decimal(share)) < 1


def test_a_split_of_nothing_still_has_its_three_members(buyer):
    split = members(buyer.export(trainRatio="0.8", valRatio="0.1", testRatio="0.1"))
    assert split == {"train.jsonl": b"", "val.jsonl": b"", "test.jsonl": b""}


def test_a_task_stays_in_its_part_when_it_is_exported_again(fifty):
    ratios = {"trainRatio": "0.8", "valRatio": "0.1", "testRatio": "0.1"}
    assert members(fifty.export(**ratios)) == members(fifty.export(**ratios))


# What it costs --------------------------------------------------------------------------------------------------------


def queries(ask):
    with CaptureQueriesContext(connection) as captured:
        assert ask().status == 200
    return len(captured)


@pytest.mark.parametrize("format", FORMATS)
def test_ten_rows_or_ninety_take_the_same_queries(buyer, project, format):
    source = make_source(project)
    for number in range(10):
        make_settled_task(project, f"n{number}", source=source)
    ten = queries(lambda: buyer.export(format=format))
    for number in range(80):
        make_settled_task(project, f"m{number}", source=source)
    assert queries(lambda: buyer.export(format=format)) <= ten + 1  # the reader's next step
    assert ten <= 12


def test_asking_for_the_head_reads_no_task(buyer, project):
    product(project)
    whole, head = buyer.export(format="csv"), buyer.export("HEAD", format="csv")
    assert (head.status, head.raw) == (200, b"")
    assert head.headers["Content-Disposition"] == whole.headers["Content-Disposition"]
    with CaptureQueriesContext(connection) as captured:
        buyer.export("HEAD", format="csv")
    assert not [query for query in captured.captured_queries if Task._meta.db_table in query["sql"]]


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"format": "xml"}, "INVALID_FORMAT"),
        ({"format": "JSON"}, "INVALID_FORMAT"),
        ({"format": "parquet"}, "INVALID_FORMAT"),
        ({"format": ""}, "INVALID_FORMAT"),
        ({"format": "x" * 5000}, "INVALID_FORMAT"),
        ({"status": "DONE"}, "INVALID_STATUS"),
        ({"status": "completed"}, "INVALID_STATUS"),
        ({"status": ""}, "INVALID_STATUS"),
        ({"type": "NOTHING"}, "INVALID_TYPE"),
        ({"type": ""}, "INVALID_TYPE"),
        ({"locale": "\0"}, "INVALID_LOCALE"),
        ({"projectId": "a\0"}, "INVALID_PROJECT"),
        ({"project": "avis"}, "UNKNOWN_FIELD"),
        ({"trainratio": "0.8"}, "UNKNOWN_FIELD"),
    ],
)
def test_a_parameter_that_is_not_the_contract_s_is_refused(buyer, asked, code):
    answer = buyer.export(**asked)
    assert (answer.status, answer.code) == (400, code)
    assert len(answer.message) < 400


def test_a_refusal_names_what_is_allowed(buyer):
    assert "json, jsonl, csv, openai, huggingface, alpaca" in buyer.export(format="xml").message
    assert "PENDING, VALIDATING, COMPLETED, FAILED" in buyer.export(status="DONE").message
    assert "SENTIMENT_ANALYSIS" in buyer.export(type="NOTHING").message


def test_the_format_is_compulsory(buyer):
    answer = buyer.ask("GET", "/api/v1/exports")
    assert (answer.status, answer.code) == (400, "MISSING_FIELDS")


def test_another_s_project_is_not_there_and_one_that_is_only_looked_at_may_not_be_exported(buyer):
    other = make_project("autre")
    for named in (other.uid, other.name, "nothing"):
        answer = buyer.export(projectId=named)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")
    make_member(other, Role.ANNOTATOR, user=buyer.user)
    answer = buyer.export(projectId=other.uid)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")


@pytest.mark.parametrize("token", [None, "x", "a.b", "a.b.c", "é", "x" * 5000])
def test_without_a_valid_token_it_is_401(db, token):
    answer = Buyer(token=token).export()
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_jwt_that_has_expired_is_401(db, settings, freeze_jwt):
    fresh, expired = freeze_jwt(make_user())
    assert Buyer(token=fresh).export().status == 200
    answer = Buyer(token=expired).export()
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.fixture
def freeze_jwt():
    """A function: a JWT of a user that is good, and one whose time is over."""
    from datetime import timedelta

    from rest_framework_simplejwt.tokens import RefreshToken

    def made(user):
        fresh, expired = RefreshToken.for_user(user).access_token, RefreshToken.for_user(user).access_token
        expired.set_exp(lifetime=-timedelta(seconds=1))
        return str(fresh), str(expired)

    return made


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_405(buyer, method):
    answer = buyer.ask(method, "/api/v1/exports", {} if method != "OPTIONS" else None)
    assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("path", ["/api/v1/exports/", "/api/v1/exports/1"])
def test_a_path_that_is_not_there_is_404(buyer, path):
    answer = buyer.ask("GET", path)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")


def test_prompts_that_no_export_can_use_are_said_before_the_file_begins(buyer, project):
    product(project)
    project.prompts = {"fr": {"chat": "sans le contenu"}}
    project.save()
    answer = buyer.export(format="openai")
    assert (answer.status, answer.code) == (409, "INVALID_PROMPTS")
    assert buyer.export(format="jsonl").status == 200
