"""The requests the official command line sends, in its order, as captured from it."""

import json

import pytest

from samples.models import Sample, Task
from tests.factories import make_staff

from .conftest import Speaker, comment


@pytest.fixture
def begin(db):
    """Every command first asks who it is, and before a change has its permissions refreshed."""

    def begun(speaker, changing=False):
        user = speaker.get("/auth/user").user
        if changing:
            answer = speaker.post("/auth/refresh-user-permissions", {})
            assert answer.permissions_refreshed is not False
        return user

    return begun


def test_the_life_of_a_project(begin):
    cli = Speaker(make_staff("founder"))
    user = begin(cli, changing=True)
    assert user["organisation_permissions"] == {}
    made = cli.put("/api/_private/projects/bank", {"project": {"title": "The Bank"}, "user_ids": [user["id"]]})
    assert {"name", "title", "description", "created_at", "updated_at"} <= set(made.project)

    permissions = begin(cli, changing=True)["organisation_permissions"]
    assert set(permissions["bank"]) >= {"voc", "voc-readonly", "datasets-admin", "sources-admin", "datasets-export"}
    assert [project["name"] for project in cli.get("/api/_private/projects").projects] == ["bank"]
    assert cli.get("/api/_private/projects/bank").project["title"] == "The Bank"

    assert cli.post("/api/_private/projects/bank", {"project": {}}).project["title"] == "The Bank"
    assert cli.post("/api/_private/projects/bank", {"project": {"title": "B"}}).project["title"] == "B"

    cli.put("/api/v1/sources/bank/a-source", {"source": {}})
    refused = cli.delete("/api/_private/projects/bank")
    assert refused.code == 409
    assert refused.message == ('Project contains child resources but force deletion was not requested: {"sources": 1}')
    assert cli.get("/api/_private/projects/bank").code == 200
    assert cli.delete("/api/_private/projects/bank?force=true").raw == b'{"status":"ok"}'
    assert cli.get("/api/_private/projects").projects == []
    assert cli.get("/api/_private/projects/bank").message == "No such project: bank"


def test_the_life_of_a_source(cli, begin):
    begin(cli, changing=True)
    fields = {"title": "some title", "description": "some description", "language": "de", "should_translate": True}
    made = cli.put("/api/v1/sources/bank%2Fpost", {"source": fields | {"_kind": "call"}}).source
    assert made | fields == made
    assert made["_kind"] == "call" and made["bucket_id"] is None and made["owner"] == "bank"

    begin(cli)
    assert {source["name"] for source in cli.get("/api/v1/sources").sources} == {"inbox", "post"}
    assert cli.get("/api/_private/buckets").buckets == []
    assert cli.get("/api/v1/sources/bank%2Fpost").source == made
    assert cli.get(f"/api/v1/sources/id:{made['id']}").source == made

    begin(cli, changing=True)
    same = cli.post("/api/v1/sources/bank%2Fpost", {"source": {"bucket_id": None}}).source
    assert same | fields == same
    shown = cli.post("/api/v1/sources/bank%2Fpost", {"source": {"title": "new", "should_translate": False}}).source
    assert (shown["title"], shown["should_translate"], shown["language"]) == ("new", False, "de")

    assert cli.get("/api/v1/sources/bank%2Fpost").code == 200
    assert cli.delete(f"/api/v1/sources/id:{made['id']}").code == 200
    assert cli.get("/api/v1/sources/bank%2Fpost").message == "No such source: bank/post"


