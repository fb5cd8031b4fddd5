"""Looking for label errors: each verdict is judged by a model that has not learnt from it, and the wrong ones come first."""

import random
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from exports import doubting
from exports.doubting import Settled, dealt, lessons_of, look
from exports.errors import Unsuitable
from labelhub.accounts.roles import Role
from labelhub.jobs import worker
from labelhub.jobs.models import Job
from samples.errors import NotAllowed
from samples.models import Doubt, Sample, Task
from tests.factories import make_member, make_project, make_superuser

from .test_predicting import trained
from .training import batch_of, opinions, project_of, sib, uci

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def patience(settings):
    settings.JOB_LEASE_SECONDS = 600


def with_errors(rows, share, *, seed=0):
    """`rows` with so many of their labels turned into others, and the texts that it happened to."""
    dice, rows = random.Random(seed), list(rows)
    labels = sorted({label for _, label in rows})
    turned = set(dice.sample(range(len(rows)), round(share * len(rows))))
    return [
        (text, dice.choice([other for other in labels if other != label]) if place in turned else label)
        for place, (text, label) in enumerate(rows)
    ], {rows[place][0] for place in turned}


def found_in(project, **asked):
    job = worker.bring_to_end(look(project, by=None, **asked))
    assert job.state == Job.State.DONE, job.error
    return job.result


def test_turned_labels_are_doubted_and_come_first():
    rows, turned = with_errors(opinions(200), 0.08)
    project = project_of(rows)
    told = found_in(project)
    assert (told["model"], told["judged"], told["learnt_from"]) == (f"{project.name}@cross", 200, 0)
    doubts = list(Doubt.objects.order_by("trust", "pk").select_related("task"))
    assert told["doubts"] == len(doubts)
    assert {doubt.task.content for doubt in doubts[: len(turned)]} == turned
    assert all(doubt.verdict != doubt.suggestion and doubt.trust < doubt.confidence for doubt in doubts)


def test_the_same_search_again_finds_the_same_and_changes_no_verdict():
    rows, _ = with_errors(opinions(80), 0.1)
    project = project_of(rows)
    verdicts = list(Sample.objects.order_by("pk").values_list("label_name", "status", "updated_at"))
    seen = []
    for _ in range(2):
        found_in(project)
        seen.append(list(Doubt.objects.order_by("trust", "pk").values_list("task", "suggestion", "trust")))
    assert seen[0] == seen[1] and seen[0]
    assert list(Sample.objects.order_by("pk").values_list("label_name", "status", "updated_at")) == verdicts


def test_each_is_in_one_fold_and_each_label_alike_in_all():
    rows = [Settled(n, f"uid{n}", "", "ab"[n % 4 == 0], ("ab"[n % 4 == 0],)) for n in range(100)]
    folds = dealt(rows)
    assert sorted(row.pk for fold in folds for row in fold) == list(range(100))
    assert [sum(row.verdict == "b" for row in fold) for fold in folds] == [5] * 5
    assert [row.pk for row in folds[0]] != sorted(row.pk for row in folds[0]), "not in the order they came in"


def test_a_version_judges_only_what_it_has_not_learnt_from():
    rows, turned = with_errors(opinions(200), 0.08)
    batch = batch_of(rows, ratios="0.5/0/0.5")
    version = trained(batch)
    lessons = lessons_of(version)
    assert lessons == set(batch.items.filter(split=1).values_list("sample__task", flat=True))
    told = found_in(batch.project, version=version)
    assert (told["judged"], told["learnt_from"]) == (100, 100)
    doubts = Doubt.objects.select_related("task")
    assert doubts and not lessons & {doubt.task_id for doubt in doubts}
    assert {doubt.model for doubt in doubts} == {str(version)}
    unseen = set(Task.objects.exclude(pk__in=lessons).values_list("content", flat=True))
    assert {doubt.task.content for doubt in doubts} >= turned & unseen


