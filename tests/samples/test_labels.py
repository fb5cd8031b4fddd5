"""The list of labels can change where nothing stands on it."""

import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError

from labelhub.accounts.roles import Role
from samples.errors import InvalidValue, LabelInUse, NameTaken, NotAllowed
from samples.labels import delete_label, move_label, rename_label
from samples.models import Annotation, AnnotationLabel, Prediction, TaskLabel
from tests.factories import (
    make_annotation,
    make_member,
    make_project,
    make_sample,
    make_settled_task,
    make_superuser,
    make_task,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project(labels=["a", "b", "c", "d"])


def names(project):
    labels = list(project.labels.order_by("position"))
    assert [label.position for label in labels] == list(range(len(labels)))
    return [label.name for label in labels]


def by_an_answer(label):
    make_annotation(make_task(label.project), label=label.name)


def by_one_of_several_answers(label):
    annotation = Annotation.objects.create(task=make_task(label.project), annotator=make_user(), answer={})
    AnnotationLabel.objects.create(annotation=annotation, label=label)


def by_a_verdict(label):
    make_settled_task(label.project, label=label.name)


def by_one_of_several_verdicts(label):
    TaskLabel.objects.create(task=make_task(label.project), label=label)


def by_a_sample(label):
    make_sample(label.project, label=label.name)


def by_a_prediction(label):
    Prediction.objects.create(task=make_task(label.project), model="intents@1", label=label, probability=0.5)


USES = [
    by_an_answer,
    by_one_of_several_answers,
    by_a_verdict,
    by_one_of_several_verdicts,
    by_a_sample,
    by_a_prediction,
]


@pytest.mark.parametrize("use", USES)
def test_a_label_in_use_can_be_neither_renamed_nor_moved_nor_deleted(project, use):
    label, by = project.labels.get(name="b"), make_superuser()
    assert not label.is_in_use
    use(label)
    for change in (
        lambda: rename_label(label, name="z", by=by),
        lambda: move_label(label, to=3, by=by),
        lambda: delete_label(label, by=by),
    ):
        with pytest.raises(LabelInUse, match="in use") as refused:
            change()
        assert refused.value.details["labels"] == ["b"]
    with pytest.raises(ProtectedError):
        label.delete()
    assert names(project) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("change", [{"name": "z"}, {"position": 9}])
def test_a_form_cannot_rename_or_move_a_label_in_use_either(project, change):
    label = project.labels.get(name="b")
    for field, value in change.items():
        setattr(label, field, value)
    label.full_clean()
    by_an_answer(project.labels.get(name="b"))
    with pytest.raises(ValidationError, match="in use"):
        label.full_clean()


def test_the_colour_of_a_label_in_use_may_change(project):
    label = project.labels.get(name="b")
    by_an_answer(label)
    label.colour = "#00FF00"
    label.full_clean()


def test_an_unused_label_is_renamed(project):
    assert rename_label(project.labels.get(name="b"), name="z", by=make_superuser()).name == "z"
    assert names(project) == ["a", "z", "c", "d"]


def test_a_new_name_must_be_one_that_no_other_label_has(project):
    label, by = project.labels.get(name="b"), make_superuser()
    with pytest.raises(NameTaken, match="“a” already"):
        rename_label(label, name="a", by=by)
    with pytest.raises(InvalidValue):
        rename_label(label, name=" ", by=by)
    assert names(project) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("name", "to", "order"),
    [("a", 2, "bcad"), ("d", 0, "dabc"), ("b", 1, "abcd"), ("b", 99, "acdb"), ("c", -1, "cabd")],
)
def test_a_label_moves_and_the_others_close_ranks(project, name, to, order):
    move_label(project.labels.get(name=name), to=to, by=make_superuser())
    assert names(project) == list(order)


def test_a_move_past_a_label_in_use_is_refused(project):
    by_an_answer(project.labels.get(name="c"))
    with pytest.raises(LabelInUse, match="c"):
        move_label(project.labels.get(name="d"), to=0, by=make_superuser())
    move_label(project.labels.get(name="b"), to=0, by=make_superuser())
    assert names(project) == ["b", "a", "c", "d"]


def test_a_deleted_label_leaves_no_gap(project):
    delete_label(project.labels.get(name="b"), by=make_superuser())
    assert names(project) == ["a", "c", "d"]


def test_a_label_before_one_in_use_cannot_be_deleted_for_that_would_move(project):
    by_an_answer(project.labels.get(name="c"))
    with pytest.raises(LabelInUse, match="c"):
        delete_label(project.labels.get(name="a"), by=make_superuser())
    delete_label(project.labels.get(name="d"), by=make_superuser())
    assert names(project) == ["a", "b", "c"]


def test_only_a_manager_changes_labels(project):
    label = project.labels.get(name="b")
    with pytest.raises(NotAllowed):
        rename_label(label, name="z", by=make_member(project, Role.REVIEWER))
    assert rename_label(label, name="z", by=make_member(project, Role.MANAGER)).name == "z"
