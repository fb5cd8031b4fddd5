"""Every limit and every error: JSON with a sentence, and nothing changed."""

import json
import re

import pytest
from django.test import Client

from labelhub.accounts.models import AuditEntry
from labelhub.api.uipath import shapes
from samples.models import Dataset, Label, Project, Source, Task
from tests.factories import make_project, make_source, make_staff, make_user

from .conftest import Speaker, comment

ROUTES = [
    ("GET", "/api/v1/datasets", None),
    ("GET", "/api/v1/datasets/bank", None),
    ("GET", "/api/v1/datasets/bank/mail", None),
    ("GET", "/api/v1/datasets/id:{dataset}", None),
    ("PUT", "/api/v1/datasets/bank/new", {"dataset": {}}),
    ("POST", "/api/v1/datasets/bank/mail", {"dataset": {"title": "x"}}),
    ("DELETE", "/api/v1/datasets/bank/mail", None),
    ("DELETE", "/api/v1/datasets/id:{dataset}", None),
    ("GET", "/api/v1/datasets/bank/mail/model-tags", None),
    ("POST", "/api/v1/datasets/bank/mail/export", {}),
    ("POST", "/api/_private/datasets/bank/mail/query", {"limit": 1}),
    ("POST", "/api/_private/datasets/bank/mail/statistics", {"comment_filter": {}}),
    ("GET", "/api/_private/datasets/bank/mail/labellings", None),
    ("POST", "/api/_private/datasets/bank/mail/labellings/{source}.c1", {"labelling": [{"assigned": []}]}),
    ("POST", "/api/v1/datasets/bank/mail/sync-annotations", {"annotations": []}),
    ("PUT", "/api/_private/datasets/bank/mail/labels/default", {"label_defs": [{"name": "x"}]}),
    ("GET", "/api/v1/sources", None),
    ("GET", "/api/v1/sources/bank", None),
    ("GET", "/api/v1/sources/bank/inbox", None),
    ("GET", "/api/v1/sources/id:{source}", None),
    ("PUT", "/api/v1/sources/bank/new", {"source": {}}),
    ("POST", "/api/v1/sources/bank/inbox", {"source": {"title": "x"}}),
    ("DELETE", "/api/v1/sources/bank/inbox", None),
    ("DELETE", "/api/v1/sources/id:{source}", None),
    ("POST", "/api/v1/sources/bank/inbox/statistics", {}),
    ("POST", "/api/v1/sources/bank/inbox/sync", {"comments": []}),
    ("PUT", "/api/_private/sources/bank/inbox/comments", {"comments": []}),
    ("GET", "/api/_private/sources/bank/inbox/comments", None),
    ("GET", "/api/v1/sources/bank/inbox/comments/c1", None),
    ("DELETE", "/api/v1/sources/bank/inbox/comments?id=c1", None),
    ("DELETE", "/api/v1/sources/bank/inbox/messages?id=c1", None),
    ("GET", "/api/_private/projects", None),
    ("GET", "/api/_private/projects/bank", None),
    ("PUT", "/api/_private/projects/new", {"project": {}}),
    ("POST", "/api/_private/projects/bank", {"project": {"title": "x"}}),
    ("DELETE", "/api/_private/projects/bank?force=true", None),
    ("GET", "/api/_private/users", None),
    ("GET", "/api/_private/buckets", None),
    ("GET", "/auth/user", None),
    ("POST", "/auth/refresh-user-permissions", {}),
]
OF_A_PROJECT = [route for route in ROUTES if "bank" in route[1] or "{" in route[1]]


@pytest.fixture
def unchanged(filled):
    """After the test everything must be as it was."""

    def state():
        rows = [list(model.objects.order_by("pk").values()) for model in (Project, Source, Dataset, Label, Task)]
        return json.dumps([rows, AuditEntry.objects.exclude(subject="accesskey").count()], default=str)

    before = state()
    yield filled
    assert state() == before


@pytest.fixture
def nobody(db):
    """Somebody who is a member of no project."""
    return Speaker(make_staff("nobody"))


def at(path, speaker):
    return path.format(dataset=speaker.dataset_id, source=speaker.source_id)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_without_a_token_every_route_is_401(unchanged, method, path, body):
    answer = Speaker().ask(method, at(path, unchanged), body)
    assert answer.code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["x", "a.b", "lh00.secret", "a.b.c", "..", ".", "é", "a" * 5000])
