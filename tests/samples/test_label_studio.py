"""What Label Studio exports becomes tasks with their labels; what people disagreed on stays open."""

import io
import json

import pytest

from samples.errors import BadRow
from samples.intake import import_tasks
from tests.factories import make_project

pytestmark = pytest.mark.django_db


def annotation(*choices, **more):
    """As the documentation shows one. https://labelstud.io/guide/task_format"""
    result = {
        "id": "Dx_aB91ISN",
        "from_name": "sentiment",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": list(choices)},
    }
    return {"id": 1001, "result": [result], "was_cancelled": False, "ground_truth": False, "lead_time": 4.2, **more}


def task(text, *annotations, **data):
    return {
        "id": 12,
        "data": {"text": text, **data},
        "annotations": list(annotations),
        "predictions": [],
        "drafts": [],
        "meta": {},
        "inner_id": 1,
        "total_annotations": len(annotations),
        "cancelled_annotations": 0,
        "project": 5,
        "file_upload": "a.json",
    }


def imported(project, *tasks):
    return import_tasks(project, io.BytesIO(json.dumps(tasks).encode()), name="project-5.json", new_labels=False)


def test_a_choice_becomes_the_label_and_the_annotator_stays_in_the_metadata():
    project = make_project()
    imported(project, task("Bien", annotation("Positif", completed_by={"id": 3, "email": "a@example.org"}), star=4))
    made = project.tasks.get()
    assert (made.content, made.label_name, made.external_id) == ("Bien", "Positif", "12")
    assert made.metadata == {"meta": {}, "star": 4, "label_studio": {"id": 12, "annotators": ["a@example.org"]}}


def test_several_who_agree_make_a_verdict_and_several_who_do_not_leave_the_task_open():
    project = make_project()
    yes, no = annotation("Positif", completed_by=1), annotation("Négatif", completed_by=2)
    imported(project, task("Bien", yes, annotation("Positif", completed_by=2)) | {"id": 1}, task("Bof", yes, no))
    first, second = project.tasks.order_by("pk")
    assert (first.label_name, second.label_name, second.status) == ("Positif", None, "PENDING")
    assert second.metadata["label_studio"] == {"id": 12, "annotators": [1, 2], "answers": ["Positif", "Négatif"]}


def test_the_ground_truth_decides_and_what_was_cancelled_does_not_count():
    project = make_project()
    truth = annotation("Négatif", ground_truth=True)
    skipped = annotation("Positif", was_cancelled=True)
    imported(
        project,
        task("Bof", annotation("Positif"), truth),
        task("Hm", skipped) | {"id": 13},
        task("Quoi ?") | {"id": 14},
    )
    assert list(project.tasks.order_by("pk").values_list("label_name", flat=True)) == ["Négatif", None, None]


def test_several_choices_are_several_labels_and_too_many_for_a_type_that_takes_one():
    project = make_project(task_type="MULTI_LABEL", labels=["joie", "peur", "surprise"])
    imported(project, task("Ah !", annotation("peur", "joie"), annotation("joie", "peur")))
    assert project.tasks.get().label_names == ["joie", "peur"]
    with pytest.raises(BadRow, match="2 choices were made where the project takes one"):
        imported(make_project(), task("Ah !", annotation("Positif", "Négatif")))


def test_a_written_answer_is_taken_from_its_text_area():
    project = make_project(task_type="TEXT_GENERATION", labels=[])
    written = {"result": [{"from_name": "a", "to_name": "t", "type": "textarea", "value": {"text": ["Bonjour."]}}]}
    imported(project, task("Dis bonjour", written))
    assert project.tasks.get().label_name == "Bonjour."


def test_the_same_file_twice_changes_nothing():
    project = make_project()
    rows = [task("Bien", annotation("Positif"))]
    imported(project, *rows)
    again = imported(project, *rows)
    assert (again.created, again.updated, again.unchanged) == (0, 0, 1)


@pytest.mark.parametrize("data", [[], "text", None])
def test_what_is_no_task_is_refused(data):
    with pytest.raises(BadRow, match="data is an object and annotations a list"):
        imported(make_project(), {"data": data, "annotations": []})
