"""A project begins; its labels keep their order."""

import pytest
from django.db import connection

from labelhub.accounts.roles import Role
from samples.errors import InvalidValue
from samples.models import Project
from samples.projects import add_labels, create_project
from tests.factories import make_project, make_user
from tests.together import at_once


@pytest.mark.django_db
def test_a_project_begins_with_its_labels_and_a_manager():
    user = make_user()
    project = create_project(
        "avis", task_type="SENTIMENT_ANALYSIS", labels=["Positif", "Négatif"], by=user, locale="fr", title="Avis"
    )
    assert list(project.labels.values_list("name", "position")) == [("Positif", 0), ("Négatif", 1)]
    assert project.role_of(user) == Role.MANAGER and project.created_by == user
    assert (project.locale, project.title) == ("fr", "Avis")


@pytest.mark.django_db
def test_a_project_of_the_hub_itself_has_no_members():
    assert create_project("avis", task_type="TEXT_GENERATION").memberships.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a b"}, "project name 'a b': letters, digits"),
        ({"name": ""}, "project name ''"),
        ({"task_type": "GUESSING"}, "project task_type 'GUESSING'"),
        ({"validations_needed": 0}, "project validations_needed 0"),
        ({"labels": [" "]}, "cannot be a label"),
        ({"labels": ["a\nb"]}, "cannot be a label"),
        ({"labels": ["x" * 257]}, "1 to 256 characters"),
        ({"task_type": "TEXT_GENERATION", "labels": ["a"]}, "a project of type TEXT_GENERATION has no labels"),
    ],
)
def test_what_cannot_be_is_named_and_leaves_nothing(fields, words):
    with pytest.raises(InvalidValue, match=words):
        create_project(**{"name": "avis", "task_type": "SENTIMENT_ANALYSIS", **fields})
    assert not Project.objects.exists()


@pytest.mark.django_db
def test_labels_are_appended_once_in_their_order():
    project = make_project(labels=["b", "a"])
    assert [label.name for label in add_labels(project, ["c", "a", "d", "c"])] == ["c", "d"]
    assert add_labels(project, ["a", "d"]) == []
    assert list(project.labels.values_list("name", "position")) == [("b", 0), ("a", 1), ("c", 2), ("d", 3)]


@pytest.mark.django_db(transaction=True)
def test_two_who_append_at_once_get_different_places():
    project = make_project(labels=["first"])
    if connection.vendor == "sqlite" and "mode=memory" in str(connection.settings_dict["NAME"]):
        pytest.skip("SQLite's memory database is one connection: nobody can come at the same moment")
    at_once(4, lambda number: add_labels(project, [f"label {number}", "shared"]))
    assert list(project.labels.values_list("position", flat=True)) == [0, 1, 2, 3, 4, 5]