def test_a_token_that_nobody_gave_out_is_401(unchanged, token):
    assert Speaker(token=token).get("/api/v1/datasets").code == 401


def test_the_right_id_with_another_secret_is_401(unchanged):
    key = unchanged.user.access_keys.get()
    assert Speaker(token=f"{key.key_id}.{'0' * 48}").get("/api/v1/datasets").code == 401


@pytest.mark.parametrize(("method", "path", "body"), OF_A_PROJECT)
def test_another_project_s_things_are_not_there(unchanged, nobody, method, path, body):
    path = at(path, unchanged)
    answer = nobody.ask(method, path, body)
    assert answer.code == 404, answer
    if "id:" not in path:
        assert answer.message == "No such project: bank"


def test_lists_show_only_what_the_token_may_see(unchanged, nobody):
    assert nobody.get("/api/v1/datasets").datasets == []
    assert nobody.get("/api/v1/sources").sources == []
    assert nobody.get("/api/_private/projects").projects == []


ALLOWED = {
    "viewer": {"voc-readonly", "sources-read"},
    "annotator": {"voc-readonly", "sources-read", "datasets-review"},
    "reviewer": {"voc-readonly", "sources-read", "datasets-review"},
    "buyer": {"voc-readonly", "sources-read", "datasets-export", "sources-add-comments"},
}
NEEDS = {
    ("GET", "/api/v1/datasets/bank/mail"): "voc-readonly",
    ("PUT", "/api/v1/datasets/bank/new"): "voc",
    ("POST", "/api/v1/datasets/bank/mail"): "datasets-admin",
    ("DELETE", "/api/v1/datasets/bank/mail"): "datasets-admin",
    ("GET", "/api/v1/datasets/bank/mail/model-tags"): "datasets-model-admin",
    ("POST", "/api/v1/datasets/bank/mail/export"): "datasets-export",
    ("GET", "/api/_private/datasets/bank/mail/labellings"): "datasets-review",
    ("POST", "/api/v1/sources/bank/inbox/sync"): "sources-add-comments",
    ("PUT", "/api/v1/sources/bank/new"): "sources-admin",
    ("GET", "/api/_private/sources/bank/inbox/comments"): "sources-read",
    ("DELETE", "/api/v1/sources/bank/inbox/comments?id=c1"): "sources-admin",
    ("DELETE", "/api/_private/projects/bank?force=true"): "sources-admin",
}


@pytest.mark.parametrize("role", ALLOWED)
def test_a_role_opens_what_its_permissions_say(filled, make_member_of, role):
    member = make_member_of("bank", role)
    bodies = {(method, path): body for method, path, body in ROUTES}
    granted = member.get("/auth/user").user["organisation_permissions"]["bank"]
    assert ALLOWED[role] <= set(granted)
    for (method, path), permission in NEEDS.items():
        answer = member.ask(method, path, bodies[method, path])
        assert answer.code == (200 if permission in ALLOWED[role] else 403), (method, path)
        assert (permission in granted) == (answer.code == 200)


def test_asking_for_the_head_alone_needs_the_same_permission(unchanged, make_member_of):
    viewer = make_member_of("bank", "viewer")
    answer = viewer.client.head("/api/v1/datasets/bank/mail/model-tags", headers=viewer.headers)
    assert answer.status_code == 403


def test_only_staff_may_create_projects(db):
    assert Speaker(make_user()).put("/api/_private/projects/mine", {"project": {}}).code == 403


# Paths and methods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v1/datasets/",
        "/api/v1/datasets/bank/mail/",
        "/api/v1/datasets/bank/mail/nothing",
        "/api/v1/datasets/a/b/c/d",
        "/api/v1/datasets/ba%00nk/mail",
        "/api/_private/nothing",
        "/auth",
        "/auth/nothing",
        "/api/v1/datasets/%ff%fe/mail",
        "/api/v1/datasets/bank/../mail",
    ],
)
def test_an_unknown_route_is_404_in_json(unchanged, path):
    for method in ("GET", "PUT", "POST", "DELETE"):
        answer = unchanged.ask(method, path)
        assert answer.code == 404
        assert answer.message == "404 Not Found" or answer.message.startswith("No such")


