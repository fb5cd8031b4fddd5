"""Tasks, the next one to answer, annotations and predictions over the API."""

import pytest
from django.utils.dateparse import parse_datetime

from samples.annotating import annotate
from samples.models import Annotation, Assignment, Dataset, Prediction, Sample, Task
from tests.factories import (
    make_annotation,
    make_member,
    make_project,
    make_sample,
    make_settled_task,
    make_source,
    make_task,
    make_user,
)

from .conftest import Caller, refused

POSITIVE = {"answer": {"label": "Positif"}}


def test_one_task_is_posted_and_read_back(manager):
    body = {
        "project": "reviews",
        "content": "Très bien",
        "id": "r-1",
        "metadata": {"stars": 5, "big": 12345678901234567890},
        "occurred_at": "2026-05-25T10:05:00+02:00",
        "locale": "fr",
    }
    answer = manager.post("tasks", body, 201).json()
    assert (answer["created"], answer["unchanged"]) == (1, 0)
    (told,) = answer["results"]
    alone = manager.get(f"tasks/{told['id']}").json()
    assert alone | {"options": None} == alone | told, "the same, and DLoopIQ's words beside it"
    assert (alone["taskId"], alone["options"]) == (told["id"], ["Positif", "Négatif"])
    assert told["metadata"] == body["metadata"] and told["occurred_at"] == "2026-05-25T08:05:00Z"
    assert (told["source"], told["external_id"], told["status"], told["label"]) == ("api", "r-1", "PENDING", None)
    again = manager.post("tasks", body, 201).json()
    assert (again["created"], again["unchanged"], again["results"]) == (0, 1, [told])


def test_several_are_posted_in_their_order_all_or_none(manager):
    items = [{"content": f"Avis {number}"} for number in range(5)]
    body = {"project": "reviews", "source": "shop", "tasks": [*items, items[0]]}
    told = manager.post("tasks", body, 201).json()
    assert [row["content"] for row in told["results"]] == [item["content"] for item in [*items, items[0]]]
    assert (told["created"], told["unchanged"]) == (5, 1)
    bad = {"project": "reviews", "tasks": [{"content": "fine"}, {"content": "  "}]}
    answer = manager.post("tasks", bad)
    assert refused(answer, 400, "bad_row") and "line 2" in answer.json()["message"]
    assert Task.objects.count() == 5


@pytest.mark.parametrize(
    "change",
    [
        {"content": None},
        {"content": 5},
        {"contents": "x"},
        {"options": ["one"]},
        {"metadata": []},
        {"locale": "x" * 17},
        {"id": "x" * 1025},
        {"occurred_at": "yesterday"},
        {"source": "no spaces"},
        {"tasks": []},
        {"tasks": [{"content": "x"}]},
    ],
    ids=str,
)
def test_a_task_that_cannot_be_is_refused_by_its_field(manager, change):
    answer = manager.post("tasks", {"project": "reviews", "content": "x"} | change)
    assert refused(answer, 400, "invalid")
    assert not Task.objects.exists()


def test_who_may_not_import_posts_nothing(annotator, stranger):
    body = {"project": "reviews", "content": "x"}
    assert refused(annotator.post("tasks", body), 403, "not_allowed")
    assert refused(stranger.post("tasks", body), 404, "not_found")


# Lists ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(project):
    """Thirty tasks in all states, between those of another project."""
    other = make_project()
    for number in range(30):
        make_task(other)
        state = Task.Status.values[number % 4]
        maker = make_settled_task if state == "COMPLETED" else make_task
        extra = {} if state == "COMPLETED" else {"status": state}
        maker(project, f"Avis {number}", locale="fr" if number % 3 else "en", **extra)
    return project


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("limit", [1, 7, 30, 200])
def test_pages_hold_every_row_once_and_in_order(viewer, many, order, limit):
    rows = viewer.all(f"tasks?limit={limit}&order={order}")
    expected = [f"Avis {number}" for number in range(30)]
    assert [row["content"] for row in rows] == (expected if order == "oldest" else expected[::-1])


def test_a_page_stays_where_it_was_whatever_comes_and_goes(viewer, many):
    first = viewer.get("tasks?limit=10").json()
    Task.objects.filter(project=many, content="Avis 3").delete()
    make_task(many, "Avis 30")
    second = viewer.get(first["next"]).json()
    assert [row["content"] for row in second["results"]] == [f"Avis {number}" for number in range(10, 20)]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("status=PENDING", 8),
        ("status=PENDING&status=FAILED", 15),
        ("project=reviews", 30),
        ("project=reviews&status=COMPLETED&limit=200", 7),
        ("locale=en", 10),
        ("label=Positif", 7),
        ("label=Négatif", 0),
        ("confidence_min=0.5", 7),
        ("confidence_max=0.5", 0),
        ("source=inbox", 30),
        ("source=outbox", 0),
        ("type=SENTIMENT_ANALYSIS", 30),
        ("created_after=2020-01-01T00:00:00Z", 30),
        ("created_before=2020-01-01T00:00:00Z", 0),
        ("dataset=good", 30),
        ("dataset=other", 0),
    ],
)
def test_lists_are_filtered(viewer, many, query, number):
    Dataset.objects.create(project=many, name="good").sources.add(make_source(many))
    assert len(viewer.all(f"tasks?{query}")) == number


