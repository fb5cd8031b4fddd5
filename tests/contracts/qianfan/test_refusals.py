"""Every way in that is closed, and every error: in the room's own envelope, and nothing changed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from exports.models import Batch
from labelhub.accounts.keys import bearer_of, create_key, revoke_key
from labelhub.accounts.models import AccessKey, AuditEntry
from labelhub.accounts.roles import Role
from labelhub.api.qianfan.views import datasets
from samples.models import Annotation, Dataset, Project, Source, Task
from tests.factories import make_staff

from .conftest import Speaker, signed

UNKNOWN = "ds-0000000000000000"
V1 = [
    ("entity/list", {}),
    ("entity/annotate", {"id": "{task}", "content": [{"prompt": "p", "response": [["r"]]}]}),
    ("entity/delete", {"id": ["{task}"]}),
    ("dataset/info", {}),
    ("dataset/export", {"exportFormat": 0, "exportTo": 0, "exportType": 1}),
    ("dataset/exportRecord", {}),
    ("dataset/delete", {}),
]
V2 = [("DescribeDatasetVersion", {}), ("CreateExportTask", {"storageType": "sysStorage"})]
ROUTES = [f"/wenxinworkshop/{path}" for path, _ in V1] + [
    "/wenxinworkshop/dataset/create",
    "/wenxinworkshop/dataset/statusList",
    *(f"/v2/dataset?Action={action}" for action, _ in V2),
    "/v2/dataset?Action=DescribeDatasets",
    "/v2/dataset?Action=DescribeExportTask",
    "/v2/dataset",
]
NO_KEY = "NotFound, cause: Could not find credential."
NO_MATCH = "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match"


@pytest.fixture
def unchanged(manager, stranger, dataset, tasks):
    """After the test everything must be as it was."""

    def state():
        rows = [list(model.objects.order_by("pk").values()) for model in (Project, Source, Dataset, Task, Annotation)]
        counts = [Batch.objects.count(), AuditEntry.objects.exclude(subject="accesskey").count()]
        return json.dumps([rows, counts], default=str)

    before = state()
    yield manager
    assert state() == before


def gateway(answer, status, code):
    """The platform's own shape, with the headers that its clients read."""
    assert answer.code == status, answer.told
    assert list(answer.told) == ["requestId", "code", "message"]
    assert answer.told["code"] == answer.headers["X-Bce-Error-Code"] == code
    assert answer.headers["x-bce-request-id"] == answer.told["requestId"]
    assert answer.told["message"] and answer.headers["X-Bce-Error-Message"]
    return answer


# Who may enter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_signature_every_route_is_closed(unchanged, path):
    gateway(Speaker().ask(path), 403, "AccessDenied")


@pytest.mark.parametrize("path", ROUTES)
def test_an_unknown_key_is_named_as_the_client_looks_for_it(unchanged, path):
    unchanged.key = "lh0123"
    answer = gateway(unchanged.ask(path), 403, "InvalidAccessKeyId")
    assert answer.headers["X-Bce-Error-Message"] == NO_KEY


@pytest.mark.parametrize("path", ROUTES)
def test_a_wrong_secret_is_named_as_the_client_looks_for_it(unchanged, path):
    unchanged.secret = "0" * 48
    answer = gateway(unchanged.ask(path), 400, "SignatureDoesNotMatch")
    assert answer.headers["X-Bce-Error-Message"] == NO_MATCH
    assert unchanged.secret not in answer.raw.decode()


def test_a_signature_that_does_not_hold_is_no_use_of_the_key(unchanged):
    unchanged.secret = "0" * 48
    unchanged.ask("/wenxinworkshop/dataset/info")
    assert AccessKey.objects.get(user=unchanged.user).last_used_at is None


def test_a_signature_that_holds_is(manager, dataset_id):
    manager.post("dataset/info", {"datasetId": dataset_id})
    assert AccessKey.objects.get(user=manager.user).last_used_at is not None


def ask_with(speaker, dataset_id, **signing):
    headers = signed(speaker.key, speaker.secret, "POST", "/wenxinworkshop/dataset/info", **signing)
    return speaker.ask("/wenxinworkshop/dataset/info", {"datasetId": dataset_id}, headers=headers)


def test_a_signature_expires(unchanged, dataset_id):
    past = datetime.now(UTC) - timedelta(seconds=301)
    answer = gateway(ask_with(unchanged, dataset_id, at=past), 400, "RequestExpired")
    assert past.strftime("%Y-%m-%dT%H:%M:%SZ") in answer.told["message"]
    assert ask_with(unchanged, dataset_id, at=past, seconds=180000).code == 200
    gateway(ask_with(unchanged, dataset_id, at=datetime.now(UTC) + timedelta(minutes=16)), 400, "RequestExpired")
    assert ask_with(unchanged, dataset_id, at=datetime.now(UTC) + timedelta(minutes=14)).code == 200