def test_several_labels_are_judged_as_one_answer():
    rows = [
        (f"{n}: {words}", labels)
        for n in range(60)
        for words, labels in [
            ("about a book, lovely", ["Book", "Good"]) if n % 2 else ("about a train, awful", ["Bad"])
        ]
    ]
    rows[7] = (rows[7][0], ["Bad", "Book"])
    project = project_of(rows, task_type="MULTI_LABEL")
    found_in(project)
    first = Doubt.objects.order_by("trust", "pk").select_related("task").first()
    assert first.task.content.startswith("7: ")
    assert set(first.answer["labels"]) == {"Book", "Good"}


def test_a_label_that_was_given_once_or_twice_is_judged_by_nobody():
    project = project_of([*opinions(40), ("quite odd", "Odd"), ("odd as well", "Odd")])
    assert (found_in(project)["judged"], found_in(project)["too_rare"]) == (40, 2)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(Unsuitable, match="20 to 200,000 settled tasks"):
        look(project_of(opinions(10)), by=None)
    with pytest.raises(Unsuitable, match="free text"):
        look(make_project(task_type="TEXT_GENERATION", labels=()), by=None)
    version = trained(batch_of(opinions()))
    with pytest.raises(Unsuitable, match="another project"):
        look(project_of(opinions(40)), by=None, version=version)


def test_reviewers_look_and_annotators_do_not():
    project = project_of(opinions(40))
    assert look(project, by=make_member(project, Role.REVIEWER))
    with pytest.raises(NotAllowed):
        look(project, by=make_member(project, Role.ANNOTATOR))


def test_the_command_lists_the_surest():
    rows, turned = with_errors(opinions(80), 0.1)
    project, out = project_of(rows), StringIO()
    call_command("find_label_errors", project.name, "--show", "3", stdout=out)
    printed = out.getvalue().splitlines()
    assert "80 verdicts judged" in printed[0]
    assert len(printed) == 4 and all(any(text in line for text in turned) for line in printed[1:])
    with pytest.raises(CommandError, match="no project 'nowhere'"):
        call_command("find_label_errors", "nowhere")


def test_the_project_s_page_leads_there(client):
    project = project_of(opinions(40))
    client.force_login(make_member(project, Role.REVIEWER))
    assert "40 settled tasks" in client.get(f"/admin/label-errors/{project.name}/").content.decode()
    answer = client.post(f"/admin/label-errors/{project.name}/", {"version": ""})
    job = Job.objects.get(kind=doubting.KIND)
    assert answer["Location"] == f"/admin/jobs/job/{job.pk}/change/"
    client.force_login(make_member(project, Role.ANNOTATOR))
    assert client.get(f"/admin/label-errors/{project.name}/").status_code == 404


@pytest.mark.parametrize(
    ("rows", "precision", "recall"),
    [
        (uci, 0.40, 0.70),
        (
            lambda folder: [row for part in ("train", "dev", "test") for row in sib(folder, "eng_Latn", part)],
            0.45,
            0.85,
        ),
        (
            lambda folder: [row for part in ("train", "dev", "test") for row in sib(folder, "zho_Hans", part)],
            0.45,
            0.85,
        ),
    ],
    ids=["uci", "sib en", "sib zh"],
)
def test_of_real_texts_with_one_label_in_twelve_turned_most_are_found(real_data, rows, precision, recall):
    """What is doubted holds most of them; of the first as many as there are errors, far more than one in twelve is one."""
    given, turned = with_errors(dict(rows(real_data)).items(), 0.08)
    project = project_of(given, by=make_superuser())
    found_in(project)
    doubts = list(Doubt.objects.order_by("trust", "pk").values_list("task__content", flat=True))
    assert len(turned & set(doubts)) / len(turned) >= recall
    first = doubts[: len(turned)]
    assert len(turned & set(first)) / len(first) >= precision