def test_a_superuser_s_list_holds_everybody_s(boss, many):
    assert len(boss.all("tasks?limit=9")) == 60
    assert len(boss.all("tasks?status=PENDING&limit=9")) == 38


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=١",
        "cursor=x",
        "cursor=YWZ0ZXI6LTE",
        "order=random",
        "status=DONE",
        "statsu=PENDING",
        "project=unknown",
        "project=elsewhere",
        "label=unknown",
        "label=%00",
        "confidence_min=2",
        "confidence_min=NaN",
        "created_after=soon",
        "created_after=0001-01-01T00:00:00%2B23:59",
        "created_before=9999-12-31T23:59:59-12:00",
        "type=JOKE",
    ],
)
def test_a_question_that_makes_no_sense_is_refused(viewer, stranger, query):
    answer = viewer.ask("GET", f"tasks?{query}")
    assert answer.status_code == 400 and answer.json()["code"] in ("invalid", "invalid_page")


def test_a_list_costs_the_same_at_ten_and_at_a_hundred_rows(viewer, annotator, project, django_assert_num_queries):
    def fill(number):
        for _ in range(number):
            task = make_task(project)
            annotation = make_annotation(task, make_user())
            Prediction.objects.create(task=task, model="m@1", label=annotation.label, probability=0.5)

    lists = ["tasks", "tasks?project=reviews", "annotations", "predictions", "labels", "projects"]

    def costs():
        found = []
        for address in lists:
            with django_assert_num_queries(10, exact=False) as queries:
                viewer.get(f"{address}{'&' if '?' in address else '?'}limit=200")
            found.append(len(queries))
        return found

    fill(10)
    viewer.get("tasks")  # notes that the key is in use
    at_ten = costs()
    fill(90)
    assert costs() == at_ten and max(at_ten) <= 6


def test_what_is_not_one_s_own_is_not_found(stranger, project):
    task = make_task(project)
    annotation = make_annotation(task)
    guess = Prediction.objects.create(task=task, model="m@1", label=annotation.label, probability=0.5)
    for address in (f"tasks/{task.uid}", f"annotations/{annotation.pk}", f"predictions/{guess.pk}", "tasks/abc"):
        assert refused(stranger.ask("GET", address), 404, "not_found")
    for verb in ("annotations", "release", "decide"):
        assert refused(stranger.post(f"tasks/{task.uid}/{verb}", POSITIVE), 404, "not_found")
    for noun in ("tasks", "annotations", "predictions"):
        assert stranger.all(noun) == []


def test_a_task_is_deleted_unless_it_became_training_data(manager, annotator, project):
    task, sample = make_task(project), make_sample(project)
    assert refused(annotator.ask("DELETE", f"tasks/{task.uid}"), 403, "not_allowed")
    manager.delete(f"tasks/{task.uid}")
    assert refused(manager.ask("DELETE", f"tasks/{sample.uid}"), 409, "still_needed")
    assert Task.objects.get().pk == sample.task_id


# The next one ---------------------------------------------------------------------------------------------------------


def test_two_annotators_are_given_different_tasks_and_their_answers_settle_them(annotator, project):
    other = Caller(make_member(project))
    tasks = [make_task(project, f"Avis {number}") for number in range(2)]
    first = annotator.post("projects/reviews/tasks/next", expect=200).json()
    second = other.post("projects/reviews/tasks/next", {"order": "random"}, 200).json()
    assert [first["task"]["id"], second["task"]["id"]] == [task.uid for task in tasks]
    assert first["choices"] == ["Positif", "Négatif"] and parse_datetime(first["until"])
    assert annotator.post("projects/reviews/tasks/next", expect=200).json()["task"] == first["task"]
    answer = annotator.post(f"tasks/{first['task']['id']}/annotations", POSITIVE | {"lead_time_ms": 900}, 201)
    assert annotator.get(answer["Location"].removeprefix("/api/v1/")).json()["lead_time_ms"] == 900
    assert annotator.post("projects/reviews/tasks/next").status_code == 204
    assert Sample.objects.pending().get().task == tasks[0]