def test_an_unknown_route_s_whole_answer_is_the_documented_one(unchanged):
    for path in ("/auth/nothing", "/api/_private/nothing", "/api/v1/datasets/bank/mail/nothing"):
        assert json.loads(unchanged.get(path).raw) == {"message": "404 Not Found", "status": "error"}


def test_elsewhere_an_unknown_page_is_html(db):
    assert Client().get("/nothing")["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/v1/datasets/bank/mail"),
        ("POST", "/api/v1/datasets"),
        ("GET", "/api/v1/datasets/bank/mail/export"),
        ("PUT", "/api/v1/sources/bank/inbox/sync"),
        ("DELETE", "/auth/user"),
        ("OPTIONS", "/api/v1/datasets"),
    ],
)
def test_another_method_is_405(unchanged, method, path):
    answer = unchanged.ask(method, path, {} if method in ("PATCH", "POST", "PUT") else None)
    assert (answer.code, answer.message) == (405, "405 Method Not Allowed")
    assert method not in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/api/v1/datasets", "/api/v1/datasets/no/no", "/api/v1/nothing", "/auth/nothing", "/auth/user/", "/api"]
)
def test_every_answer_says_how_long_it_took(unchanged, path):
    assert re.fullmatch(r"total;dur=\d+\.\d", unchanged.get(path).headers["Server-Timing"])


def test_what_the_client_accepts_does_not_matter(unchanged):
    for accept in ("text/html", "application/xml", "*/*", ""):
        unchanged.headers["accept"] = accept
        assert unchanged.get("/api/v1/datasets?format=xml").code == 200


# Bodies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"dataset"',
        b"5",
        b"{}",
        b'{"dataset": null}',
        b'{"dataset": []}',
        b'{"dataset": {"title": NaN}}',
        b'{"dataset": {"title": "\\u0000"}}',
        b'{"dataset": {"title": "\\ud800"}}',
        b'{"dataset": {"_model_config": {"x": 1e999}}}',
        b'{"dataset": {"_model_config": {"x": ' + b"9" * 5000 + b"}}}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"dataset": {"_model_config": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        *(b'{"dataset": {"debug_config_json": ' + b"[" * deep + b"]" * deep + b"}}" for deep in (250, 930, 980)),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_that_is_not_what_is_asked_for_is_400(unchanged, body):
    for path, method in (("/api/v1/datasets/bank/new", "PUT"), ("/api/v1/datasets/bank/mail", "POST")):
        assert unchanged.ask(method, path, data=body, content_type="application/json").code == 400


def test_what_is_deep_but_not_too_deep_goes_in_and_comes_out(cli):
    """What json reads it must be able to write again, from wherever it is called."""
    deep = json.loads("[" * 190 + "]" * 190)
    assert cli.put("/api/v1/datasets/bank/deep", {"dataset": {"_label_properties": [{"deep": deep}]}}).code == 200
    assert cli.get("/api/v1/datasets/bank/deep").dataset["_label_properties"] == [{"deep": deep}]


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"\xff"])
def test_permissions_are_refreshed_for_a_body_in_json_or_none(unchanged, body):
    path = "/auth/refresh-user-permissions"
    assert unchanged.post(path, data=body, content_type="application/json").code == 400
    assert unchanged.post(path).permissions_refreshed is True


def test_a_body_of_another_type_is_415(unchanged):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html"):
        answer = unchanged.ask("PUT", "/api/v1/datasets/bank/new", data=b'{"dataset": {}}', content_type=kind)
        assert answer.code == 415


def test_a_body_of_more_than_ten_megabytes_is_413(unchanged):
    body = json.dumps({"dataset": {"title": "x" * 10 * 1024 * 1024}}).encode()
    for method in ("PUT", "POST"):
        answer = unchanged.ask(method, "/api/v1/datasets/bank/mail", data=body, content_type="application/json")
        assert answer.code == 413
        assert "10485760" in answer.message


def test_a_long_title_of_ten_million_bytes_is_400(unchanged):
    body = {"dataset": {"title": "x" * 10_000_000}}
    answer = unchanged.put("/api/v1/datasets/bank/new", body)
    assert answer.code == 400
    assert len(answer.message) < 300


