"""Samples over the API: found, corrected, approved, rejected and reopened."""

import pytest

from labelhub.accounts.models import AuditEntry
from samples.models import Sample
from tests.factories import make_batch, make_project, make_sample, make_samples

from .conftest import refused

pytestmark = pytest.mark.django_db
UNKNOWN = "0123456789abcdef"


def pending(project, number=3):
    return [make_sample(project, f"Avis {place}", status="PENDING") for place in range(number)]


def states(*samples):
    return [Sample.objects.get(pk=sample.pk).status for sample in samples]


def test_samples_are_listed_and_filtered(viewer, project):
    first, second = make_sample(project), make_sample(project, label="Négatif", confidence=0.4)
    waiting = make_sample(project, status="PENDING")
    make_batch(project).items.create(sample=first)
    make_sample(make_project())

    def found(query):
        return {row["id"] for row in viewer.all(f"samples?{query}")}

    assert found("") == {first.uid, second.uid, waiting.uid}
    assert found("status=APPROVED&limit=1") == {first.uid, second.uid}
    assert found("label=Négatif") == found("confidence_max=0.5") == {second.uid}
    assert found("exported=true") == {first.uid}
    assert found("exported=false&project=reviews") == {second.uid, waiting.uid}
    assert found(f"reviewed_by={first.reviewed_by.username}") == {first.uid}
    assert refused(viewer.ask("GET", "samples?exported=maybe"), 400, "invalid")
    assert viewer.get(f"samples/{first.uid}").json()["answer"] == {"label": "Positif"}


def test_some_are_approved_by_id_and_the_others_named_with_their_causes(reviewer, annotator, project):
    good, done = pending(project, 1)[0], make_sample(project)
    own = make_sample(project, "Mine", status="PENDING")
    own.task.annotations.create(annotator=reviewer.user, answer={"label": "Positif"})
    foreign = make_sample(make_project(), status="PENDING")
    told = reviewer.post(
        "samples/approve", {"ids": [good.uid, done.uid, own.uid, UNKNOWN, foreign.uid, good.uid]}, 200
    ).json()
    assert told == {
        "done": 1,
        "refused": 4,
        "causes": {"wrong_state": 1, "own_work": 1, "not_found": 2},
        "refused_samples": [
            {"id": done.uid, "code": "wrong_state"},
            {"id": own.uid, "code": "own_work"},
            {"id": UNKNOWN, "code": "not_found"},
            {"id": foreign.uid, "code": "not_found"},
        ],
    }
    assert states(good, own, foreign) == ["APPROVED", "PENDING", "PENDING"]
    assert AuditEntry.objects.get(action="approve").actor == reviewer.user


def test_a_filter_takes_the_list_s_own_words(reviewer, project):
    samples = pending(project, 3)
    negative = make_sample(project, label="Négatif", status="PENDING")
    body = {"filter": {"project": "reviews", "status": ["PENDING"], "label": "Positif"}}
    assert reviewer.post("samples/approve", body, 200).json() == {
        "done": 3,
        "refused": 0,
        "causes": {},
        "refused_samples": [],
    }
    assert states(*samples, negative) == ["APPROVED"] * 3 + ["PENDING"]
    body = {"filter": {"project": "reviews", "exported": False, "confidence_min": 0.5}, "reason": "again"}
    told = reviewer.post("samples/reopen", body, 200).json()
    assert (told["done"], told["causes"]) == (3, {"wrong_state": 1})
    rejected = reviewer.post("samples/reject", {"filter": {"project": "reviews"}, "reason": "spam"}, 200).json()
    assert rejected["done"] == 4
    assert Sample.objects.filter(reason="spam").count() == 4