def test_a_tampered_request_is_refused(unchanged, dataset_id):
    path = "/wenxinworkshop/dataset/info"
    headers = signed(unchanged.key, unchanged.secret, "POST", path)
    for told in (
        unchanged.ask("/wenxinworkshop/dataset/delete", {"datasetId": dataset_id}, headers=headers),
        unchanged.ask(f"{path}?x=1", {"datasetId": dataset_id}, headers=headers),
        unchanged.ask(path, {"datasetId": dataset_id}, headers=headers | {"x-bce-date": "2020-01-01T00:00:00Z"}),
        unchanged.ask(path, {"datasetId": dataset_id}, headers=headers | {"host": "localhost"}),
    ):
        gateway(told, 400, "SignatureDoesNotMatch")
    assert unchanged.ask(path, {"datasetId": dataset_id}, headers=headers).code == 200
    assert unchanged.ask(path, {"datasetId": dataset_id}, headers=headers).code == 200, "twice within its time"


@pytest.mark.parametrize("header", ["bce-auth-v1", "bce-auth-v1/a/b", "bce-auth-v2/a/b/c/d/e", "bce-auth-v1/é/1/2/3/4"])
def test_a_malformed_header_is_called_so(unchanged, header):
    answer = unchanged.ask("/wenxinworkshop/dataset/info", headers={"authorization": header})
    gateway(answer, 400, "InvalidHTTPAuthHeader")


@pytest.mark.parametrize("header", ["Bearer x", "Bearer a.b", "Bearer a.b.c", "Basic YTpi", "x", "Bearer"])
def test_what_opens_nothing_opens_nothing_here(unchanged, header):
    gateway(unchanged.ask("/wenxinworkshop/dataset/info", headers={"authorization": header}), 403, "AccessDenied")


def test_a_bearer_token_opens_this_room_too(manager, dataset_id):
    key, secret = create_key(manager.user)
    headers = {"authorization": f"Bearer {bearer_of(key, secret)}"}
    assert manager.post("dataset/info", {"datasetId": dataset_id}, headers=headers)
    pair = Client().post(
        "/api/auth/token",
        {"username": manager.user.username, "password": "secret"},
        content_type="application/json",
    )
    headers = {"authorization": f"Bearer {pair.json()['access']}"}
    assert manager.post("dataset/info", {"datasetId": dataset_id}, headers=headers)


def test_a_browser_s_session_does_not(unchanged, dataset_id):
    unchanged.client.force_login(unchanged.user)
    gateway(unchanged.ask("/wenxinworkshop/dataset/info", {"datasetId": dataset_id}, headers={}), 403, "AccessDenied")


@pytest.mark.parametrize("how", ["revoked", "expired", "closed account"])
def test_a_key_that_was_closed_is_unknown(unchanged, dataset_id, how):
    key = AccessKey.objects.get(user=unchanged.user)
    if how == "revoked":
        revoke_key(key, by=unchanged.user)
    elif how == "expired":
        AccessKey.objects.update(expires_at=datetime.now(UTC))
    else:
        type(unchanged.user).objects.update(is_active=False)
    answer = unchanged.ask("/wenxinworkshop/dataset/info", {"datasetId": dataset_id})
    gateway(answer, 403, "InvalidAccessKeyId")


def test_a_key_that_cannot_be_read_is_unknown_and_the_log_says_why(unchanged, dataset_id, settings, caplog):
    settings.SECRETS_KEY = "another"
    answer = unchanged.ask("/wenxinworkshop/dataset/info", {"datasetId": dataset_id})
    gateway(answer, 403, "InvalidAccessKeyId")
    assert "SECRETS_KEY is not the one" in caplog.text
    assert unchanged.secret not in caplog.text


# What one may see -----------------------------------------------------------------------------------------------------


def filled(body, task):
    return json.loads(json.dumps(body).replace("{task}", task.uid))


@pytest.mark.parametrize(("path", "body"), V1)
def test_another_project_s_dataset_is_not_there(unchanged, stranger, dataset, tasks, path, body):
    for one in (f"ds-{dataset.uid}", dataset.pk, UNKNOWN, 10**12):
        said = stranger.refused(path, filled(body, tasks[0]) | {"datasetId": one})
        assert said == f"param invalid: no such dataset: {one}"