DATASET_FAULTS = [
    {"title": "x" * 129},
    {"description": "x" * 16385},
    {"title": 5},
    {"title": True},
    {"title": None},
    {"title": ["x"]},
    {"description": {}},
    {"source_ids": "x"},
    {"source_ids": [5]},
    {"source_ids": ["0000000000000000"]},
    {"source_ids": ["x"] * 1025},
    {"source_ids": None},
    {"model_family": "non-existent-family"},
    {"model_family": 5},
    {"entity_defs": [{}]},
    {"entity_defs": [{"name": "x", "title": "x", "inherits_from": ["a", "b"], "trainable": True}]},
    {"general_fields": {}},
    {"_dataset_flags": "gpt4"},
    {"unknown": 1},
]
NEW_FAULTS = [
    {"has_sentiment": "yes"},
    {"has_sentiment": 1},
    {"has_sentiment": None},
    {"label_defs": [{}]},
    {"label_defs": [{"name": "x" * 65}]},
    {"label_defs": [{"name": ""}]},
    {"label_defs": [{"name": "tab\there"}]},
    {"label_defs": [{"name": "x", "title": "x" * 129}]},
    {"label_defs": [{"name": "x", "odd": 1}]},
    {"label_defs": [{"name": f"{n}"} for n in range(1025)]},
    {"label_groups": [{"label_defs": []}]},
    {"id": "0000000000000000"},
    {"created": "2020-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("fields", DATASET_FAULTS + NEW_FAULTS, ids=lambda fields: str(fields)[:50])
def test_a_wrong_new_dataset_is_400(unchanged, fields):
    assert unchanged.put("/api/v1/datasets/bank/new", {"dataset": fields}).code == 400


@pytest.mark.parametrize(
    "fields",
    [*DATASET_FAULTS, {"has_sentiment": False}, {"label_defs": []}, {"name": "x"}, {"copy_annotations_from": "x"}],
    ids=lambda fields: str(fields)[:50],
)
def test_a_wrong_update_of_a_dataset_is_400(unchanged, fields):
    assert unchanged.post("/api/v1/datasets/bank/mail", {"dataset": fields}).code == 400


def test_the_message_begins_with_what_the_client_looks_for(unchanged):
    answer = unchanged.put("/api/v1/datasets/bank/new", {"dataset": {"model_family": "non-existent-family"}})
    assert answer.message.startswith("'non-existent-family' is not one of ['english',")
    assert "dataset.model_family" in answer.message


@pytest.mark.parametrize("name", ["x" * 257, "a b", "a.b", "é", "a%0Ab", "-ok-%F0%9F%98%80"])
def test_a_name_that_breaks_the_rules_is_refused(unchanged, name):
    assert unchanged.put(f"/api/v1/datasets/bank/{name}", {"dataset": {}}).code == 400
    assert unchanged.put(f"/api/v1/sources/bank/{name}", {"source": {}}).code == 400
    assert unchanged.get(f"/api/v1/datasets/bank/{name}").code == 404


def test_project_names_have_their_rule_too(unchanged):
    for name in ("a b", "x" * 1025, "é"):
        assert unchanged.put(f"/api/_private/projects/{name}", {"project": {}}).code == 400


def test_a_name_that_is_taken_is_409(unchanged):
    body = {"dataset": {"title": "another"}}
    assert unchanged.put("/api/v1/datasets/bank/mail", body).code == 409
    assert unchanged.put("/api/v1/sources/bank/inbox", {"source": {}}).code == 409
    assert unchanged.put("/api/_private/projects/bank", {"project": {}}).code == 409


@pytest.fixture
def elsewhere(db):
    """The id of a source in another project; made before `unchanged` takes its picture."""
    return make_source(make_project("elsewhere")).uid


def test_a_source_of_another_project_cannot_be_chosen(elsewhere, unchanged):
    body = {"dataset": {"source_ids": [elsewhere]}}
    assert unchanged.put("/api/v1/datasets/bank/new", body).code == 400
    assert unchanged.post("/api/v1/datasets/bank/mail", body).code == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"language": "klingon"},
        {"should_translate": "no"},
        {"title": "x" * 129},
        {"bucket_id": 5},
        {"sensitive_properties": [1]},
        {"unknown": 1},
        None,
        [],
    ],
    ids=str,
)
def test_a_wrong_source_is_400(unchanged, fields):
    assert unchanged.put("/api/v1/sources/bank/new", {"source": fields}).code == 400
    assert unchanged.post("/api/v1/sources/bank/inbox", {"source": fields}).code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"project": {"title": 5}},
        {"project": {"name": "x"}},
        {},
        {"project": {}, "user_ids": ["0000000000000000"]},
        {"project": {}, "user_ids": "x"},
    ],
    ids=str,
)
def test_a_wrong_project_is_400(unchanged, body):
    assert unchanged.put("/api/_private/projects/new", body).code == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"_dataset_flags": ["made-up"]},
        {"_model_config": 5},
        {"_model_config": {}},
        {"_model_config": {"kind": "made-up"}},
        {"_preferred_locales": {"default": "en-GB"}},
        {"_preferred_locales": {"default": 5, "preferences": []}},
        {"_label_properties": {}},
        {"_label_properties": [5]},
        {"general_fields": [{}]},
        {"general_fields": [5]},
    ],
    ids=str,
)
def test_what_would_break_every_client_that_lists_it_is_refused(unchanged, fields):
    """These go back out as they came, and the command line reads them into closed types."""
    assert unchanged.put("/api/v1/datasets/bank/new", {"dataset": fields}).code == 400
    assert unchanged.post("/api/v1/datasets/bank/mail", {"dataset": fields}).code == 400