def test_the_life_of_a_dataset(cli, begin):
    begin(cli, changing=True)
    assert cli.get("/api/v1/sources/bank%2Finbox").code == 200
    fields = {"title": "T", "description": "D", "has_sentiment": True}
    made = cli.put("/api/v1/datasets/bank%2Fnew", {"dataset": {"source_ids": [cli.source_id], **fields}}).dataset
    assert made | fields == made

    begin(cli)
    assert {dataset["name"] for dataset in cli.get("/api/v1/datasets").datasets} == {"mail", "new"}
    assert {dataset["name"] for dataset in cli.get("/api/v1/datasets/bank").datasets} == {"mail", "new"}
    assert cli.get(f"/api/v1/datasets/id:{made['id']}").dataset == made
    body = {"comment_filter": {}, "label_property_timeseries": False, "label_timeseries": False}
    statistics = cli.post("/api/_private/datasets/bank%2Fnew/statistics", body).statistics
    assert (statistics["num_comments"], statistics["label_counts"], statistics["label_timeseries"]) == (0, {}, [])
    assert cli.get("/api/_private/datasets/bank%2Fnew/labellers/latest/validation").code == 404

    begin(cli, changing=True)
    assert cli.post("/api/v1/datasets/bank%2Fnew", {"dataset": {}}).dataset == made
    assert cli.post("/api/v1/datasets/bank%2Fnew", {"dataset": {"title": "X"}}).dataset["title"] == "X"
    assert cli.post("/api/v1/datasets/bank%2Fnew", {"dataset": {"source_ids": []}}).dataset["source_ids"] == []

    begin(cli)
    uid = cli.get("/api/v1/datasets/bank%2Fnew").dataset["id"]
    assert cli.delete(f"/api/v1/datasets/id:{uid}").code == 200
    assert cli.delete(f"/api/v1/datasets/id:{uid}").code == 404


def test_comments_are_uploaded_labelled_and_downloaded_again(cli, begin):
    begin(cli)
    cli.get("/api/v1/sources/bank%2Finbox")
    cli.get("/api/v1/datasets/bank%2Fmail")
    sent = [
        comment(
            number,
            user_properties={"string:Sender": "bob", "number:Count": 3, "number:Share": 1.0},
            thread_id=f"t{number}",
            attachments=[{"name": "a.pdf", "size": 12, "content_type": "application/pdf"}],
        )
        for number in range(1, 6)
    ]
    path = "/api/_private/sources/bank%2Finbox/comments"
    assert cli.put(f"{path}?no_charge=false", {"comments": sent}).raw == b'{"status":"ok"}'
    for number, names in ((1, ["A"]), (2, ["A", "Parent > Child"]), (3, ["B"])):
        body = {"labelling": [{"group": "default", "assigned": [{"name": n, "sentiment": "negative"} for n in names]}]}
        answer = cli.post(f"/api/_private/datasets/bank%2Fmail/labellings/{cli.source_id}.c{number}", body)
        assert answer.comment["id"] == f"c{number}" and answer.comment["has_annotations"] is True
        assert answer.labelling[0]["group"] == "default"
        assert answer.labelling[0]["assigned"] == [{"name": n, "sentiment": "negative"} for n in names]

    # re get comments P/S
    begin(cli)
    asked = {"comment_filter": {"messages": {}, "sources": [cli.source_id], "timestamp": {}}}
    assert cli.post("/api/v1/sources/bank%2Finbox/statistics", asked).statistics["num_comments"] == 5
    seen, after = [], ""
    while True:
        page = cli.get(f"{path}?limit=2&include_markup=true{after}")
        seen += page.comments
        if not hasattr(page, "continuation"):
            break
        after = f"&after={page.continuation}"
    assert [{name: told[name] for name in sent[0]} for told in seen] == sent
    assert [told["has_annotations"] for told in seen] == [True, True, True, False, False]

    # … --dataset P/N --predictions true
    query = {"filter": asked["comment_filter"], "limit": 512, "order": {"kind": "recent"}}
    answer = cli.post("/api/_private/datasets/bank%2Fmail/query", query)
    assert [row["comment"]["id"] for row in answer.results] == ["c5", "c4", "c3", "c2", "c1"]
    assert not hasattr(answer, "continuation")

    # … --reviewed-only true: until a page comes empty
    path = f"/api/_private/datasets/bank%2Fmail/labellings?source_id={cli.source_id}&return_predictions=false"
    pages, after, tokens = [], "", set()
    while True:
        page = cli.get(f"{path}&limit=2{after}")
        pages.append([row["comment"]["id"] for row in page.results])
        if not page.results:
            assert not hasattr(page, "after")
            break
        assert page.after not in tokens
        tokens.add(page.after)
        after = f"&after={page.after}"
    assert pages == [["c1", "c2"], ["c3"], []]

    # … --label-filter A
    query["attribute_filters"] = [{"attribute": "labels", "filter": {"kind": "string_any_of", "any_of": ["A"]}}]
    query["filter"]["reviewed"] = "only_reviewed"
    answer = cli.post("/api/_private/datasets/bank%2Fmail/query", query)
    assert [row["comment"]["id"] for row in answer.results] == ["c2", "c1"]
    dataset = cli.get("/api/v1/datasets/bank%2Fmail").dataset
    assert [told["name"] for told in dataset["label_defs"]] == ["A", "B", "Parent > Child"]
    body = {"comment_filter": {}, "attribute_filters": query["attribute_filters"]}
    assert cli.post("/api/_private/datasets/bank%2Fmail/statistics", body).statistics["label_counts"] == {
        "A": 2,
        "Parent > Child": 1,
    }

    # re get comment, re delete comments
    assert cli.get("/api/v1/sources/bank%2Finbox/comments/c1").comment["thread_id"] == "t1"
    assert cli.delete("/api/v1/sources/bank%2Finbox/comments?id=c1").code == 200
    assert cli.get("/api/v1/sources/bank%2Finbox/comments/c1").code == 404
    assert cli.delete("/api/v1/sources/bank%2Finbox/comments?id=c1&id=c2&id=c3&id=c4&id=c5").code == 200
    assert cli.get("/api/_private/sources/bank%2Finbox/comments?limit=64").comments == []


