"""Projects, labels and imports over the API."""

import io

import pytest

from labelhub.jobs.models import Job
from labelhub.jobs.worker import bring_to_end
from samples.models import Annotation, Label, Project, Sample, Source, Task
from tests.factories import make_annotation, make_project, make_sample, make_task

from .conftest import refused


def test_a_project_is_made_with_its_labels_and_read_back(boss):
    body = {"name": "mail", "type": "TEXT_CLASSIFICATION", "labels": ["Spam", "Ham"], "validations_needed": 2}
    answer = boss.post("projects", body, 201)
    told = answer.json()
    assert answer["Location"] == "/api/v1/projects/mail"
    assert (told["name"], told["type"], told["labels"], told["role"]) == (
        "mail",
        "TEXT_CLASSIFICATION",
        ["Spam", "Ham"],
        "manager",
    )
    assert boss.get("projects/mail").json() == told
    assert [row["name"] for row in boss.all("projects?type=TEXT_CLASSIFICATION")] == ["mail"]
    assert refused(boss.post("projects", body), 409, "name_taken")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "x" * 1025}, "name"),
        ({"name": 5}, "name"),
        ({"type": "JOKE"}, "type"),
        ({"validations_needed": 0}, "validations_needed"),
        ({"validations_needed": "3"}, "validations_needed"),
        ({"consensus_threshold": 1.5}, "consensus_threshold"),
        ({"lables": []}, "lables"),
        ({"prompts": []}, "prompts"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_and_nothing_is_made(boss, change, field):
    answer = boss.post("projects", {"name": "mail", "type": "TEXT_CLASSIFICATION"} | change)
    assert refused(answer, 400, "invalid") and field in answer.json()["details"]
    assert not Project.objects.exists()


def test_a_name_that_paths_cannot_carry_is_refused_by_the_domain(boss):
    answer = boss.post("projects", {"name": "a b", "type": "TEXT_CLASSIFICATION"})
    assert refused(answer, 400, "invalid_value") and answer.json()["details"] == {"field": "name"}


def test_people_without_the_power_are_refused_and_strangers_find_nothing(viewer, stranger, project):
    assert refused(viewer.ask("PATCH", "projects/reviews", {"title": "x"}), 403, "not_allowed")
    assert refused(viewer.ask("DELETE", "projects/reviews"), 403, "not_allowed")
    for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None)):
        assert refused(stranger.ask(method, "projects/reviews", body), 404, "not_found")
    assert [row["name"] for row in stranger.all("projects")] == ["elsewhere"]
    project.refresh_from_db()
    assert project.title == ""


def test_a_change_needs_the_state_it_was_made_on(manager):
    first = manager.get("projects/reviews")
    assert manager.get("projects/reviews", 304, if_none_match=first["ETag"]).content == b""
    changed = manager.patch("projects/reviews", {"title": "Avis"}, if_match=first["ETag"])
    assert (changed.json()["title"], changed["ETag"] != first["ETag"]) == ("Avis", True)
    assert changed["ETag"] == manager.get("projects/reviews")["ETag"]
    late = manager.ask("PATCH", "projects/reviews", {"title": "Other"}, if_match=first["ETag"])
    assert refused(late, 412, "precondition_failed")
    assert manager.get("projects/reviews").json()["title"] == "Avis"
    manager.patch("projects/reviews", {"title": "Compressed"}, if_match=f"W/{changed['ETag']}")


def test_a_project_with_tasks_is_deleted_only_with_its_contents(manager, project):
    make_task(project)
    assert refused(manager.ask("DELETE", "projects/reviews"), 409, "still_needed")
    manager.delete("projects/reviews?contents=true")
    assert not Project.objects.filter(name="reviews").exists()


# Labels ---------------------------------------------------------------------------------------------------------------


def test_labels_are_listed_appended_renamed_moved_and_deleted(manager, viewer):
    assert [row["name"] for row in viewer.all("labels?project=reviews")] == ["Positif", "Négatif"]
    made = manager.post("labels", {"project": "reviews", "names": ["Négatif", "Neutre"]}, 201).json()
    assert [(row["name"], row["position"]) for row in made] == [("Neutre", 2)]
    address = f"labels/{made[0]['id']}"
    told = manager.patch(address, {"name": "Mixte", "colour": "#102030", "position": 0}).json()
    assert (told["name"], told["colour"], told["position"]) == ("Mixte", "#102030", 0)
    assert [row["name"] for row in viewer.get("labels?project=reviews").json()["results"]] == [
        "Positif",
        "Négatif",
        "Mixte",
    ], "in the order of creation"
    manager.delete(address)
    assert Label.objects.count() == 2


def test_a_label_in_use_stands_still_and_nothing_of_the_change_stays(manager, project):
    label = make_annotation(make_task(project)).label
    answer = manager.ask("PATCH", f"labels/{label.pk}", {"colour": "#102030", "name": "Bon"})
    assert refused(answer, 409, "label_in_use")
    assert refused(manager.ask("DELETE", f"labels/{label.pk}"), 409, "label_in_use")
    answer = manager.ask("PATCH", f"labels/{label.pk}", {"colour": "#102030", "position": 1})
    assert refused(answer, 409, "label_in_use")
    label.refresh_from_db()
    assert (label.name, label.colour) == ("Positif", "#1A73E8")