@pytest.mark.parametrize(
    "fields", [{"pretrained": 5}, {"pretrained": {}}, {"moon_form": [5]}, {"moon_form": [{}]}], ids=str
)
def test_so_is_a_label_that_no_client_could_read(unchanged, fields):
    assert unchanged.put("/api/v1/datasets/bank/new", {"dataset": {"label_defs": [{"name": "A"} | fields]}}).code == 400


def test_a_source_of_an_unknown_kind_is_refused(unchanged):
    assert unchanged.put("/api/v1/sources/bank/new", {"source": {"_kind": "made-up"}}).code == 400
    assert unchanged.post("/api/v1/sources/bank/inbox", {"source": {"_kind": "made-up"}}).code == 400


# Comments -------------------------------------------------------------------------------------------------------------

MESSAGE = {"body": {"text": "x"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "a/b"},
        {"id": "a b"},
        {"id": ""},
        {"id": "x" * 1025},
        {"id": 5},
        {"timestamp": "yesterday"},
        {"timestamp": 1600000000},
        {"timestamp": "2020-13-01T00:00:00Z"},
        {"timestamp": "9999-12-31T23:59:59-12:00"},
        {"timestamp": None},
        {"timestamp": ""},
        {"messages": "x"},
        {"messages": [{}]},
        {"messages": [{"body": "x"}]},
        {"messages": [{"body": {"text": 5}}]},
        {"messages": [{"body": {"text": "x" * 65537}}]},
        {"messages": [MESSAGE | {"from": ""}]},
        {"messages": [MESSAGE | {"to": "a@b.c"}]},
        {"messages": [MESSAGE | {"to": ["x" * 513]}]},
        {"messages": [MESSAGE | {"sent_at": "2020-01-01T00:00:00"}]},
        {"messages": [MESSAGE | {"odd": 1}]},
        {"messages": [MESSAGE] * 2049},
        {"user_properties": {"plain": "x"}},
        {"user_properties": {"string:x": 5}},
        {"user_properties": {"number:x": "5"}},
        {"user_properties": []},
        {"attachments": [{}] * 129},
        {"attachments": ["x"]},
        {"odd": 1},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_a_wrong_comment_is_400_and_none_of_its_company_stays(unchanged, fields):
    body = {"comments": [comment(8), comment(9) | fields]}
    assert unchanged.post("/api/v1/sources/bank/inbox/sync", body).code == 400
    assert unchanged.put("/api/_private/sources/bank/inbox/comments", body).code == 400


@pytest.mark.parametrize("missing", ["id", "timestamp", "messages"])
def test_what_a_comment_must_have(unchanged, missing):
    told = {name: value for name, value in comment(9).items() if name != missing}
    answer = unchanged.post("/api/v1/sources/bank/inbox/sync", {"comments": [told]})
    assert answer.code == 400
    assert f"comments[0].{missing}" in answer.message


def test_more_than_16384_comments_are_too_many(unchanged):
    body = {"comments": [comment(9)] * 16385}
    assert unchanged.post("/api/v1/sources/bank/inbox/sync", body).code == 400


def test_comments_are_deleted_by_1_to_128_ids(unchanged):
    path = "/api/v1/sources/bank/inbox/comments"
    assert unchanged.delete(path).code == 400
    assert unchanged.delete(f"{path}?{'&'.join(['id=x'] * 129)}").code == 400
    assert unchanged.delete(f"{path}?id=%00").code == 400
    assert unchanged.delete(f"{path}?id=unknown").code == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=99999", "after=x", "from_timestamp=x", "to_timestamp=%00", "after=%00"]
)
def test_a_wrong_word_behind_the_question_mark_is_400(unchanged, query):
    assert unchanged.get(f"/api/_private/sources/bank/inbox/comments?{query}").code == 400


