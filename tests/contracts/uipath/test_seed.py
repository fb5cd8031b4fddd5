"""What the seed page shows, to the letter: ids and times aside."""

import re
from datetime import UTC, datetime

import pytest

from exports.batching import gather_tasks
from exports.finetuning import submit
from exports.models import Batch, FineTune, ModelTag, ModelVersion
from exports.versions import tag
from labelhub.jobs.worker import bring_to_end
from samples.models import Dataset, Label, Prediction, Project, Source, Task
from tests.exports.training import opinions, project_of
from tests.factories import make_superuser

from .conftest import Speaker

DATASET = {
    "created": "2018-10-15T15:48:49.603000Z",
    "description": "An optional long form description.",
    "has_sentiment": True,
    "id": "18ba5ce699f8da1f",
    "last_modified": "2018-10-15T15:48:49.603000Z",
    "model_family": "english",
    "name": "example",
    "owner": "bank",
    "source_ids": ["18ba5ce699f8da1f"],
    "title": "An Example Dataset",
}
EXPORTED = {
    "annotations": {
        "labels": {
            "assigned": [
                {"name": "Parent Label", "sentiment": "positive"},
                {"name": "Parent Label > Child Label", "sentiment": "positive"},
            ]
        }
    },
    "comment": {
        "context": "1596721237668",
        "created_at": "2020-08-06T13:20:28.531000Z",
        "has_annotations": True,
        "id": "0123456789abcdef",
        "last_modified": "2020-08-06T13:40:37.668000Z",
        "messages": [
            {
                "body": {"text": "Alice,\n\nHere are the figures for today.\n\nRegards,\nBob"},
                "from": "bob@organisation.org",
                "sent_at": "2011-12-11T11:05:10Z",
                "subject": {"text": "Today's figures"},
                "to": ["alice@company.com"],
            }
        ],
        "source_id": "47194279497e141e",
        "text_format": "plain",
        "thread_id": "123456",
        "timestamp": "2011-12-11T11:05:10Z",
        "uid": "47194279497e141e.0123456789abcdef",
        "user_properties": {
            "string:Recipient Domain": "company.com",
            "string:Sender Domain": "organisation.org",
        },
    },
    "predictions": {
        "labels": [
            {
                "name": "Another Parent Label",
                "probability": 0.954979807138443,
                "sentiment": -0.4281917143125379,
            },
            {
                "name": "Another Parent Label > Another Child Label",
                "probability": 0.7726812064647675,
                "sentiment": -0.6603664430231163,
            },
        ]
    },
}


@pytest.fixture
def example(cli):
    """The seed's dataset, source and comment."""
    project = Project.objects.get(name="bank")
    Source.objects.filter(uid=cli.source_id).update(uid="18ba5ce699f8da1f")
    source = Source.objects.create(project=project, name="figures", uid="47194279497e141e")
    cli.put("/api/v1/datasets/bank/example", {"dataset": {name: DATASET[name] for name in ("title", "description")}})
    dataset = Dataset.objects.get(name="example")
    dataset.sources.set(Source.objects.filter(uid="18ba5ce699f8da1f"))
    at = datetime(2018, 10, 15, 15, 48, 49, 603000, tzinfo=UTC)
    Dataset.objects.filter(pk=dataset.pk).update(uid="18ba5ce699f8da1f", created_at=at, updated_at=at)
    cli.figures = source
    return cli


def test_the_list_shows_the_seed_s_dataset(example):
    answer = example.get("/api/v1/datasets")
    shown = next(dataset for dataset in answer.datasets if dataset["name"] == "example")
    assert {name: shown[name] for name in DATASET} == DATASET


def test_one_dataset_is_the_seed_s_too(example):
    for path in ("bank/example", "bank%2Fexample", "id:18ba5ce699f8da1f"):
        shown = example.get(f"/api/v1/datasets/{path}").dataset
        assert {name: shown[name] for name in DATASET} == DATASET


def test_a_dataset_has_every_field_that_any_client_requires(example):
    shown = example.get("/api/v1/datasets/bank/example").dataset
    assert list(shown) == [
        *("id", "owner", "name", "title", "description", "created", "last_modified", "model_family", "source_ids"),
        *("has_sentiment", "entity_defs", "general_fields", "label_defs", "label_groups", "_dataset_flags"),
        *("_model_config", "limited_access", "_label_properties", "_timezone", "_preferred_locales"),
    ]
    assert shown["label_groups"] == [
        {
            "label_collection_name": None,
            "trainable": True,
            "hidden": False,
            "instructions": "",
            "label_defs": [],
            "name": "default",
        }
    ]
    assert shown["_model_config"] == {"kind": "cm"}
    assert shown["_preferred_locales"] == {"default": "en-GB", "preferences": []}