@pytest.mark.parametrize(("action", "body"), V2)
def test_nor_in_version_two(unchanged, stranger, dataset_id, action, body):
    for one in (dataset_id, UNKNOWN):
        answer = stranger.ask(f"/v2/dataset?Action={action}", body | {"versionId": one})
        gateway(answer, 400, "InappropriateJSON")
        assert f"no such dataset: {one}" in answer.told["message"]


def test_another_project_s_export_task_is_not_there(manager, stranger, dataset_id, tasks):
    task_id = manager.act("CreateExportTask", {"versionId": dataset_id, "storageType": "sysStorage"})
    for one in (task_id, "task-" + "0" * 32, "x", task_id.upper()):
        answer = stranger.ask("/v2/dataset?Action=DescribeExportTask", {"taskId": one})
        gateway(answer, 400, "InappropriateJSON")
        assert f"no such task: {one}" in answer.told["message"]


def test_another_project_s_entity_is_not_in_one_s_own_dataset(stranger, dataset_id, tasks):
    mine = Dataset.objects.create(project=Project.objects.get(name="other"), name="mine")
    content = [{"prompt": "p", "response": [["r"]]}]
    body = {"id": tasks[0].uid, "datasetId": f"ds-{mine.uid}", "content": content}
    assert "no such entity" in stranger.refused("entity/annotate", body)
    body = {"id": [tasks[0].uid], "datasetId": f"ds-{mine.uid}"}
    assert stranger.post("entity/delete", body) == {"failedOnes": [tasks[0].uid]}
    assert Task.objects.count() == 5 and not Annotation.objects.exists()


NEEDS = {
    "entity/list": {Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER, Role.BUYER},
    "dataset/info": {Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER, Role.BUYER},
    "entity/annotate": {Role.ANNOTATOR, Role.REVIEWER},
    "dataset/exportRecord": {Role.BUYER},
    "dataset/export": {Role.BUYER},
    "entity/delete": set(),
    "dataset/delete": set(),
}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER, Role.BUYER])
def test_a_role_opens_what_its_powers_say(make_speaker, dataset_id, tasks, role):
    speaker = make_speaker(role)
    bodies = dict(V1)
    for path, roles in NEEDS.items():
        body = filled(bodies[path], tasks[0]) | {"datasetId": dataset_id}
        if "content" in body:
            body["content"][0]["prompt"] = tasks[0].content
        if role in roles:
            speaker.post(path, body)
        else:
            said = speaker.refused(path, body, code=500002)
            assert said.startswith("auth failed, no access: you may not ")


# Bodies and paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_is_not_json_is_malformed(unchanged, path):
    if path == "/v2/dataset":
        return  # names no action: refused before its body is looked at
    for body in (b"{", b"datasetId=1", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b'{"a": "\\u0000"}', b"\x00"):
        gateway(unchanged.ask(path, data=body), 400, "MalformedJSON")


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_is_no_object_is_a_wrong_parameter(unchanged, path):
    for body in ([], "x", 3, None, [{}]):
        answer = unchanged.ask(path, data=json.dumps(body))
        assert answer.told["code"] in (500001, "InappropriateJSON"), answer.told
        assert "not an object" in answer.told["message"] or path == "/v2/dataset"


@pytest.mark.parametrize("path", ROUTES[:-1])
def test_a_body_over_the_limit_is_refused_unread(unchanged, path, settings):
    body = json.dumps({"datasetId": "x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
    gateway(unchanged.ask(path, data=body), 413, "EntityTooLarge")


@pytest.mark.parametrize("path", [path for path, _ in V1])
@pytest.mark.parametrize(
    "wrong", [None, "", "x", "ds-", "ds-É", "ds-" + "a" * 65, 0, -1, 2**63, 1.5, True, [], {}, "1", "'; --"]
)
def test_what_is_no_dataset_id_is_refused(unchanged, tasks, path, wrong):
    body = filled(dict(V1)[path], tasks[0])
    assert "datasetId" in unchanged.refused(path, body | {"datasetId": wrong})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"offset": -1}, "offset"),
        ({"offset": "0"}, "offset: '0' is not an integer"),
        ({"offset": 2**63}, "offset"),
        ({"pageSize": "10"}, "pageSize"),
        ({"pageSize": 1.5}, "pageSize"),
        ({"pageSize": True}, "pageSize"),
        ({"tabType": 3}, "tabType: 3 is not one of 0, 1, 2"),
        ({"tabType": None}, "tabType"),
        ({"importTime": [1]}, "importTime"),
        ({"importTime": [2, 1]}, "the first time is after the second"),
        ({"importTime": [0, 10**30]}, "importTime"),
        ({"importTime": "2020"}, "importTime"),
        ({"annoTime": [1.5, 2]}, "annoTime"),
        ({"labelId": "a"}, "labelId"),
        ({"labelId": "1;2"}, "labelId"),
        ({"labelId": 1}, "labelId"),
        ({"labelId": "9" * 19}, "labelId"),
    ],
)
def test_a_wrong_filter_is_named(unchanged, dataset_id, wrong, said):
    assert said in unchanged.refused("entity/list", {"datasetId": dataset_id} | wrong)