STATISTICS = {"comment_filter": {}, "label_property_timeseries": False, "label_timeseries": False}
OF_SOURCE = {"messages": {}, "sources": ["<source>"], "timestamp": {}}
QUERY = {"filter": OF_SOURCE, "limit": 512, "order": {"kind": "recent"}}
WITH_A = {"attribute": "labels", "filter": {"kind": "string_any_of", "any_of": ["A"]}}
LABELLING = {"labelling": [{"group": "default", "assigned": [{"name": "A", "sentiment": "positive"}]}]}
COMMANDS = {
    "re get datasets": [
        "GET /api/v1/datasets",
    ],
    "re get datasets P/N": [
        "GET /api/v1/datasets/bank%2Fmail",
    ],
    "re get datasets <hexid>": [
        "GET /api/v1/datasets/id:<dataset>",
    ],
    "re get datasets --source P/S": [
        "GET /api/v1/datasets",
        "GET /api/v1/sources/bank%2Finbox",
    ],
    "re get datasets --stats": [
        "GET /api/v1/datasets",
        "POST /api/_private/datasets/bank%2Fmail/statistics STATISTICS",
    ],
    "re create dataset P/N --source P/S": [
        "GET /api/v1/sources/bank%2Finbox",
        "PUT /api/v1/datasets/bank%2Fnew NEW_DATASET",
    ],
    "re update dataset P/N --title X": [
        "POST /api/v1/datasets/bank%2Fmail TITLE",
    ],
    "re update dataset P/N": [
        "POST /api/v1/datasets/bank%2Fmail NO_FIELDS",
    ],
    "re update dataset P/N --source": [
        "POST /api/v1/datasets/bank%2Fmail NO_SOURCES",
    ],
    "re delete dataset P/N": [
        "GET /api/v1/datasets/bank%2Fmail",
        "DELETE /api/v1/datasets/id:<dataset>",
    ],
    "re get comments P/S": [
        "GET /api/v1/sources/bank%2Finbox",
        "POST /api/v1/sources/bank%2Finbox/statistics COUNT",
        "GET /api/_private/sources/bank%2Finbox/comments?limit=64&include_markup=true",
    ],
    "… --from-timestamp --to-timestamp": [
        "GET /api/v1/sources/bank%2Finbox",
        "GET /api/_private/sources/bank%2Finbox/comments?limit=64&include_markup=true"
        "&from_timestamp=2020-01-02T00%3A00%3A00Z&to_timestamp=2020-01-04T00%3A00%3A00Z",
    ],
    "re get comments P/S --dataset P/N": [
        "GET /api/v1/sources/bank%2Finbox",
        "GET /api/v1/datasets/bank%2Fmail",
        "POST /api/_private/datasets/bank%2Fmail/statistics COUNT_ALL",
        "POST /api/_private/datasets/bank%2Fmail/query QUERY",
    ],
    "… --reviewed-only true": [
        "GET /api/_private/datasets/bank%2Fmail/labellings?source_id=<source>&return_predictions=false",
    ],
    "… --label-filter RE": [
        "POST /api/_private/datasets/bank%2Fmail/query QUERY_A",
    ],
    "re create comments -s P/S -d P/N": [
        "PUT /api/_private/sources/bank%2Finbox/comments?no_charge=false COMMENTS",
        "POST /api/_private/datasets/bank%2Fmail/labellings/<source>.c1 LABELLING",
    ],
    "… --overwrite": [
        "POST /api/v1/sources/bank%2Finbox/sync?no_charge=false COMMENTS",
    ],
    "re delete comments": [
        "DELETE /api/v1/sources/bank%2Finbox/comments?id=c1&id=c2",
    ],
    "the same, in the docs": [
        "DELETE /api/v1/sources/bank%2Finbox/messages?id=c1",
    ],
    "re get sources": [
        "GET /api/v1/sources",
        "GET /api/_private/buckets",
    ],
    "re create source P/S": [
        "PUT /api/v1/sources/bank%2Fnew NEW_SOURCE",
    ],
    "re update source P/S": [
        "POST /api/v1/sources/bank%2Finbox OLD_SOURCE",
    ],
    "re delete source P/S": [
        "GET /api/v1/sources/bank%2Finbox",
        "DELETE /api/v1/sources/id:<source>",
    ],
    "re get projects": [
        "GET /api/_private/projects",
    ],
    "re get projects P": [
        "GET /api/_private/projects/bank",
    ],
    "re create project P": [
        "PUT /api/_private/projects/new NEW_PROJECT",
        "POST /auth/refresh-user-permissions NOTHING",
        "GET /api/_private/projects",
    ],
    "re update project P": [
        "POST /api/_private/projects/bank OLD_PROJECT",
    ],
    "re delete project P --force": [
        "DELETE /api/_private/projects/bank?force=true",
    ],
    "re get users": [
        "GET /api/_private/users",
    ],
    "re get users --user id": [
        "GET /api/_private/users/<user>",
    ],
}
BODIES = {
    "STATISTICS": STATISTICS,
    "NEW_DATASET": {"dataset": {"source_ids": ["<source>"], "title": "T", "description": "D", "has_sentiment": True}},
    "TITLE": {"dataset": {"title": "X"}},
    "NO_FIELDS": {"dataset": {}},
    "NO_SOURCES": {"dataset": {"source_ids": []}},
    "COUNT": {"comment_filter": OF_SOURCE},
    "COUNT_ALL": STATISTICS | {"comment_filter": OF_SOURCE},
    "QUERY": QUERY,
    "QUERY_A": QUERY | {"attribute_filters": [WITH_A], "filter": OF_SOURCE | {"reviewed": "only_reviewed"}},
    "COMMENTS": {"comments": [comment(1), comment(9)]},
    "LABELLING": LABELLING,
    "NEW_SOURCE": {"source": {"title": "some title", "language": "de", "should_translate": True}},
    "OLD_SOURCE": {"source": {"bucket_id": None}},
    "NEW_PROJECT": {"project": {}, "user_ids": ["<user>"]},
    "OLD_PROJECT": {"project": {"title": "B"}},
    "NOTHING": {},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_request_of_every_command_is_answered(filled, begin, command):
    """Each as it was captured, in its order; before it every command asks who it is and has its permissions refreshed."""
    begin(filled, changing=True)
    filled.post(f"/api/_private/datasets/bank%2Fmail/labellings/{filled.source_id}.c2", LABELLING)
    for request in COMMANDS[command]:
        for name, value in (("source", filled.source_id), ("dataset", filled.dataset_id), ("user", filled.user.uid)):
            request = request.replace(f"<{name}>", value)
        method, path, *body = request.split()
        told = json.dumps(BODIES[body[0]] if body else None)
        told = told.replace("<source>", filled.source_id).replace("<user>", filled.user.uid)
        answer = filled.ask(method, path, json.loads(told))
        assert answer.code == 200, (request, answer)


def test_a_query_goes_on_where_its_page_ended(filled):
    told = json.loads(json.dumps(QUERY).replace("<source>", filled.source_id)) | {"limit": 2}
    pages, more = [], {}
    while not pages or more:
        answer = filled.post("/api/_private/datasets/bank%2Fmail/query", told | more)
        pages.append([row["comment"]["id"] for row in answer.results])
        more = {"continuation": answer.continuation} if hasattr(answer, "continuation") else {}
    assert pages == [["c5", "c4"], ["c3", "c2"], ["c1"]]


def test_labels_are_defined_with_all_that_clients_read_in_a_definition(cli):
    """As the command line's own test creates a dataset: --entity-defs and --label-defs."""
    foo = {
        "name": "foo",
        "instructions": "Long label description",
        "external_id": "ext id",
        "title": "Title Me",
        "pretrained": {"id": "0000000000000001", "name": "Autogenerated"},
        "moon_form": [{"name": "luna", "kind": "ent"}],
    }
    entity = {"name": "ent", "title": "A magic tree", "inherits_from": [], "trainable": False}
    body = {"has_sentiment": True, "entity_defs": [entity], "label_defs": [{"name": "bar"}, foo]}
    made = cli.put("/api/v1/datasets/bank%2Fmoon", {"dataset": body}).dataset
    assert made["entity_defs"][0] | entity | {"color": 0} == made["entity_defs"][0]
    bar, shown = made["label_defs"]
    assert (bar["name"], bar["title"], bar["instructions"]) == ("bar", "", "")
    field = shown.pop("moon_form")[0]
    assert shown == {name: value for name, value in foo.items() if name != "moon_form"}
    assert (field["name"], field["kind"], field["instructions"], field["rule_set"]) == ("luna", "ent", "", None)
    assert all(len(field[name]) == 16 for name in ("id", "field_id", "field_type_id"))
    flags = {"source_ids": [], "has_sentiment": False, "_dataset_flags": ["gpt4", "zero_shot_labels"]}
    made = cli.put("/api/v1/datasets/bank%2Fgen", {"dataset": flags}).dataset
    assert made | flags == made


def test_filled_forms_name_labels_too(filled):
    """As --use-moon-forms uploads them: no labelling beside."""
    path = f"/api/_private/datasets/bank%2Fmail/labellings/{filled.source_id}.c1"
    form = {"label": {"name": "A", "sentiment": "negative"}, "captures": [{"fields": []}]}
    answer = filled.post(path, {"moon_forms": [{"group": "default", "assigned": [form], "dismissed": []}]})
    assert answer.labelling[0]["assigned"] == [{"name": "A", "sentiment": "negative"}]


def test_projects_are_listed_at_the_address_our_own_api_shares(cli, stranger):
    answer = cli.get("/api/v1/projects")
    [project] = answer.projects
    assert (project["name"], project["title"], project["description"]) == ("bank", "", "")
    assert [row["name"] for row in answer.results] == ["bank"] and answer.next is None


def test_the_tags_of_a_project_stand_where_the_page_s_curl_looks_for_them(cli, stranger, make_member_of):
    """Its heading names a dataset in the path, its curl does not; a dataset that is called so is a dataset."""
    path = "/api/v1/datasets/bank/model-tags"
    assert cli.get(path).raw == b'{"model_tags":[],"status":"ok"}'
    assert (stranger.get(path).code, make_member_of("bank", "viewer").get(path).code) == (404, 403)
    assert cli.put(path, {"dataset": {}}).dataset["name"] == "model-tags"
    assert cli.get(path).dataset["name"] == "model-tags"
    assert cli.delete(path).code == 200


def test_labels_of_a_single_voter_are_the_verdict_and_a_waiting_sample(filled):
    body = {"labelling": [{"group": "default", "assigned": [{"name": "A", "sentiment": "positive"}]}]}
    filled.post(f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}.c1", body)
    task = Task.objects.get(external_id="c1")
    assert (task.status, task.label_name, task.content) == ("COMPLETED", "A", "message 1")
    annotation = task.annotations.get()
    assert annotation.annotator == filled.user
    assert annotation.properties["sentiments"] == {"A": "positive"}
    assert Sample.objects.get(task=task).status == "PENDING"


def test_what_another_labelled_before_a_manager_labels_anew(filled, make_member_of):
    path = f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}.c1"
    second = make_member_of("bank", "manager")
    filled.post(path, {"labelling": [{"group": "default", "assigned": [{"name": "A", "sentiment": "positive"}]}]})
    answer = second.post(path, {"labelling": [{"assigned": [{"name": "B", "sentiment": "negative"}]}]})
    assert answer.labelling[0]["assigned"] == [{"name": "B", "sentiment": "negative"}]
    answer = filled.post(path, {"labelling": [{"assigned": [{"name": "A"}, {"name": "C"}]}]})
    assert [label["name"] for label in answer.labelling[0]["assigned"]] == ["A", "C"]
    assert Task.objects.get(external_id="c1").annotations.count() == 2