@pytest.mark.parametrize("names", [[], ["a", ""], [" a"], ["x" * 257], [5], ["a\u0007"]], ids=str)
def test_names_that_are_no_labels_add_nothing(manager, names):
    answer = manager.post("labels", {"project": "reviews", "names": ["Bon", *names] if names else names})
    assert answer.status_code == 400
    assert Label.objects.count() == 2


def test_only_managers_change_labels(reviewer, stranger):
    label = Label.objects.get(project__name="reviews", name="Positif")
    assert refused(reviewer.post("labels", {"project": "reviews", "names": ["X"]}), 403, "not_allowed")
    assert refused(reviewer.ask("PATCH", f"labels/{label.pk}", {"colour": "#000000"}), 403, "not_allowed")
    assert refused(stranger.post("labels", {"project": "reviews", "names": ["X"]}), 404, "not_found")
    assert refused(stranger.ask("PATCH", f"labels/{label.pk}", {"colour": "#000000"}), 404, "not_found")


# Imports --------------------------------------------------------------------------------------------------------------


def upload(caller, name, content, **fields):
    file = io.BytesIO(content.encode())
    file.name = name
    answer = caller.client.post("/api/v1/projects/reviews/imports", {"file": file, **fields})
    from .conftest import check

    check(answer)
    return answer


CSV = "avis,verdict\nTrès bien,Positif\nNul,Négatif\n"
COLUMNS = '{"content": "avis", "label": "verdict"}'


def test_a_file_is_imported_by_a_job_that_tells_what_became_of_it(manager):
    answer = upload(manager, "avis.csv", CSV, columns=COLUMNS, source="shop")
    assert answer.status_code == 202 and answer["Location"] == f"/api/v1/jobs/{answer.json()['id']}"
    assert (answer.json()["kind"], answer.json()["state"]) == ("samples.import_file", "QUEUED")
    bring_to_end(Job.objects.get())
    told = manager.get(answer["Location"].removeprefix("/api/v1/")).json()
    assert (told["state"], told["result"]["created"], told["result"]["errors"]) == ("DONE", 2, [])
    assert Sample.objects.pending().count() == 2
    assert Source.objects.get(name="shop").tasks.count() == 2


def test_rows_in_the_body_and_labels_as_the_caller_s_answers(manager):
    rows = [{"text": "Très bien", "label": "Positif"}, {"text": "Bof"}]
    manager.post("projects/reviews/imports", {"rows": rows, "labels_as": "annotations"}, 202)
    bring_to_end(Job.objects.get())
    assert Task.objects.count() == 2
    assert Annotation.objects.get().annotator == manager.user


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid"),
        ({"rows": []}, "invalid"),
        ({"rows": ["x"]}, "invalid"),
        ({"rows": [{"text": "a"}], "source": "no spaces"}, "invalid"),
        ({"rows": [{"text": "a"}], "columns": {"colour": "x"}}, "invalid"),
        ({"rows": [{"text": "a"}], "labels_as": "facts"}, "invalid"),
        ({"rows": [{"text": "a"}], "labels_as": "annotations", "annotator": "nobody"}, "invalid"),
        ({"rows": [{"text": "a"}], "annotator": "nobody"}, "invalid"),
    ],
    ids=str,
)
def test_an_import_that_cannot_be_is_refused_before_there_is_a_job(manager, body, code):
    assert refused(manager.post("projects/reviews/imports", body), 400, code)
    assert not Job.objects.exists()


def test_files_nobody_can_read_are_refused_at_once(manager, viewer, stranger):
    assert refused(upload(manager, "a.exe", "MZ"), 400, "bad_file")
    assert refused(upload(manager, "a.csv", "\0\0\0"), 400, "bad_file")
    assert refused(upload(manager, "a.csv", CSV, columns="{"), 400, "invalid")
    assert refused(upload(viewer, "a.csv", CSV), 403, "not_allowed")
    assert refused(upload(stranger, "a.csv", CSV), 404, "not_found")
    assert not Job.objects.exists()


def test_an_import_sent_twice_under_one_key_is_one_job(manager):
    first = upload_with_key(manager, CSV)
    second = upload_with_key(manager, CSV)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json() and first["Location"] == second["Location"]
    assert Job.objects.count() == 1
    assert refused(upload_with_key(manager, CSV + "Autre,Positif\n"), 422, "idempotency_key_reused")


def upload_with_key(caller, content):
    file = io.BytesIO(content.encode())
    file.name = "avis.csv"
    body = {"file": file, "columns": COLUMNS}
    return caller.client.post("/api/v1/projects/reviews/imports", body, headers={"idempotency-key": "a1"})


def test_a_project_list_shows_the_caller_s_own_role(viewer, project):
    make_project("hidden")
    make_sample(project)
    assert [(row["name"], row["role"]) for row in viewer.all("projects")] == [("reviews", "viewer")]
