"""What is found out about texts once they are in: figures and near-duplicates, by jobs that resume and never double."""

import io
import json
import threading

import pytest
from django.urls import reverse

from labelhub.jobs.models import Job
from labelhub.jobs.worker import work
from samples import looking_over, quality
from samples.intake import import_tasks
from samples.models import ClusterMember, Task, TextStatistics
from tests.factories import make_project, make_superuser, make_task

pytestmark = pytest.mark.django_db


def bring_in(project, texts):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    return import_tasks(project, io.BytesIO(lines.encode()), name="texts.jsonl")


def waiting():
    return sorted(Job.objects.filter(state="QUEUED").values_list("kind", flat=True))


@pytest.mark.django_db(transaction=True)
def test_an_import_has_its_texts_measured_and_compared():
    project = make_project(locale="en")
    bring_in(project, ["The parcel arrived after nine days", "The parcel arrived after nine days!", "Quite another"])
    assert waiting() == ["samples.find_duplicates", "samples.measure_texts"]
    assert not TextStatistics.objects.exists() and not ClusterMember.objects.exists()
    work(threading.Event(), until_empty=True)
    assert set(Job.objects.values_list("state", flat=True)) == {"DONE"}
    figures = quality.measure("Quite another", "en")
    kept = TextStatistics.objects.get(task__content="Quite another")
    assert (kept.word_number, kept.character_number, kept.language) == (2, 13, figures.language)
    assert kept.special_char_ratio == round(1 / 13, 4)
    first, second, third = ClusterMember.objects.order_by("task").values_list("cluster", flat=True)
    assert first == second != third


def test_two_imports_before_a_worker_comes_are_looked_over_once():
    project, other = make_project(), make_project()
    bring_in(project, ["one"])
    bring_in(project, ["two"])
    assert len(waiting()) == 2
    bring_in(project, ["two"])  # which brings nothing new
    bring_in(other, ["three"])
    assert len(waiting()) == 4


def test_measuring_goes_on_where_it_was_stopped(monkeypatch):
    monkeypatch.setattr(looking_over, "BLOCK", 2)
    project = make_project()
    for number in range(5):
        make_task(project, f"text {number}")

    def stop(done, total):
        assert total == 5
        raise KeyboardInterrupt

    tasks = Task.objects.filter(project=project)
    with pytest.raises(KeyboardInterrupt):
        looking_over.measure_texts(tasks, told=stop)
    assert TextStatistics.objects.count() == 2
    assert looking_over.measure_texts(tasks) == 3
    assert looking_over.measure_texts(tasks) == 0


def test_pictures_have_no_figures():
    make_task(make_project(task_type="IMAGE_CLASSIFICATION"), "https://example.org/a.png")
    assert looking_over.measure_texts(Task.objects.all()) == 0


def test_a_text_that_changed_is_measured_anew():
    task = make_task(content="one")
    looking_over.measure_texts(Task.objects.all())
    looking_over.compare_texts(Task.objects.all())
    Task.objects.update(content="one two")
    looking_over.forget([task.pk])
    assert not ClusterMember.objects.exists()
    looking_over.measure_texts(Task.objects.all())
    assert TextStatistics.objects.get().word_number == 2


def test_the_admin_shows_figures_and_leads_to_near_duplicates(client):
    client.force_login(make_superuser())
    project = make_project(locale="en")
    twins = [make_task(project, f"The parcel arrived after nine days of waiting{end}") for end in (".", "!")]
    other = make_task(project, "Quite another thing altogether")
    looking_over.measure_texts(Task.objects.all())
    looking_over.compare_texts(Task.objects.all())
    page = client.get(reverse("admin:samples_task_change", args=[twins[1].pk])).content.decode()
    assert "8 words, 46 characters" in page and "1 other nearly the same" in page
    listed = reverse("admin:samples_task_changelist")
    assert f"{listed}?alike={twins[0].pk}" in page

    def shown(alike):
        return set(client.get(listed, {"alike": alike}).context["cl"].queryset.values_list("pk", flat=True))

    both = {task.pk for task in twins}
    assert shown("yes") == shown(str(twins[0].pk)) == both and shown("no") == {other.pk}