def test_an_annotator_labels_with_known_labels_and_not_against_others(filled, make_member_of):
    annotator = make_member_of("bank", "annotator")
    first, second = (f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}.c{n}" for n in (1, 2))
    assert filled.post(first, {"labelling": [{"assigned": [{"name": "A"}]}]}).code == 200
    assert annotator.post(second, {"labelling": [{"assigned": [{"name": "A"}]}]}).code == 200
    assert annotator.post(second, {"labelling": [{"assigned": [{"name": "New"}]}]}).code == 403
    assert annotator.post(first, {"labelling": [{"assigned": [{"name": "A"}]}]}).code == 403


def test_labels_taken_back_leave_a_comment_as_it_came(filled):
    path = f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}.c1"
    filled.post(path, {"labelling": [{"assigned": [{"name": "A"}]}]})
    answer = filled.post(path, {"labelling": [{"group": "default", "assigned": []}]})
    assert answer.labelling[0]["assigned"] == []
    assert answer.comment["has_annotations"] is False
    task = Task.objects.get(external_id="c1")
    assert (task.status, task.answer, task.sample.status) == ("PENDING", None, "REJECTED")
    assert filled.post(path, {"labelling": [{"assigned": [{"name": "B"}]}]}).labelling[0]["assigned"]
    task.sample.refresh_from_db()
    assert (task.sample.status, task.sample.label_name) == ("PENDING", "B")