def test_a_thousand_cost_as_many_queries_as_ten(reviewer, project, django_assert_num_queries):
    make_samples(10, project, status="PENDING")
    body = {"filter": {"project": "reviews", "status": ["PENDING"]}}
    reviewer.get("samples")
    with django_assert_num_queries(20, exact=False) as at_ten:
        assert reviewer.post("samples/approve", body, 200).json()["done"] == 10
    make_samples(1000, project, status="PENDING")
    with django_assert_num_queries(len(at_ten)):
        assert reviewer.post("samples/approve", body, 200).json()["done"] == 1000


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": {}},
        {"ids": []},
        {"ids": "all"},
        {"ids": ["x"]},
        {"ids": [5]},
        {"ids": [UNKNOWN], "filter": {"project": "reviews"}},
        {"filter": {"project": "reviews", "statu": ["PENDING"]}},
        {"filter": {"project": "reviews", "status": "PENDING"}},
        {"filter": {"project": "reviews", "label": "unknown"}},
        {"filter": {"project": "reviews", "exported": "true"}},
        {"filter": {"project": "reviews", "confidence_min": 7}},
        {"everything": True},
        [],
        5,
        None,
    ],
    ids=str,
)
def test_a_selection_that_says_nothing_or_too_much_changes_nothing(reviewer, project, body):
    (sample,) = pending(project, 1)
    answer = reviewer.ask("POST", "samples/approve", body if body is not None else "null")
    assert refused(answer, 400, "invalid")
    assert states(sample) == ["PENDING"]


def test_a_rejection_says_why(reviewer, project):
    (sample,) = pending(project, 1)
    assert refused(reviewer.post("samples/reject", {"ids": [sample.uid]}), 400, "invalid")
    assert refused(reviewer.post("samples/reject", {"ids": [sample.uid], "reason": "  "}), 400, "reason_missing")
    assert refused(reviewer.post(f"samples/{sample.uid}/reject", {}), 400, "invalid")
    told = reviewer.post(f"samples/{sample.uid}/reject", {"reason": "spam"}, 200).json()
    assert (told["status"], told["reason"], told["reviewed_by"]) == ("REJECTED", "spam", reviewer.user.username)


def test_one_is_approved_reopened_and_refused_with_the_reason(reviewer, annotator, project):
    (sample,) = pending(project, 1)
    address = f"samples/{sample.uid}"
    assert reviewer.post(f"{address}/approve", expect=200).json()["status"] == "APPROVED"
    assert refused(reviewer.post(f"{address}/approve"), 409, "wrong_state")
    assert reviewer.post(f"{address}/reopen", {"reason": "look again"}, 200).json()["status"] == "PENDING"
    project.validations_needed = 2
    project.save()
    sample.task.annotations.create(annotator=reviewer.user, answer={"label": "Positif"})
    assert refused(reviewer.post(f"{address}/approve"), 403, "own_work")


def test_only_reviewers_review(viewer, annotator, stranger, project):
    (sample,) = pending(project, 1)
    for caller in (viewer, annotator):
        assert refused(caller.post("samples/approve", {"ids": [sample.uid]}), 403, "not_allowed")
        assert refused(caller.post("samples/approve", {"filter": {"project": "reviews"}}), 403, "not_allowed")
        assert refused(caller.post(f"samples/{sample.uid}/approve"), 403, "not_allowed")
        assert refused(
            caller.ask("PATCH", f"samples/{sample.uid}", {"answer": {"label": "Négatif"}}), 403, "not_allowed"
        )
    assert refused(stranger.post("samples/approve", {"filter": {"project": "reviews"}}), 404, "not_found")
    assert stranger.post("samples/approve", {"ids": [sample.uid]}, 200).json()["causes"] == {"not_found": 1}
    assert refused(stranger.post(f"samples/{sample.uid}/approve"), 404, "not_found")
    assert states(sample) == ["PENDING"]


def test_a_correction_sets_it_back_and_needs_the_state_it_was_made_on(reviewer, project):
    sample = make_sample(project)
    etag = reviewer.get(f"samples/{sample.uid}")["ETag"]
    body = {"answer": {"label": "Négatif"}, "reason": "irony"}
    told = reviewer.patch(f"samples/{sample.uid}", body, if_match=etag).json()
    assert (told["label"], told["label_index"], told["status"]) == ("Négatif", 1, "PENDING")
    assert refused(reviewer.ask("PATCH", f"samples/{sample.uid}", body, if_match=etag), 412, "precondition_failed")
    assert refused(reviewer.ask("PATCH", f"samples/{sample.uid}", {"answer": {"label": "?"}}), 400, "invalid_answer")