def test_put_creates_what_the_seed_sends(cli):
    body = {
        "dataset": {
            "description": "An optional long form description.",
            "model_family": "english",
            "source_ids": [cli.source_id],
            "title": "An Example Dataset",
        }
    }
    made = cli.put("/api/v1/datasets/bank/example", body).dataset
    expected = DATASET | {"source_ids": [cli.source_id]}
    assert {name: made[name] for name in expected if name not in ("id", "created", "last_modified")} == {
        name: value for name, value in expected.items() if name not in ("id", "created", "last_modified")
    }
    assert re.fullmatch("[0-9a-f]{16}", made["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["created"])


def test_post_changes_the_title_and_moves_last_modified_only(example):
    shown = example.post("/api/v1/datasets/bank/example", {"dataset": {"title": "An Alternative Title"}}).dataset
    assert shown["title"] == "An Alternative Title"
    assert shown["last_modified"] > DATASET["last_modified"]
    same = set(DATASET) - {"title", "last_modified"}
    assert {name: shown[name] for name in same} == {name: DATASET[name] for name in same}


def test_delete_says_ok_and_nothing_else(example):
    answer = example.delete("/api/v1/datasets/bank/example")
    assert answer.raw == b'{"status":"ok"}'
    assert example.get("/api/v1/datasets/bank/example").code == 404


def test_model_tags_are_shown_with_their_versions(example):
    project = Project.objects.get(name="bank")
    for number, name, at in (
        (5, "prod", datetime(2021, 11, 16, 12, 31, 0, 123000, tzinfo=UTC)),
        (7, "staging", datetime(2021, 11, 15, 12, 30, 0, 123000, tzinfo=UTC)),
    ):
        batch = Batch.objects.create(project=project, format="jsonl", destination="local")
        finetune = FineTune.objects.create(batch=batch, status="SUCCESS")
        version = ModelVersion.objects.create(project=project, version=number, finetune=finetune)
        tag = ModelTag.objects.create(project=project, name=name, version=version)
        ModelTag.objects.filter(pk=tag.pk).update(updated_at=at)
    answer = example.get("/api/v1/datasets/bank/example/model-tags")
    assert answer.model_tags == [
        {"name": "prod", "updated_at": "2021-11-16T12:31:00.123000Z", "version": 5},
        {"name": "staging", "updated_at": "2021-11-15T12:30:00.123000Z", "version": 7},
    ]


def test_each_dataset_shows_the_tags_of_the_models_trained_on_it_and_those_of_the_whole_project(db, settings):
    settings.JOB_LEASE_SECONDS = 600
    boss = make_superuser()
    project = project_of(opinions(40), by=boss)
    for name in ("first", "second", None):
        dataset = Dataset.objects.create(project=project, name=name) if name else None
        batch = gather_tasks(
            Task.objects.filter(project=project), by=boss, format="jsonl", dataset=dataset, ratios="0.8/0.1/0.1"
        )
        bring_to_end(batch.job)
        finetune = submit(batch, by=boss)
        assert bring_to_end(finetune.job).state == "DONE"
        assert finetune.model_version.dataset == dataset
        tag(finetune.model_version, f"of-{name or 'all'}", by=boss)
    uipath = Speaker(boss)
    shown = {
        name: [tag["name"] for tag in uipath.get(f"/api/v1/datasets/{project.name}/{name}").model_tags]
        for name in ("first/model-tags", "second/model-tags", "model-tags")
    }
    assert shown == {
        "first/model-tags": ["of-all", "of-first"],
        "second/model-tags": ["of-all", "of-second"],
        "model-tags": ["of-all", "of-first", "of-second"],
    }


def test_the_export_is_the_seed_s_example_and_attachments(example):
    example.post("/api/v1/datasets/bank/example", {"dataset": {"source_ids": ["47194279497e141e"]}})
    told = EXPORTED["comment"]
    sent = {name: told[name] for name in ("id", "timestamp", "messages", "user_properties", "thread_id")}
    later = {"id": "f", "timestamp": "2021-02-16T10:55:05Z", "messages": [{"body": {"text": "later"}}]}
    assert example.post("/api/v1/sources/bank/figures/sync", {"comments": [sent, later]}).new == 2
    labels = EXPORTED["annotations"]["labels"]["assigned"]
    path = f"/api/_private/datasets/bank%2Fexample/labellings/{told['uid']}"
    assert example.post(path, {"labelling": [{"group": "default", "assigned": labels}]}).code == 200
    task = Task.objects.get(external_id=told["id"])
    for position, guess in enumerate(EXPORTED["predictions"]["labels"]):
        label = Label.objects.create(project=task.project, name=guess["name"], position=10 + position)
        Prediction.objects.create(
            task=task, model="bank@5", label=label, probability=guess["probability"], sentiment=guess["sentiment"]
        )
    Task.objects.filter(pk=task.pk).update(
        created_at=datetime(2020, 8, 6, 13, 20, 28, 531000, tzinfo=UTC),
        updated_at=datetime(2020, 8, 6, 13, 40, 37, 668000, tzinfo=UTC),
    )

    answer = example.post("/api/v1/datasets/bank/example/export", {"limit": 1})
    expected = {**EXPORTED, "comment": {**told, "attachments": []}}
    assert answer.comments == [expected]
    assert re.fullmatch(r"2011-12-11T11:05:10Z\.[0-9a-f]{32}", answer.continuation)

    answer = example.post("/api/v1/datasets/bank/example/export", {"limit": 1, "continuation": answer.continuation})
    assert [row["comment"]["id"] for row in answer.comments] == ["f"]
    assert not hasattr(answer, "continuation")
    assert answer.comments[0]["annotations"] == {"labels": {"assigned": []}}
    assert answer.comments[0]["predictions"] == {"labels": []}