def test_before_groups_a_labelling_stood_alone(filled):
    path = f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}.c1"
    body = {"labelling": {"assigned": [{"name": "A", "sentiment": "positive"}]}}
    assert filled.post(path, body).labelling[0]["assigned"] == body["labelling"]["assigned"]


def test_labels_are_defined_for_a_group_and_others_stay(cli):
    path = "/api/_private/datasets/bank/mail/labels/default"
    assert cli.put(path, {"label_defs": [{"name": "foo"}, {"name": "bar", "title": "Bar"}]}).raw == b'{"status":"ok"}'
    assert cli.put(path, {"label_defs": [{"name": "baz"}]}).code == 200
    shown = cli.get("/api/v1/datasets/bank/mail").dataset["label_defs"]
    assert [(told["name"], told["title"]) for told in shown] == [("bar", "Bar"), ("baz", ""), ("foo", "")]
    assert cli.put("/api/_private/datasets/bank/mail/labels/none", {"label_defs": []}).code == 400


def test_label_groups_come_back_as_they_were_given(cli):
    group = {"name": "topics", "label_defs": [{"name": "x", "external_id": "e1", "instructions": "when x"}]}
    shown = cli.put("/api/v1/datasets/bank/two", {"dataset": {"label_groups": [group]}}).dataset
    assert [told["name"] for told in shown["label_groups"]] == ["default", "topics"]
    assert shown["label_groups"][1]["label_defs"] == [
        {"name": "x", "title": "", "instructions": "when x", "external_id": "e1"}
    ]


