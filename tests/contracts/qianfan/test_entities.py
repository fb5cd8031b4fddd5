"""entity/list, entity/annotate and entity/delete as the documentation shows them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile

from labelhub.accounts.roles import Role
from samples import looking_over, perplexity
from samples.models import Annotation, Dataset, Sample, Task, TextStatistics
from tests.factories import (
    make_batch,
    make_member,
    make_project,
    make_sample,
    make_settled_task,
    make_source,
    make_task,
    make_user,
)

from .conftest import Speaker

DOCUMENTED = {"offset": 0, "pageSize": 10, "importTime": [], "annoTime": [], "tabType": 1, "labelId": ""}


def listed(speaker, dataset_id, **asked):
    return speaker.post("entity/list", {"datasetId": dataset_id, **asked})


def ids(page):
    return [item["id"] for item in page["items"]]


def annotate(speaker, dataset_id, task, said, prompt=None):
    content = [{"prompt": prompt or task.content, "response": [[said]]}]
    return speaker.post("entity/annotate", {"id": task.uid, "datasetId": dataset_id, "content": content})


def content_of(speaker, item):
    answer = speaker.client.get(item["url"])
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json; charset=utf-8"
    return answer.json()


# List -----------------------------------------------------------------------------------------------------------------


def test_an_item_has_the_documented_fields_in_their_order(manager, dataset_id, tasks):
    page = listed(manager, dataset_id)
    assert list(page) == ["totalAll", "total", "items"]
    assert (page["totalAll"], page["total"]) == (5, 5)
    item = page["items"][0]
    assert list(item) == ["id", "name", "labels", "url", "memorySize", "isEncrypted", "textExtra"]
    assert (item["id"], item["name"], item["labels"]) == (tasks[0].uid, "", [])
    assert (item["memorySize"], item["isEncrypted"]) == (0.01, False)
    assert list(item["textExtra"]) == [
        "domainType",
        "taskType",
        "wordNum",
        "repetitiveCharRatio",
        "specialCharRatio",
        "flaggedWordRatio",
        "langProb",
        "perplexity",
    ]
    assert ids(page) == [task.uid for task in tasks]


def test_the_documented_request_finds_what_is_annotated(manager, dataset_id, tasks):
    annotate(manager, dataset_id, tasks[2], "四川。")
    page = listed(manager, dataset_id, **DOCUMENTED)
    assert (page["totalAll"], page["total"], ids(page)) == (5, 1, [tasks[2].uid])
    rest = listed(manager, dataset_id, **DOCUMENTED | {"tabType": 2})
    assert rest["total"] == 4 and tasks[2].uid not in ids(rest)


@pytest.mark.parametrize(("asked", "given"), [(None, 20), (10, 10), (30, 30), (31, 30), (5000, 30), (0, 1), (-3, 1)])
def test_the_page_size_is_clamped_and_never_refused(manager, project, dataset_id, asked, given):
    for number in range(35):
        make_task(project, f"{number}")
    assert len(listed(manager, dataset_id, **({} if asked is None else {"pageSize": asked}))["items"]) == given


def test_pages_follow_each_other(manager, dataset_id, tasks):
    seen = [ids(listed(manager, dataset_id, offset=offset, pageSize=2)) for offset in (0, 2, 4, 6)]
    assert [len(page) for page in seen] == [2, 2, 1, 0]
    assert sum(seen, []) == [task.uid for task in tasks]


def test_a_page_costs_the_same_number_of_queries_whatever_its_length(
    manager, project, dataset_id, django_assert_num_queries
):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def cost():
        listed(manager, dataset_id)  # the key's use is noted
        with CaptureQueriesContext(
            connection,
        ) as queries:
            listed(manager, dataset_id, pageSize=30)
        return len(queries)

    make_task(project, "一")
    one = cost()
    for number in range(29):
        make_task(project, str(number))
    assert cost() == one <= 9


def test_times_filter_with_both_ends_included(manager, dataset_id, tasks):
    at = datetime(2023, 11, 8, tzinfo=UTC)
    for day, task in enumerate(tasks):
        Task.objects.filter(pk=task.pk).update(created_at=at + timedelta(days=day))

    def stamp(days):
        return int((at + timedelta(days=days)).timestamp() * 1000)

    assert ids(listed(manager, dataset_id, importTime=[stamp(1), stamp(3)])) == [task.uid for task in tasks[1:4]]
    annotate(manager, dataset_id, tasks[0], "一")
    annotate(manager, dataset_id, tasks[1], "二")
    Task.objects.filter(pk=tasks[0].pk).update(validated_at=at)
    assert ids(listed(manager, dataset_id, annoTime=[stamp(0), stamp(1)])) == [tasks[0].uid]


def test_an_entity_is_annotated_for_who_answered_it_before_it_has_a_verdict(make_speaker, project, dataset_id, tasks):
    project.validations_needed = 2
    project.save()
    one, other = make_speaker(Role.ANNOTATOR), make_speaker(Role.ANNOTATOR)
    annotate(one, dataset_id, tasks[0], "北京。")
    assert ids(listed(one, dataset_id, tabType=1)) == [tasks[0].uid]
    assert listed(one, dataset_id, tabType=2)["total"] == 4
    assert listed(other, dataset_id, tabType=2)["total"] == 5
    now = int(datetime.now(UTC).timestamp() * 1000)
    recent = [now - 60_000, now + 60_000]
    assert ids(listed(one, dataset_id, annoTime=recent)) == [tasks[0].uid]
    assert ids(listed(other, dataset_id, annoTime=recent)) == []
    (mine,) = listed(one, dataset_id, tabType=1)["items"]
    assert content_of(one, mine) == [{"prompt": tasks[0].content, "response": [["北京。"]]}]
    assert content_of(other, listed(other, dataset_id)["items"][0])[0]["response"] == [[""]]
    annotate(other, dataset_id, tasks[0], "北京。")
    assert Task.objects.get(pk=tasks[0].pk).is_settled
    assert content_of(other, listed(other, dataset_id)["items"][0])[0]["response"] == [["北京。"]]


def test_labels_are_those_of_the_verdict_with_their_colours(db):
    project = make_project(labels=("Positif", "Négatif"))
    dataset = Dataset.objects.create(project=project, name="d")
    dataset.sources.add(make_source(project))
    good, bad = (make_settled_task(project, name, label=name) for name in ("Positif", "Négatif"))
    make_task(project, "?")
    speaker, of = Speaker(make_member(project, Role.VIEWER)), f"ds-{dataset.uid}"
    page = listed(speaker, of)
    label = project.labels.get(name="Positif")
    assert page["items"][0]["labels"] == [{"label_id": str(label.pk), "name": "Positif", "color": "#1A73E8"}]
    assert page["items"][2]["labels"] == []
    assert ids(listed(speaker, of, labelId=str(label.pk))) == [good.uid]
    both = ",".join(str(one.pk) for one in project.labels.all())
    assert ids(listed(speaker, of, labelId=both)) == [good.uid, bad.uid]
    assert content_of(speaker, page["items"][1]) == [{"prompt": "Négatif", "response": [["Négatif"]]}]


def test_only_the_sources_of_the_dataset_are_shown(manager, project, dataset_id, tasks):
    make_task(project, "elsewhere", source=make_source(project, "archive"))
    assert listed(manager, dataset_id)["totalAll"] == 5


def test_the_older_number_names_the_dataset_too(manager, dataset, tasks):
    assert listed(manager, dataset.pk)["totalAll"] == 5


def test_figures_are_whole_numbers_measured_from_the_text(manager, project, dataset_id):
    make_task(project, "hello hello, hello world!", locale="en")
    extra = listed(manager, dataset_id)["items"][0]["textExtra"]
    assert extra["wordNum"] == 4
    assert 0 < extra["specialCharRatio"] <= 100 and extra["langProb"] <= 100
    assert all(type(extra[name]) is int for name in list(extra)[2:])


def test_figures_that_were_stored_are_shown_as_they_are(manager, dataset_id, tasks):
    TextStatistics.objects.create(
        task=tasks[0],
        word_number=12,
        character_number=40,
        repetitive_char_ratio=0.125,
        special_char_ratio=0.5,
        flagged_word_ratio=0.004,
        language="zh",
        language_probability=0.98765,
        perplexity=123.4,
    )
    assert listed(manager, dataset_id)["items"][0]["textExtra"] == {
        "domainType": "",
        "taskType": "",
        "wordNum": 12,
        "repetitiveCharRatio": 12,
        "specialCharRatio": 50,
        "flaggedWordRatio": 0,
        "langProb": 99,
        "perplexity": 123,
    }


def test_perplexity_is_told_once_there_are_texts_enough(manager, project, dataset_id, monkeypatch):
    monkeypatch.setattr(perplexity, "FEWEST", 10)

    def sent():
        looking_over.measure_texts(Task.objects.filter(project=project))
        looking_over.tell_perplexities(project.pk)
        items = listed(manager, dataset_id)["items"]
        return {item["id"]: item["textExtra"]["perplexity"] for item in items}

    made = [make_task(project, f"The parcel number {number} came late", locale="en") for number in range(9)]
    assert set(sent().values()) == {0}
    made.append(make_task(project, "asdf;lkj qwpoeiru", locale="en"))
    told = sent()
    assert told == {task.uid: round(TextStatistics.objects.get(task=task).perplexity) for task in made}
    assert all(type(figure) is int and figure >= 1 for figure in told.values())
    assert max(told, key=told.get) == made[-1].uid


def test_an_image_is_sent_as_the_file_it_is(manager, project, dataset_id):
    task = make_task(project, "a cat")
    task.media.save("cat.png", ContentFile(b"\x89PNG bytes"))
    item = listed(manager, dataset_id)["items"][0]
    assert item["name"] == "cat.png"
    answer = manager.client.get(item["url"])
    assert (answer["Content-Type"], b"".join(answer.streaming_content)) == ("image/png", b"\x89PNG bytes")
    assert answer["Content-Disposition"] == 'attachment; filename="cat.png"'


def test_an_entity_s_address_needs_no_key_and_opens_nothing_else(manager, dataset_id, tasks, settings):
    url = listed(manager, dataset_id)["items"][0]["url"]
    path, _, token = url.removeprefix("http://testserver").rpartition("/")
    assert manager.client.get(url).status_code == manager.client.head(url).status_code == 200
    for other in (token[:-1] + ("a" if token[-1] != "a" else "b"), "x", tasks[0].uid, token + "x", "%00"):
        answer = manager.client.get(f"{path}/{other}")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/json"), other
    assert manager.client.post(url).status_code == 405
    settings.LINK_SECONDS = -1
    assert manager.client.get(url).status_code == 404


def test_an_entity_s_address_closes_with_its_reader_s_access(manager, project, dataset_id, tasks):
    url = listed(manager, dataset_id)["items"][0]["url"]
    project.memberships.all().delete()
    assert manager.client.get(url).status_code == 404


# Annotate -------------------------------------------------------------------------------------------------------------


def test_an_annotation_becomes_the_caller_s_answer_and_here_the_verdict(manager, dataset_id, tasks):
    assert annotate(manager, dataset_id, tasks[0], "北京是首都。") is True
    annotation = Annotation.objects.get()
    assert (annotation.task, annotation.annotator) == (tasks[0], manager.user)
    assert annotation.answer == {"text": "北京是首都。"}
    assert Task.objects.get(pk=tasks[0].pk).label_name == "北京是首都。"
    assert Sample.objects.get().status == "PENDING"


def test_a_second_annotation_takes_the_place_of_the_first(manager, dataset_id, tasks):
    annotate(manager, dataset_id, tasks[0], "一")
    annotate(manager, dataset_id, tasks[0], "二")
    assert Annotation.objects.get().answer == {"text": "二"}
    assert Task.objects.get(pk=tasks[0].pk).label_name == "二"


def test_the_prompt_may_be_put_in_other_words(manager, make_speaker, dataset_id, tasks):
    annotate(manager, dataset_id, tasks[0], "北京。", prompt="介绍北京。")
    assert Task.objects.get(pk=tasks[0].pk).content == "介绍北京。"
    annotator = make_speaker(Role.ANNOTATOR)
    content = [{"prompt": "另一个问题", "response": [["答"]]}]
    body = {"id": tasks[1].uid, "datasetId": dataset_id, "content": content}
    annotator.refused("entity/annotate", body, code=500002)
    assert Task.objects.get(pk=tasks[1].pk).content == tasks[1].content
    assert not Annotation.objects.filter(task=tasks[1]).exists()


def test_a_label_is_an_answer_where_the_project_has_labels(db):
    project = make_project(labels=("Positif", "Négatif"), validations_needed=1)
    dataset = Dataset.objects.create(project=project, name="d")
    dataset.sources.add(make_source(project))
    first, second = make_task(project), make_task(project)
    speaker, of = Speaker(make_member(project, Role.ANNOTATOR)), f"ds-{dataset.uid}"
    annotate(speaker, of, first, "Négatif")
    label = project.labels.get(name="Positif")
    speaker.post("entity/annotate", {"id": second.uid, "datasetId": of, "labels": [{"label_id": str(label.pk)}]})
    assert list(Task.objects.order_by("pk").values_list("label_name", flat=True)) == ["Négatif", "Positif"]
    body = {"id": second.uid, "datasetId": of, "content": [{"prompt": second.content, "response": [["Neutre"]]}]}
    assert "Positif, Négatif" in speaker.refused("entity/annotate", body)
    body = {"id": second.uid, "datasetId": of, "labels": [{"label_id": "999999"}]}
    assert "no such label_id: 999999" in speaker.refused("entity/annotate", body)


def test_several_labels_are_one_answer_where_the_type_allows_them(db):
    project = make_project(task_type="MULTI_LABEL", labels=("A", "B", "C"), validations_needed=1)
    dataset = Dataset.objects.create(project=project, name="d")
    dataset.sources.add(make_source(project))
    task = make_task(project)
    speaker, of = Speaker(make_member(project, Role.ANNOTATOR)), f"ds-{dataset.uid}"
    speaker.post("entity/annotate", {"id": task.uid, "datasetId": of, "labels": [{"name": "C"}, {"name": "A"}]})
    page = listed(speaker, of)
    assert [label["name"] for label in page["items"][0]["labels"]] == ["A", "C"]
    assert content_of(speaker, page["items"][0])[0]["response"] == [["A, C"]]
    content = [{"prompt": task.content, "response": [["B"], ["C"]]}]
    speaker.post("entity/annotate", {"id": task.uid, "datasetId": of, "content": content})
    assert Task.objects.get().label_names == ["B", "C"]


def test_of_two_responses_the_better_comes_first(db):
    project = make_project(task_type="PREFERENCE", labels=(), validations_needed=1)
    dataset = Dataset.objects.create(project=project, name="d")
    dataset.sources.add(make_source(project))
    task = make_task(project, "Why?", options=["Because.", "I do not know."])
    speaker, of = Speaker(make_member(project, Role.ANNOTATOR)), f"ds-{dataset.uid}"
    content = [{"prompt": "Why?", "response": [["I do not know."], ["Because."]]}]
    speaker.post("entity/annotate", {"id": task.uid, "datasetId": of, "content": content})
    assert Task.objects.get().answer == {"chosen": "I do not know.", "rejected": "Because."}
    assert content_of(speaker, listed(speaker, of)["items"][0]) == content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "give content or labels"),
        ([{"prompt": "p"}], "response is empty"),
        ([{"prompt": "p", "response": []}], "response is empty"),
        ([{"prompt": "p", "response": [["a"], ["b"]]}], "response has 2 texts"),
        ([{"prompt": "p", "response": [["  "]]}], "may not be empty"),
        ([{"prompt": "p", "response": [["a"]]}, {"prompt": "q", "response": [["b"]]}], "content has 2 turns"),
        ([{"prompt": "", "response": [["a"]]}], "prompt"),
        ([{"prompt": "  ", "response": [["a"]]}], "content is empty"),
        ([{"response": [["a"]]}], "prompt"),
        ([{"prompt": 3, "response": [["a"]]}], "prompt"),
        ([{"prompt": "p", "response": ["a"]}], "response"),
        ([{"prompt": "p", "response": [[3]]}], "response"),
        (["p"], "content"),
        ("p", "content"),
        ({"prompt": "p"}, "content"),
    ],
)
def test_what_is_no_annotation_is_refused_and_changes_nothing(manager, dataset_id, tasks, content, said):
    body = {"id": tasks[0].uid, "datasetId": dataset_id, "content": content}
    message = manager.refused("entity/annotate", body)
    assert message.startswith("param invalid: ") and said in message
    assert not Annotation.objects.exists()
    assert Task.objects.get(pk=tasks[0].pk).content == tasks[0].content


# Delete ---------------------------------------------------------------------------------------------------------------


def test_entities_go_and_those_that_must_stay_are_named(manager, project, dataset_id, tasks):
    approved = make_sample(
        make_project("labelled"), "x"
    )  # of another project: not there for this dataset, whatever its state
    for task in tasks[:2]:
        annotate(manager, dataset_id, task, "答")
    Sample.objects.filter(task=tasks[0]).update(status="APPROVED", reviewed_at=datetime.now(UTC))
    carried = Sample.objects.get(task=tasks[1])
    make_batch(project).items.create(sample=carried)
    asked = [task.uid for task in tasks] + ["no-such-entity", approved.uid]
    result = manager.post("entity/delete", {"id": asked, "datasetId": dataset_id})
    assert result == {"failedOnes": [tasks[0].uid, tasks[1].uid, "no-such-entity", approved.uid]}
    assert list(Task.objects.filter(project=project).order_by("pk")) == tasks[:2]
    assert Task.objects.filter(pk=approved.task_id).exists()


def test_where_all_go_nothing_failed(manager, dataset_id, tasks):
    result = manager.post("entity/delete", {"id": [task.uid for task in tasks[:3]], "datasetId": dataset_id})
    assert result == {"failedOnes": None}
    assert Task.objects.count() == 2


def test_a_deletion_changes_the_dataset_s_time(manager, dataset, dataset_id, tasks):
    before = Dataset.objects.get(pk=dataset.pk).updated_at
    manager.post("entity/delete", {"id": [tasks[0].uid], "datasetId": dataset_id})
    assert Dataset.objects.get(pk=dataset.pk).updated_at > before


def test_a_deletion_is_the_manager_s(make_speaker, dataset_id, tasks):
    for role in (Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER, Role.BUYER):
        body = {"id": [tasks[0].uid], "datasetId": dataset_id}
        make_speaker(role).refused("entity/delete", body, code=500002)
    assert Task.objects.count() == 5


def test_ids_are_a_list_of_a_bounded_length(manager, dataset_id, tasks):
    for wrong in (tasks[0].uid, [], [3], ["x"] * 1001, [""], ["x" * 201], None):
        manager.refused("entity/delete", {"id": wrong, "datasetId": dataset_id})
    assert Task.objects.count() == 5


def test_the_log_names_the_request(manager, dataset_id, tasks):
    answer = manager.ask("/wenxinworkshop/entity/list", {"datasetId": dataset_id})
    assert len(answer.told["log_id"]) == 16
    assert json.loads(answer.raw)["log_id"] != manager.ask("/wenxinworkshop/entity/list").told["log_id"]
    assert make_user()
