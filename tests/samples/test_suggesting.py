"""What a model guessed is shown to who answers, and fills in the form where it is sure enough; the answer is the person's."""

import pytest
from django.db import IntegrityError, transaction

from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples.errors import NotAllowed
from samples.models import Annotation, Prediction, Project
from samples.suggesting import fill_in, filled_in, leave_empty, suggestion_for
from tests.factories import make_member, make_project, make_superuser, make_task

pytestmark = pytest.mark.django_db


def guess(task, label="Positif", probability=0.9, model="m@1"):
    return Prediction.objects.create(
        task=task, model=model, label=task.project.labels.get(name=label), probability=probability
    )


def test_the_model_that_guessed_last_is_heard():
    task = make_task()
    assert suggestion_for(task) is None
    guess(task, "Négatif", 0.8, model="m@1")
    guess(task, "Positif", 0.7, model="m@2")
    found = suggestion_for(task)
    assert (found.model, found.guesses, found.fills_in) == ("m@2", [("Positif", 0.7)], False)
    assert filled_in(task, found) == {}


def test_several_labels_are_shown_the_likeliest_first():
    task = make_task(make_project(task_type="MULTI_LABEL"))
    guess(task, "Négatif", 0.6)
    guess(task, "Positif", 0.9)
    assert suggestion_for(task).guesses == [("Positif", 0.9), ("Négatif", 0.6)]


def test_a_project_may_keep_its_annotators_from_seeing_guesses():
    task = make_task(make_project(shows_suggestions=False))
    guess(task)
    assert suggestion_for(task) is None


def test_a_guess_that_is_none_of_the_item_s_own_choices_is_not_shown():
    task = make_task(options=["Un", "Deux"])
    guess(task)
    assert suggestion_for(task) is None


def test_from_the_threshold_on_the_model_chosen_for_it_fills_in_the_form():
    project, boss = make_project(), make_superuser()
    fill_in(project, model="m@1", threshold=0.85, by=boss)
    sure, torn, other = (make_task(project) for _ in range(3))
    guess(sure, probability=0.85)
    guess(torn, probability=0.84)
    guess(other, probability=0.99, model="m@2")
    assert filled_in(sure, suggestion_for(sure)) == {"label": "Positif"}
    assert suggestion_for(torn).fills_in is suggestion_for(other).fills_in is False
    guess(sure, "Négatif", 0.99, model="m@2")
    assert filled_in(sure, suggestion_for(sure)) == {"label": "Positif"}, "another model does not come between"


def test_a_guess_without_a_likelihood_fills_in_nothing():
    project = make_project()
    fill_in(project, model="m@1", threshold=0.0, by=make_superuser())
    task = make_task(project)
    guess(task, probability=None)
    assert (suggestion_for(task).fills_in, suggestion_for(task).guesses) == (False, [("Positif", None)])


def test_filling_in_is_noted_and_taken_back():
    project, boss = make_project(), make_superuser()
    fill_in(project, model="m@1", threshold=0.85, by=boss, reason="0.95 asked for")
    assert leave_empty(project, by=boss) and not leave_empty(project, by=boss)
    entries = AuditEntry.objects.filter(subject="project", action="fill in").order_by("pk")
    assert [(entry.before, entry.after, entry.reason) for entry in entries] == [
        ("nothing", "m@1 from 0.85", "0.95 asked for"),
        ("m@1 from 0.85", "nothing", ""),
    ]
    for role in (Role.REVIEWER, Role.ANNOTATOR):
        with pytest.raises(NotAllowed):
            fill_in(project, model="m@1", threshold=0.85, by=make_member(project, role))


def test_the_database_knows_no_threshold_without_a_model():
    project = make_project()
    for fields in ({"prefill_model": "m@1"}, {"prefill_threshold": 0.5}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Project.objects.filter(pk=project.pk).update(**fields)


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_shows_how_likely_the_model_takes_each_label(client):
    project = make_project(validations_needed=1)
    task = make_task(project)
    guess(task, probability=0.93)
    client.force_login(make_member(project))
    shown = client.get(f"/admin/annotate/{project.name}/")
    assert [(choice.name, choice.chance, choice.chosen) for choice in shown.context["choices"]] == [
        ("Positif", "93%", False),
        ("Négatif", "", False),
    ]
    assert "what m@1 guesses" in shown.content.decode()


def test_a_form_that_was_filled_in_leaves_a_note_on_the_answer(client):
    project = make_project(validations_needed=1)
    fill_in(project, model="m@1", threshold=0.85, by=make_superuser())
    tasks = [make_task(project) for _ in range(3)]
    for task in tasks:
        guess(task, probability=0.93)
    client.force_login(make_member(project))
    page = f"/admin/annotate/{project.name}/"
    shown = client.get(page)
    assert [choice.chosen for choice in shown.context["choices"]] == [True, False]
    assert 'name="prefilled_by" value="m@1"' in shown.content.decode()
    assert not Annotation.objects.exists(), "a guess is no answer"
    client.post(page, {"task": tasks[0].pk, "choice": "1", "prefilled_by": "m@1"})
    client.post(page, {"task": tasks[1].pk, "choice": "0"})
    client.post(page, {"task": tasks[2].pk, "choice": "0", "prefilled_by": "a stranger"})
    given = Annotation.objects.order_by("task").values_list("answer", "prefilled_by")
    assert list(given) == [({"label": "Négatif"}, "m@1"), ({"label": "Positif"}, ""), ({"label": "Positif"}, "")]


def test_one_s_own_answer_is_shown_as_it_was_given(client):
    project = make_project(validations_needed=2)
    fill_in(project, model="m@1", threshold=0.85, by=make_superuser())
    task = make_task(project)
    guess(task, probability=0.93)
    client.force_login(make_member(project))
    page = f"/admin/annotate/{project.name}/"
    client.post(page, {"task": task.pk, "choice": "1"})
    shown = client.get(f"{page}?task={task.pk}")
    assert [choice.chosen for choice in shown.context["choices"]] == [False, True]
    assert shown.context["suggestion"] is None