def test_two_datasets_of_a_project_show_their_own_labels(cli):
    cli.put("/api/v1/datasets/bank/one", {"dataset": {"label_defs": [{"name": "bar"}, {"name": "foo"}]}})
    shown = cli.put("/api/v1/datasets/bank/two", {"dataset": {}}).dataset
    assert shown["label_defs"] == []
    one = cli.get("/api/v1/datasets/bank/one").dataset
    assert [told["name"] for told in one["label_defs"]] == ["bar", "foo"]
    copy = cli.put("/api/v1/datasets/bank/copy", {"dataset": {"copy_annotations_from": one["id"]}})
    assert [told["name"] for told in copy.dataset["label_defs"]] == ["bar", "foo"]


def test_annotations_are_synced_by_name_and_by_outside_id(filled):
    external = "e1"
    filled.put(
        "/api/_private/datasets/bank/mail/labels/default", {"label_defs": [{"name": "X", "external_id": external}]}
    )
    uids = [f"{filled.source_id}.c{number}" for number in (1, 2)]
    body = {
        "annotations": [
            {"comment_uid": uids[0], "labels": {"assigned": [{"name": "Y"}]}},
            {"comment_uid": uids[1], "labels": {"assigned": [{"external_id": external}]}},
        ]
    }
    assert filled.post("/api/v1/datasets/bank/mail/sync-annotations", body).raw == b'{"status":"ok"}'
    rows = filled.get(f"/api/_private/datasets/bank/mail/labellings?id={uids[0]}&id={uids[1]}").results
    assert [row["labelling"][0]["assigned"][0]["name"] for row in rows] == ["Y", "X"]
    body["annotations"][1]["comment_uid"] = "0000000000000000.c1"
    body["annotations"][0]["labels"]["assigned"] = [{"name": "Z"}]
    assert filled.post("/api/v1/datasets/bank/mail/sync-annotations", body).code == 404
    assert Task.objects.get(external_id="c1").label_name == "Y", "half a request may not stay"


