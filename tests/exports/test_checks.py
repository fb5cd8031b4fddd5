"""What a batch is refused for before a byte is written, and what it is warned of."""

import threading

import pytest

from exports import batching, formats
from exports.errors import NoneFits, Refusable
from exports.figures import BLANKS, figures_of_batch, figures_of_rows
from exports.formats.checks import AtLeast, Figures, NoEmptyPart, NothingBlank, Part, flaws_of
from exports.models import Batch
from labelhub.accounts.roles import Role
from labelhub.jobs import queue, worker
from labelhub.jobs.models import Job
from samples.models import Sample
from tests.factories import make_member, make_project, make_sample, make_samples

SPLIT = "0.8/0.1/0.1"


def told(*checks, **figures):
    return [(flaw.said, flaw.is_fatal) for flaw in flaws_of(checks, Figures(**figures))]


def part(rows=20, **more):
    return Part(rows, labels={"a": rows // 2, "b": rows - rows // 2}, **more)


# The rules, on plain figures -------------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_good_file():
    assert (
        told(AtLeast(10, "X"), NothingBlank("X"), NoEmptyPart("X"), parts={"whole": part()}, repeated=0, shared=0) == []
    )


def test_only_the_part_to_train_on_is_counted():
    parts = {"train": part(9), "val": part(90), "test": part(90)}
    assert told(AtLeast(10, "X"), parts=parts) == [
        ("X takes at least 10 examples to train on; there are 9 in train", True)
    ]


@pytest.mark.parametrize("is_fatal", [True, False])
def test_blank_texts_and_answers_are_counted_over_all_parts(is_fatal):
    parts = {"train": part(blank_answers=1), "val": part(), "test": part(blank_answers=2)}
    assert told(NothingBlank("X", is_fatal), parts=parts) == [
        ("X takes no blank answers; 3 samples are blank", is_fatal)
    ]


def test_labels_that_cannot_be_learnt_are_named():
    train = Part(21, labels={"a": 20, "rare": 1})
    assert told(parts={"train": train, "val": Part(), "test": Part(2, labels={"new": 2})}) == [
        ("the val part is empty", False),
        ("a single example to learn from: rare", False),
        ("no example to learn from, only to be judged by: new", False),
    ]
    assert told(parts={"whole": Part(3, labels={"a": 3})}) == [
        ("every example to learn from has the same label, a", False)
    ]


def test_texts_that_stand_in_several_places_are_counted():
    assert told(parts={"whole": part()}, repeated=2, shared=1, contradicted=1) == [
        ("2 samples are a copy of another’s text", False),
        ("1 text is there with different labels", False),
        ("1 text is in more than one part: the test is easier than it looks", False),
    ]


# The figures, from the database ----------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u00a0\u2003\u3000"])
def test_what_python_calls_white_space_is_blank_to_the_database(blank):
    assert not blank.strip() and all(character in BLANKS for character in blank)
    project = make_project()
    empty, unanswered, full = make_sample(project), make_sample(project), make_sample(project, " x\u3000")
    Sample.objects.filter(pk=empty.pk).update(content=blank)
    Sample.objects.filter(pk=unanswered.pk).update(label_name=blank)
    assert figures_of_rows(Sample.objects.all()).parts == {
        "whole": Part(3, blank_contents=1, blank_answers=1, labels={"Positif": 2, blank: 1})
    }
    assert full


@pytest.mark.django_db
@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u00a0\u2003\u3000", "\x1c\x85"])
def test_a_rejected_response_that_says_nothing_is_a_blank_answer(blank):
    project = make_project(task_type="PREFERENCE", labels=["A"])
    for answer in ({"rejected": "B"}, {"rejected": blank}, {"rejected": f"x{blank}"}, {}):
        sample = make_sample(project, label="A")
        Sample.objects.filter(pk=sample.pk).update(label=None, answer={"chosen": "A"} | answer)
    other = make_sample(make_project())  # what another type keeps under that name is no response
    Sample.objects.filter(pk=other.pk).update(answer={"label": "Positif", "rejected": blank})
    assert figures_of_rows(Sample.objects.all()).parts["whole"].blank_answers == 1


@pytest.mark.django_db
def test_the_figures_of_a_batch_are_told_by_part_in_a_few_queries(django_assert_num_queries):
    project = make_samples(20)
    moods = make_sample(project, "joie et peur")
    Sample.objects.filter(pk=moods.pk).update(
        type="MULTI_LABEL", label=None, label_name="joie, peur", label_names=["joie", "peur"]
    )
    for label in ("Positif", "Négatif"):
        make_sample(project, "twice", label=label)
    batch = batching.gather(
        Sample.objects.all(), by=make_member(project, Role.MANAGER), format="jsonl", ratios=SPLIT, stratify=True
    )
    first, second = batch.items.filter(sample__content="twice")
    type(first).objects.filter(pk=second.pk).update(split=3)
    with django_assert_num_queries(3):
        figures = figures_of_batch(batch)
    assert {name: part.rows for name, part in figures.parts.items()} == {"train": 22, "val": 0, "test": 1}
    assert figures.parts["train"].labels == {"Positif": 11, "Négatif": 10, "joie": 1, "peur": 1}
    assert (figures.repeated, figures.shared, figures.contradicted) == (1, 1, 1)


# Batches ---------------------------------------------------------------------------------------------------------------


def gathered(project, **asked):
    return batching.gather(Sample.objects.filter(project=project), by=make_member(project, Role.MANAGER), **asked)


def run(batch):
    worker.run(queue.claim(batch.job_id))
    batch.refresh_from_db()
    return batch


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [name for name in formats.names() if formats.get(name).takes is None])
def test_every_format_tells_a_batch_of_what_it_would_trip_over(name):
    project = make_samples(12)
    Sample.objects.filter(pk=Sample.objects.first().pk).update(content=" \n")
    batch = run(gathered(project, format=name))
    refused = name in ("openai", "qianfan")
    assert batch.state == ("FAILED" if refused else "READY")
    said = batch.error if refused else " ".join(batch.warnings)
    assert "blank contents; 1 sample is blank" in said or "1 sample is without any text" in said
    assert batch.warnings == ([] if refused else batch.manifest["warnings"])


@pytest.mark.django_db(transaction=True)
def test_a_refused_batch_fails_at_once_and_can_be_cancelled_to_free_its_samples(tmp_path):
    batch = run(gathered(make_samples(9), format="openai"))
    assert (batch.state, batch.job.state) == ("FAILED", Job.State.FAILED)
    assert batch.error == "OpenAI takes at least 10 examples to train on; there are 9"
    assert not list(tmp_path.glob("exports/**/*.jsonl*"))
    with pytest.raises(Refusable):
        Batch.objects.filter(pk=batch.pk).update(state="QUEUED")
        batching.write(batch, lambda *_: None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("shards", [None, 2])
@pytest.mark.parametrize("name", ["openai-dpo", "trl-preference", "kto"])
def test_a_preference_over_nothing_is_refused_by_openai_and_warned_of_for_others(name, shards):
    """From a time when a blank response could be asked about."""
    project = make_project(task_type="PREFERENCE", labels=["A"])
    for number in range(11):
        sample = make_sample(project, f"Prompt {number}", label="A")
        Sample.objects.filter(pk=sample.pk).update(
            label=None, answer={"chosen": "A", "rejected": "B" if number else ""}
        )
    batch = gathered(project, format=name, shards=shards)
    worker.work(threading.Event(), until_empty=True)
    batch.refresh_from_db()
    said = "takes no blank answers; 1 sample is blank"
    assert (batch.state, said in batch.error) == (("FAILED", True) if name == "openai-dpo" else ("READY", False))
    assert any(said in warning for warning in batch.warnings) == (name != "openai-dpo")


@pytest.mark.django_db
def test_what_the_format_cannot_hold_stays_free_and_is_warned_of():
    project = make_samples(3)
    better = make_sample(project, "Prompt")
    Sample.objects.filter(pk=better.pk).update(
        type="PREFERENCE", label=None, label_name="A", answer={"chosen": "A", "rejected": "B"}
    )
    batch = gathered(project, format="kto")
    assert [item.sample_id for item in batch.items.all()] == [better.pk]
    batch.refresh_from_db()
    assert batch.warnings[0].startswith("left out: 3 samples; the format kto holds PREFERENCE: Texte numéro 0")
    assert gathered(project, format="jsonl").sample_count == 3


@pytest.mark.django_db
def test_nothing_that_the_format_holds_is_refused_naming_what_it_takes():
    project = make_samples(3)
    with pytest.raises(
        NoneFits, match="the format openai-dpo holds PREFERENCE; none of what was selected is"
    ) as refused:
        gathered(project, format="openai-dpo")
    assert refused.value.details == {"takes": ["PREFERENCE"]}
    assert not Batch.objects.exists()


@pytest.mark.django_db
def test_ids_that_the_format_cannot_hold_are_named_and_nothing_changes():
    project = make_samples(3)
    ids = sorted(Sample.objects.values_list("pk", flat=True))
    with pytest.raises(NoneFits) as refused:
        gathered(project, format="coco", ids=ids)
    assert refused.value.details == {"takes": ["IMAGE_CLASSIFICATION"], "ids": ids}
    assert not Batch.objects.exists()