def test_a_task_given_back_goes_to_the_next_who_asks(annotator, project):
    task = make_task(project)
    other = Caller(make_member(project))
    annotator.post("projects/reviews/tasks/next", expect=200)
    assert other.post("projects/reviews/tasks/next").status_code == 204
    assert annotator.post(f"tasks/{task.uid}/release").status_code == 204
    assert other.post("projects/reviews/tasks/next", {"skip": [task.uid]}).status_code == 204
    assert other.post("projects/reviews/tasks/next", expect=200).json()["task"]["id"] == task.uid


def test_viewers_and_strangers_are_given_nothing(viewer, stranger, project):
    make_task(project)
    assert refused(viewer.post("projects/reviews/tasks/next"), 403, "not_allowed")
    assert refused(stranger.post("projects/reviews/tasks/next"), 404, "not_found")
    assert viewer.post("projects/reviews/tasks/next", {"order": "newest"}).status_code == 400
    assert not Assignment.objects.exists()


# Annotations ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_kept_changed_and_taken_back(annotator, project):
    project.validations_needed = 3
    project.save()
    task = make_task(project)
    made = annotator.post("annotations", {"task": task.uid, **POSITIVE}, 201).json()
    assert (made["task"], made["annotator"], made["answer"]) == (
        task.uid,
        annotator.user.username,
        {"label": "Positif"},
    )
    annotator.post("annotations", {"task": task.uid, "answer": {"label": "Négatif"}}, 200)
    address = f"annotations/{made['id']}"
    etag = annotator.get(address)["ETag"]
    assert annotator.patch(address, POSITIVE, if_match=etag).json()["answer"] == {"label": "Positif"}
    assert refused(annotator.ask("PATCH", address, POSITIVE, if_match=etag), 412, "precondition_failed")
    annotator.delete(address)
    assert not Annotation.objects.exists()
    assert refused(annotator.ask("DELETE", address), 404, "not_found")


def test_nobody_changes_another_s_answer(annotator, manager, viewer, project):
    task = make_task(project)
    made = annotate(task, by=annotator.user, answer={"label": "Positif"})
    for caller in (manager, viewer):
        assert refused(caller.ask("PATCH", f"annotations/{made.pk}", POSITIVE), 403, "not_allowed")
        assert refused(caller.ask("DELETE", f"annotations/{made.pk}"), 403, "not_allowed")
    assert Annotation.objects.get().answer == {"label": "Positif"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"answer": {"label": "Furieux"}}, "invalid_answer"),
        ({"answer": 5}, "invalid_answer"),
        ({"answer": None}, "invalid"),
        ({}, "invalid"),
        ({"answer": {"label": "Positif"}, "lead_time_ms": -1}, "invalid"),
        ({"answer": {"label": "Positif"}, "lead_time_ms": 2**40}, "invalid"),
        ({"answer": {"label": "Positif"}, "lead_time_ms": True}, "invalid"),
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_refused(annotator, project, body, code):
    answer = annotator.post(f"tasks/{make_task(project).uid}/annotations", body)
    assert refused(answer, 400, code)
    assert not Annotation.objects.exists()


def test_a_settled_task_takes_no_first_answer_and_a_viewer_gives_none(annotator, viewer, project):
    assert refused(annotator.post(f"tasks/{make_settled_task(project).uid}/annotations", POSITIVE), 409, "wrong_state")
    assert refused(viewer.post(f"tasks/{make_task(project).uid}/annotations", POSITIVE), 403, "not_allowed")


def test_a_reviewer_decides_what_people_could_not(reviewer, annotator, project):
    task = make_task(project, status="FAILED")
    assert refused(annotator.post(f"tasks/{task.uid}/decide", POSITIVE), 403, "not_allowed")
    told = reviewer.post(f"tasks/{task.uid}/decide", POSITIVE | {"reason": "clear"}, 200).json()
    assert (told["id"], told["label"], told["status"]) == (task.uid, "Positif", "PENDING")
    assert refused(reviewer.post(f"tasks/{task.uid}/decide", POSITIVE), 409, "wrong_state")


def test_annotations_and_predictions_are_filtered(viewer, project):
    task = make_task(project)
    first, second = make_annotation(task), make_annotation(task, label="Négatif")
    Prediction.objects.create(task=task, model="m@1", label=first.label, probability=0.9)
    Prediction.objects.create(task=task, model="m@2", label=second.label, probability=0.2)
    assert len(viewer.all(f"annotations?task={task.uid}")) == 2
    assert len(viewer.all(f"annotations?annotator={first.annotator.username}&project=reviews")) == 1
    (guess,) = viewer.all("predictions?model=m@1&probability_min=0.5&label=Positif")
    assert (guess["task"], guess["label"], guess["probability"]) == (task.uid, "Positif", 0.9)