def test_an_offset_past_the_end_is_an_empty_page(manager, dataset_id, tasks):
    assert manager.post("entity/list", {"datasetId": dataset_id, "offset": 2**63 - 1})["items"] == []


@pytest.mark.parametrize("asked", [{}, {"datasetIds": []}, {"datasetIds": "ds-x"}, {"datasetIds": [UNKNOWN] * 101}])
def test_a_list_of_ids_is_one(unchanged, asked):
    assert "datasetIds" in unchanged.refused("dataset/statusList", asked)


@pytest.mark.parametrize("action", ["", "Nothing", "describedatasets", "__class__", "x" * 5000])
def test_an_unknown_action_names_the_known_ones(unchanged, action):
    answer = unchanged.ask(f"/v2/dataset?Action={action}")
    gateway(answer, 400, "InappropriateJSON")
    assert "DescribeDatasets, DescribeDatasetVersion, CreateExportTask, DescribeExportTask" in answer.told["message"]


@pytest.mark.parametrize(
    ("action", "body", "said"),
    [
        ("DescribeDatasets", {"marker": "x"}, "param[marker]"),
        ("DescribeDatasets", {"marker": UNKNOWN}, "param[marker]"),
        ("DescribeDatasets", {"maxKeys": 0}, "param[maxKeys]"),
        ("DescribeDatasets", {"maxKeys": "1"}, "param[maxKeys]"),
        ("DescribeDatasets", {"pageReverse": 1}, "param[pageReverse]"),
        ("DescribeDatasets", {"filter": {"dataFormatList": ["Text"]}}, "param[filter]"),
        ("DescribeDatasetVersion", {}, "param[versionId]"),
        ("CreateExportTask", {"versionId": UNKNOWN}, "param[storageType]"),
        ("CreateExportTask", {"versionId": UNKNOWN, "storageType": "S3"}, "param[storageType]"),
        ("DescribeExportTask", {"taskId": 3}, "param[taskId]"),
    ],
)
def test_a_wrong_parameter_of_version_two_is_named(unchanged, action, body, said):
    answer = unchanged.ask(f"/v2/dataset?Action={action}", body)
    gateway(answer, 400, "InappropriateJSON")
    assert said in answer.told["message"]


@pytest.mark.parametrize("path", ["/wenxinworkshop", "/wenxinworkshop/", "/wenxinworkshop/x", "/v2/x", "/v2/dataset/"])
def test_an_unknown_path_is_no_page(unchanged, path):
    answer = unchanged.ask(path)
    assert (answer.code, answer.told["code"]) == (404, "InvalidURI")
    assert unchanged.ask("/wenxinworkshop/dataset/info/").code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_post_is_spoken(unchanged, method):
    for path in ROUTES:
        gateway(unchanged.ask(path, method=method), 405, "InvalidHTTPRequest")


def test_another_content_type_is_refused(unchanged):
    answer = unchanged.ask("/wenxinworkshop/dataset/info", data="a=1", content_type="application/x-www-form-urlencoded")
    gateway(answer, 415, "InvalidHTTPRequest")


def test_what_breaks_inside_is_told_as_an_error_of_the_platform(unchanged, dataset_id, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(datasets, "holdings", broken)
    answer = unchanged.ask("/wenxinworkshop/dataset/info", {"datasetId": dataset_id})
    assert (answer.code, answer.told["code"], answer.told["success"]) == (500, 500000, False)
    assert answer.told["message"] == "internal server error"
    assert b"secret detail" not in answer.raw


def test_a_message_from_outside_cannot_break_a_header(unchanged):
    answer = unchanged.ask("/v2/dataset?Action=%E5%87%BA%0D%0AX-Evil%3A%201")
    gateway(answer, 400, "InappropriateJSON")
    assert "X-Evil" not in answer.headers


def test_a_name_of_a_thousand_characters_costs_nothing(db):
    speaker = Speaker(make_staff())
    body = {"name": "长" * 1000, "projectType": 20, "templateType": 2000, "dataType": 4, "storageType": "sysBos"}
    assert "1000 characters; at most 128 are allowed" in speaker.refused("dataset/create", body)
    assert not Project.objects.exists()
