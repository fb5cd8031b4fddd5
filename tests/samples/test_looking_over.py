"""What is found out about texts once they are in: figures and near-duplicates, by jobs that resume and never double."""

import io
import json
import threading

import pytest
from django.urls import reverse

from labelhub.jobs.models import Job
from labelhub.jobs.worker import work
from samples import looking_over, perplexity, quality
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


# Perplexity -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """A locale of ten texts has a model."""
    monkeypatch.setattr(perplexity, "FEWEST", 10)


def add(project, numbers, locale="en"):
    return [make_task(project, f"The parcel number {number} came late", locale=locale) for number in numbers]


def look_over_now(project):
    looking_over.measure_texts(Task.objects.filter(project=project))
    return looking_over.tell_perplexities(project.pk)


def kept(**of):
    return {
        row.task_id: (row.bits_per_byte, row.perplexity, row.told_among) for row in TextStatistics.objects.filter(**of)
    }


def test_a_project_with_few_texts_has_no_perplexity(few):
    project = make_project()
    add(project, range(9))
    assert look_over_now(project) == 0
    assert set(kept().values()) == {(None, None, None)}


def test_a_text_is_told_by_a_model_of_the_other_folds(few):
    project = make_project()
    tasks = add(project, range(10))
    assert look_over_now(project) == 10
    folds = [[] for _ in range(perplexity.FOLDS)]
    for task in tasks:
        folds[perplexity.fold(task.uid)].append(task.content)
    for task in tasks:
        model = perplexity.Model(
            other.content for other in tasks if perplexity.fold(other.uid) != perplexity.fold(task.uid)
        )
        bits, per_character, among = kept()[task.pk]
        expected = model.surprise(task.content)
        assert (bits, per_character) == pytest.approx(tuple(expected)) and among == 10


def test_new_texts_are_told_by_the_same_models_until_there_are_half_as_many_again(few):
    project = make_project()
    add(project, range(10))
    look_over_now(project)
    before = kept()
    assert look_over_now(project) == 0
    add(project, range(10, 14))
    assert look_over_now(project) == 4
    assert before.items() <= kept().items() and len(kept()) == 14
    add(project, [14])
    assert look_over_now(project) == 15
    assert {among for _, _, among in kept().values()} == {15}
    assert look_over_now(project) == 0


def test_a_text_that_comes_later_is_told_as_if_it_had_been_there_when_the_others_were(few):
    project = make_project()
    add(project, range(12))
    look_over_now(project)
    before = kept()
    last = max(before)
    looking_over.forget([last])
    assert look_over_now(project) == 1
    assert kept() == before


def test_each_locale_has_models_of_its_own(few):
    project = make_project()
    add(project, range(10))
    look_over_now(project)
    before = kept()
    add(project, range(20, 29), locale="fr")
    assert look_over_now(project) == 0
    add(project, [29], locale="fr")
    assert look_over_now(project) == 10
    assert kept(task__locale="en") == before


def test_another_project_is_left_alone(few):
    project, other = make_project(), make_project()
    add(project, range(10))
    add(other, range(10))
    looking_over.measure_texts(Task.objects.filter(project=other))
    look_over_now(project)
    assert set(kept(task__project=other).values()) == {(None, None, None)}


def test_telling_goes_on_where_it_was_stopped(few, monkeypatch):
    monkeypatch.setattr(looking_over, "BLOCK", 2)
    project = make_project()
    add(project, range(12))
    looking_over.measure_texts(Task.objects.filter(project=project))

    def stop(done, total):
        assert total == 12
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looking_over.tell_perplexities(project.pk, told=stop)
    told = TextStatistics.objects.exclude(told_among=None).count()
    assert 1 <= told <= 2
    assert looking_over.tell_perplexities(project.pk) == 12 - told


@pytest.mark.django_db(transaction=True)
def test_after_an_import_the_odd_text_is_the_most_surprising_and_the_admin_finds_it(few, client):
    project = make_project(locale="en")
    bring_in(project, [f"The parcel number {number} came late" for number in range(30)] + ["asdf;lkj qwpoeiru zxmcnv"])
    work(threading.Event(), until_empty=True)
    assert Job.objects.get(kind=looking_over.MEASURE).result == {"measured": 31, "perplexities": 31}
    first, second = TextStatistics.objects.order_by("-bits_per_byte")[:2]
    assert first.task.content.startswith("asdf")
    client.force_login(make_superuser())
    page = client.get(reverse("admin:samples_task_change", args=[first.task_id])).content.decode()
    assert f"surprise {first.bits_per_byte:.2f} bits a byte (perplexity {first.perplexity:,.0f})" in page
    between = (first.bits_per_byte + second.bits_per_byte) / 2
    listed = client.get(reverse("admin:samples_task_changelist"), {"statistics__bits_per_byte_from": f"{between}"})
    assert [task.pk for task in listed.context["cl"].queryset] == [first.task_id]