def test_sync_tells_new_changed_and_unchanged_apart(filled):
    path = "/api/v1/sources/bank/inbox/sync?no_charge=false"
    comments = [
        comment(1),
        comment(2, user_properties={"string:a": "b"}),
        comment(3, text="other words"),
        comment(6),
    ]
    answer = filled.post(path, {"comments": comments})
    counts = {"new": 1, "updated": 2, "unchanged": 1, "updated_properties_only": 1, "updated_text_changed": 1}
    assert {name: getattr(answer, name) for name in counts} == counts
    assert filled.post(path, {"comments": comments}).unchanged == 4
    assert Task.objects.get(external_id="c3").content == "other words"
    assert Task.objects.count() == 6


def test_new_words_keep_the_labels_and_the_approved_sample(filled):
    body = {"labelling": [{"assigned": [{"name": "A"}]}]}
    filled.post(f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}.c1", body)
    filled.post("/api/v1/sources/bank/inbox/sync", {"comments": [comment(1, text="other words")]})
    exported = filled.post("/api/v1/datasets/bank/mail/export", {"limit": 1}).comments[0]
    assert exported["comment"]["messages"] == [{"body": {"text": "other words"}}]
    assert exported["annotations"]["labels"]["assigned"] == [{"name": "A", "sentiment": "positive"}]
    assert Sample.objects.get(task__external_id="c1").content == "message 1"