# Export and labellings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 257},
        {"limit": 0},
        {"limit": -1},
        {"limit": "64"},
        {"limit": 1.5},
        {"limit": True},
        {"limit": None},
        {"order_by": "random"},
        {"order_by": 5},
        {"order_by": ""},
        {"from": ""},
        {"from": "yesterday"},
        {"from": 5},
        {"to": "2020-02-30"},
        {"to": "0001-01-01T00:00:00+12:00"},
        {"comment_uids": "x"},
        {"comment_uids": ["x"] * 257},
        {"comment_uids": [5]},
        {"comment_uids": ["a.b"], "source_ids": ["x"]},
        {"comment_uids": ["a.b"], "from": "2020-01-01T00:00:00Z"},
        {"comment_uids": ["a.b"], "to": "2020-01-01T00:00:00Z"},
        {"source_ids": ["x"] * 1025},
        {"source_ids": [5]},
        {"continuation": "x"},
        {"continuation": ""},
        {"continuation": 5},
        {"comment_uids": [], "to": "2020-01-01T00:00:00Z"},
        {"continuation": "2021-02-16T10:55:05Z.c060a787c0b2bbf95526ad5cf28bf582"},
        {"odd": 1},
        [],
        "x",
    ],
    ids=lambda body: str(body)[:60],
)
def test_a_wrong_export_is_400(unchanged, body):
    assert unchanged.post("/api/v1/datasets/bank/mail/export", body).code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"labelling": "x"},
        {"labelling": [{"assigned": [{"sentiment": "positive"}]}]},
        {"labelling": [{"assigned": [{"name": "A", "sentiment": "neutral"}]}]},
        {"labelling": [{"assigned": [{"name": ""}]}]},
        {"labelling": [{"assigned": [{"name": "x" * 257}]}]},
        {"labelling": [{"group": "none", "assigned": [{"name": "A"}]}]},
        {"labelling": [{"assigned": "A"}]},
        {"moon_forms": [{"assigned": [{"name": "A"}]}]},
        {"moon_forms": [{"group": "none", "assigned": [{"label": {"name": "A"}, "captures": []}]}]},
        {"odd": 1},
    ],
    ids=lambda body: str(body)[:60],
)
def test_a_wrong_labelling_is_400(unchanged, body):
    path = f"/api/_private/datasets/bank/mail/labellings/{unchanged.source_id}.c1"
    assert unchanged.post(path, body).code == 400


def test_a_comment_that_is_not_in_the_dataset_is_404(unchanged):
    for uid in (f"{unchanged.source_id}.none", "0000000000000000.c1", "c1", "."):
        answer = unchanged.post(f"/api/_private/datasets/bank/mail/labellings/{uid}", {"labelling": []})
        assert (answer.code, answer.message) == (404, f"No such comment: {uid}")


@pytest.mark.parametrize(
    "body",
    [
        {"filter": {"messages": {"from": {"one_of": ["x"]}}}},
        {"filter": {"user_properties": {"string:x": {"one_of": ["x"]}}}},
        {"filter": {"reviewed": "some"}},
        {"order": {"kind": "by_luck"}},
        {"limit": 5000},
        {"attribute_filters": [{"attribute": "labels", "filter": {"kind": "odd"}}]},
    ],
    ids=str,
)
def test_a_query_that_cannot_be_answered_is_refused_rather_than_answered_wrongly(unchanged, body):
    assert unchanged.post("/api/_private/datasets/bank/mail/query", body).code == 400


def test_a_view_that_breaks_answers_500_in_json_without_a_trace(unchanged, monkeypatch):
    monkeypatch.setattr(shapes, "dataset", None)
    answer = unchanged.get("/api/v1/datasets/bank/mail")
    assert (answer.code, answer.message) == (500, "500 Internal Server Error")
