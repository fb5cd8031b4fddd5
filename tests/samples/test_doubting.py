"""A doubt is looked at: the verdict is kept, the model's word is taken, or somebody else is to decide. All of it is noted."""

import pytest

from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples import doubting, review
from samples.doubting import Doubted, correct, keep, look_at_all, raise_doubts, reopen
from samples.errors import NotAllowed, WrongState
from samples.models import Doubt, Sample
from tests.factories import make_member, make_project, make_sample, make_superuser

pytestmark = pytest.mark.django_db


def doubted(sample, trust=0.1, says="Négatif"):
    return Doubted(sample.task_id, sample.label_name, {"label": says}, says, 0.9, trust)


def raised(*samples, model="m@cross", trusts=()):
    found = [doubted(sample, *trusts[place : place + 1]) for place, sample in enumerate(samples)]
    raise_doubts(samples[0].project, model=model, found=found)
    return [Doubt.objects.get(task=sample.task, model=model) for sample in samples]


def test_a_search_puts_its_doubts_in_order_the_surest_first():
    project = make_project()
    samples = [make_sample(project) for _ in range(3)]
    raised(*samples, trusts=(0.3, 0.05, 0.2))
    order = [samples[1].task_id, samples[2].task_id, samples[0].task_id]
    assert list(Doubt.objects.order_by("trust", "pk").values_list("task", flat=True)) == order
    assert list(Doubt.objects.order_by("pk").values_list("task", flat=True)) == order


def test_the_same_search_again_leaves_the_same_doubts_and_forgets_those_that_are_gone():
    project = make_project()
    first, second = make_sample(project), make_sample(project)
    raised(first, second)
    raise_doubts(project, model="m@cross", found=[doubted(second)])
    raise_doubts(project, model="m@cross", found=[doubted(second)])
    assert list(Doubt.objects.values_list("task", flat=True)) == [second.task_id]


def test_who_keeps_a_verdict_is_not_asked_about_it_again_by_any_model():
    sample, boss = make_sample(), make_superuser()
    (doubt,) = raised(sample)
    (other,) = raised(sample, model="m@3")
    keep(doubt, by=boss)
    other.refresh_from_db()
    assert (doubt.state, doubt.looked_at_by, other.state) == ("KEPT", boss, "KEPT")
    assert raise_doubts(sample.project, model="m@4", found=[doubted(sample)]) == 0
    assert raise_doubts(sample.project, model="m@4", found=[doubted(sample, says="Neutre")]) == 1
    sample.refresh_from_db()
    assert (sample.status, sample.label_name) == ("APPROVED", "Positif")
    entry = AuditEntry.objects.get(action="keep verdict")
    assert (entry.actor, entry.before, entry.after, entry.reason) == (boss, "Positif", "Négatif", "m@cross")


def test_the_model_s_word_waits_for_approval_like_any_correction():
    sample, boss = make_sample(), make_superuser()
    (doubt,) = raised(sample)
    correct(doubt, by=boss)
    sample.refresh_from_db()
    assert (sample.label_name, sample.status, sample.task.decided_by) == ("Négatif", Sample.Status.PENDING, boss)
    assert doubt.state == "CORRECTED"
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"revise", "take model’s label"}


def test_reopening_puts_the_sample_back_among_those_to_review():
    boss = make_superuser()
    project = make_project()
    approved, waiting = make_sample(project), make_sample(project, status="PENDING")
    for sample, doubt in zip((approved, waiting), raised(approved, waiting), strict=True):
        reopen(doubt, by=boss)
        sample.refresh_from_db()
        assert (sample.status, sample.label_name, doubt.state) == ("PENDING", "Positif", "REOPENED")


@pytest.mark.parametrize("step", [keep, correct, reopen])
def test_nobody_looks_twice_nor_at_a_verdict_that_is_another_by_now(step):
    boss = make_superuser()
    (doubt,) = raised(make_sample())
    keep(doubt, by=boss)
    with pytest.raises(WrongState, match="was looked at before: verdict kept"):
        step(doubt, by=boss)
    sample = make_sample()
    (doubt,) = raised(sample)
    review.revise(sample, by=boss, answer={"label": "Négatif"})
    assert not Doubt.objects.open().standing().filter(pk=doubt.pk).exists()
    with pytest.raises(WrongState, match="another by now: Négatif instead of Positif"):
        step(doubt, by=boss)


@pytest.mark.parametrize("step", [keep, correct, reopen])
def test_who_may_not_review_changes_nothing(step):
    sample = make_sample()
    (doubt,) = raised(sample)
    for person in (make_member(sample.project, Role.ANNOTATOR), make_member(make_project(), Role.MANAGER)):
        with pytest.raises(NotAllowed):
            step(doubt, by=person)
    assert Doubt.objects.get().is_open


def test_many_are_looked_at_at_once_and_the_others_counted_by_cause():
    project, boss = make_project(), make_superuser()
    samples = [make_sample(project) for _ in range(3)]
    doubts = raised(*samples)
    keep(doubts[0], by=boss)
    done, refused = looked = look_at_all(Doubt.objects.all(), doubting.correct, by=boss)
    assert (done, refused, looked.causes) == (2, 1, {"wrong_state": 1})


# The admin ------------------------------------------------------------------------------------------------------------


def test_a_reviewer_works_through_the_queue(client):
    project = make_project()
    samples = [make_sample(project, f"texte {n}") for n in range(3)]
    doubts = raised(*samples, trusts=(0.1, 0.2, 0.3))
    client.force_login(make_member(project, Role.REVIEWER))
    shown = client.get("/admin/samples/doubt/").content.decode()
    assert shown.index("texte 0") < shown.index("texte 1") < shown.index("texte 2")
    assert "90%" in shown
    page = client.get(f"/admin/samples/doubt/{doubts[0].pk}/change/").content.decode()
    assert "Keep “Positif”" in page and "Take “Négatif”" in page
    answer = client.post(f"/admin/doubt/{doubts[0].pk}/", {"do": "correct"})
    assert answer["Location"] == f"/admin/samples/doubt/{doubts[1].pk}/change/"
    client.post("/admin/samples/doubt/", {"action": "keep", "_selected_action": [doubts[1].pk, doubts[0].pk]})
    client.post(f"/admin/doubt/{doubts[2].pk}/", {"do": "reopen"})
    assert list(Doubt.objects.order_by("pk").values_list("state", flat=True)) == ["CORRECTED", "KEPT", "REOPENED"]
    assert client.post(f"/admin/doubt/{doubts[2].pk}/", {"do": "burn"}).status_code == 404
    assert client.get(f"/admin/doubt/{doubts[2].pk}/").status_code == 405


def test_annotators_and_strangers_find_no_doubts(client):
    sample = make_sample()
    (doubt,) = raised(sample)
    for person in (make_member(sample.project), make_member(make_project(), Role.MANAGER)):
        client.force_login(person)
        assert client.get(f"/admin/samples/doubt/{doubt.pk}/change/").status_code == 404
        assert client.post(f"/admin/doubt/{doubt.pk}/", {"do": "keep"}).status_code == 404
    assert Doubt.objects.get().is_open