def test_put_refuses_a_comment_that_is_there_with_other_words(filled):
    path = "/api/_private/sources/bank/inbox/comments"
    assert filled.put(path, {"comments": [comment(1)]}).code == 200
    assert filled.put(path, {"comments": [comment(9), comment(1, text="other")]}).code == 409
    assert Task.objects.count() == 5


def test_what_a_person_reads_is_subject_and_bodies(cli):
    message = {"subject": {"text": "Figures"}, "body": {"text": "Here they are."}, "signature": {"text": "Bob"}}
    reply = {"subject": {"text": "Figures"}, "body": {"text": "Thanks."}}
    cli.post("/api/v1/sources/bank/inbox/sync", {"comments": [comment(1) | {"messages": [message, reply]}]})
    assert Task.objects.get().content == "Figures\n\nHere they are.\n\nThanks."


def test_a_dataset_without_sentiment_exports_none_but_labellings_do(cli):
    cli.put("/api/v1/datasets/bank/plain", {"dataset": {"source_ids": [cli.source_id], "has_sentiment": False}})
    cli.post("/api/v1/sources/bank/inbox/sync", {"comments": [comment(1)]})
    path = f"/api/_private/datasets/bank/plain/labellings/{cli.source_id}.c1"
    answer = cli.post(path, {"labelling": [{"assigned": [{"name": "A", "sentiment": "positive"}]}]})
    assert answer.labelling[0]["assigned"] == [{"name": "A", "sentiment": "positive"}]
    exported = cli.post("/api/v1/datasets/bank/plain/export", {}).comments[0]
    assert exported["annotations"]["labels"]["assigned"] == [{"name": "A"}]


def test_users_are_seen_by_those_who_share_a_project(cli, stranger, make_member_of):
    second = make_member_of("bank", "reviewer")
    users = cli.get("/api/_private/users").users
    assert [user["username"] for user in users] == ["banker", second.user.username]
    assert users[1]["organisation_permissions"] == {
        "bank": ["voc-readonly", "datasets-review", "sources-read", "users-read"]
    }
    assert cli.get(f"/api/_private/users/{second.user.uid}").user["id"] == second.user.uid
    assert cli.get(f"/api/_private/users/{stranger.user.uid}").code == 404
    assert stranger.get("/auth/user").user["organisation_permissions"].keys() == {"other"}


def test_a_source_with_labelled_comments_can_go_but_approved_work_stays(filled):
    body = {"labelling": [{"assigned": [{"name": "A"}]}]}
    filled.post(f"/api/_private/datasets/bank/mail/labellings/{filled.source_id}.c1", body)
    Sample.objects.update(status="APPROVED", reviewed_at="2024-01-01T00:00:00Z")
    assert filled.delete("/api/v1/sources/bank/inbox").code == 409
    assert filled.delete("/api/v1/sources/bank/inbox/comments?id=c1&id=c2").code == 409
    assert Task.objects.count() == 5
    Sample.objects.update(status="PENDING", reviewed_at=None)
    assert filled.delete("/api/v1/sources/bank/inbox").code == 200
    assert Task.objects.count() == 0
    assert filled.get("/api/v1/datasets/bank/mail").dataset["source_ids"] == []
