"""What our exports write can be imported again and gives the same samples."""

import io
import json

import pytest

from exports import formats
from exports.context import context_of
from exports.formats.python import encode
from exports.rows import pages, walk
from samples.errors import BadRow
from samples.intake import import_tasks
from samples.models import Sample, Task
from tests.factories import make_project, make_task

pytestmark = pytest.mark.django_db


def taking(*types):
    """The formats that hold all of these task types."""
    return [name for name in formats.names() if not (takes := formats.get(name).takes) or takes >= set(types)]


WITH_IDS = {"json", "jsonl", "csv", "parquet", "label-studio"}
WITH_SURETY = {"json", "csv", "parquet"}
SEVERAL = {"json", "jsonl", "csv", "parquet", "huggingface", "label-studio"}  # what models learn is joined by commas
CHATS = ["openai", "alpaca", "sharegpt", "prompt-completion", "qianfan"]

CONTENTS = [
    "Ce produit est fantastique !",
    'Il a dit "non", puis\nil est parti',
    " des espaces ; et des virgules, ici ",
    "=1+1\t\u2028 😀 \\n",
    "Analyse le sentiment : rien du tout",
]


def exported(format, rows):
    format = formats.get(format)
    return b"".join(encode(format, pages(walk(rows)), context_of(rows, format)))


def told(samples, *, surety, ids):
    """What a sample says, as far as the format carries it."""
    names = ["content", "label_name", "label_names", "label_index", "answer", "type", "sample_type", "locale"]
    names += ["uid"] * ids + ["confidence", "validated_at"] * surety
    return list(samples.order_by("pk").values_list(*names))


def make_samples(project, labels):
    """A settled item of each content, imported as verdicts; `labels` are taken in turn."""
    rows = [
        {
            "id": f"{number:016x}" if number % 2 else f"item-{number}",
            "content": content,
            "label": labels[number % len(labels)],
            "confidence": [1.0, 0.8667, 0.5][number % 3],
            "validated_at": f"2026-05-25T10:05:0{number}Z",
        }
        for number, content in enumerate(CONTENTS)
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    import_tasks(project, io.BytesIO(data), name="first.jsonl")
    Sample.objects.filter(project=project).update(status="APPROVED", reviewed_at="2026-06-01T00:00:00Z")


def moved(format, project, other):
    """The samples of `project`, exported, forgotten and imported into `other`."""
    rows = Sample.objects.filter(project=project)
    format = formats.get(format)
    data = exported(format.name, rows)
    before = told(rows, surety=format.name in WITH_SURETY, ids=format.name in WITH_IDS)
    rows.delete()
    project.tasks.all().delete()
    imported = import_tasks(other, io.BytesIO(data), name=f"all.{format.extension}", new_labels=False)
    assert (imported.created, imported.skipped) == (len(before), 0)
    again = Sample.objects.filter(project=other)
    assert set(again.values_list("status", flat=True)) == {"PENDING"}
    return before, told(again, surety=format.name in WITH_SURETY, ids=format.name in WITH_IDS), data


@pytest.mark.parametrize("format", taking("SENTIMENT_ANALYSIS"))
def test_one_label_goes_out_and_comes_back(format):
    project, other = make_project(), make_project()
    make_samples(project, ["Positif", "Négatif"])
    before, after, data = moved(format, project, other)
    assert after == before and len(after) == len(CONTENTS)
    assert exported(format, Sample.objects.filter(project=other)) == data


@pytest.mark.parametrize("format", taking("MULTI_LABEL"))
def test_several_labels_go_out_and_come_back(format):
    project = make_project(task_type="MULTI_LABEL", labels=["joie", "peur", "surprise"])
    other = make_project(task_type="MULTI_LABEL", labels=["joie", "peur", "surprise"])
    make_samples(project, [["joie"], ["joie", "surprise"], ["peur", "surprise"]])
    before, after, data = moved(format, project, other)
    assert after == before
    assert exported(format, Sample.objects.filter(project=other)) == data


@pytest.mark.parametrize("format", sorted(SEVERAL))
def test_labels_with_commas_in_their_names_survive_where_lists_do(format):
    labels = ["joie, pure", "peur", "joie"]
    project, other = (make_project(task_type="MULTI_LABEL", labels=labels) for _ in range(2))
    make_samples(project, [["joie, pure"], ["joie", "joie, pure"]])
    before, after, _ = moved(format, project, other)
    assert after == before


@pytest.mark.parametrize("format", taking("TEXT_GENERATION"))
def test_free_text_goes_out_and_comes_back(format):
    project, other = (make_project(task_type="TEXT_GENERATION", labels=[]) for _ in range(2))
    make_samples(project, ["Une réponse.\nDeux lignes.", " espace "])
    before, after, _ = moved(format, project, other)
    assert after == before


@pytest.mark.parametrize("format", CHATS)
def test_prompts_are_taken_off_in_whatever_language_they_were_put_on(format):
    project, other = make_project(), make_project(labels=["Positif", "Négatif"])
    for locale, content in (("fr", "Bien"), ("en", "Good"), ("zh", "好"), ("es", "Bueno")):
        line = json.dumps({"text": content, "label": "Positif", "locale": locale}) + "\n"
        import_tasks(project, io.BytesIO(line.encode()), name="a.jsonl")
    _, after, _ = moved(format, project, other)
    assert [(row[0], row[7]) for row in after] == [("Bien", "fr"), ("Good", "en"), ("好", "zh"), ("Bueno", "es")]


@pytest.mark.parametrize("format", CHATS)
def test_a_project_s_own_prompts_are_taken_off_too(format):
    prompts = {"fr": {"chat": "« {content} » — comment est-ce ? ({content})", "instruction": "Comment est-ce ?"}}
    project, other = make_project(prompts=prompts), make_project(prompts=prompts)
    make_samples(project, ["Positif"])
    before, after, _ = moved(format, project, other)
    assert after == before


def test_an_export_imported_into_its_own_project_changes_nothing():
    project = make_project()
    make_samples(project, ["Positif", "Négatif"])
    before = (list(Task.objects.values_list()), list(Sample.objects.values_list()))
    for format in sorted(WITH_IDS):
        data = exported(format, Sample.objects.all())
        imported = import_tasks(project, io.BytesIO(data), name=f"a.{formats.get(format).extension}", source="again")
        assert (imported.created, imported.updated, imported.unchanged) == (0, 0, len(CONTENTS))
    assert (list(Task.objects.values_list()), list(Sample.objects.values_list())) == before


def test_an_id_that_another_project_holds_gives_the_task_a_new_one():
    project, other = make_project(), make_project()
    make_samples(project, ["Positif"])
    import_tasks(other, io.BytesIO(exported("jsonl", Sample.objects.all())), name="a.jsonl")
    mine, theirs = (set(one.tasks.values_list("uid", flat=True)) for one in (project, other))
    assert len(theirs) == len(CONTENTS) and not mine & theirs
    assert set(other.tasks.values_list("external_id", flat=True)) == mine


def test_open_tasks_come_back_open():
    project, other = make_project(), make_project()
    make_task(project, "sans réponse")
    for format in ("json", "csv", "jsonl"):
        data = exported(format, project.tasks.all())
        import_tasks(other, io.BytesIO(data), name=f"a.{formats.get(format).extension}", source=format)
        assert list(other.tasks.filter(source__name=format).values_list("content", "status", "metadata")) == [
            ("sans réponse", "PENDING", {})
        ]
        other.tasks.all().delete()


def test_rows_of_another_task_type_are_refused():
    project = make_project()
    make_samples(project, ["Positif"])
    other = make_project(task_type="TEXT_CLASSIFICATION", labels=["Positif"])
    with pytest.raises(BadRow, match="the row is a SENTIMENT_ANALYSIS, the project takes TEXT_CLASSIFICATION"):
        import_tasks(other, io.BytesIO(exported("json", Sample.objects.all())), name="a.json")


# Files of others in these shapes --------------------------------------------------------------------------------------


def test_an_instruction_with_an_input_of_its_own_is_asked_with_it():
    project = make_project(task_type="TEXT_GENERATION", labels=[])
    rows = [
        {"instruction": "Translate.", "input": "chien", "output": "dog"},
        {"instruction": "Who are you?", "input": "", "output": "A test."},
    ]
    import_tasks(project, io.BytesIO(json.dumps(rows).encode()), name="a.json")
    assert list(project.tasks.order_by("pk").values_list("content", "label_name")) == [
        ("Translate.\n\nchien", "dog"),
        ("Who are you?", "A test."),
    ]


def test_a_conversation_keeps_its_system_message_as_metadata():
    project = make_project(task_type="TEXT_GENERATION", labels=[])
    turns = [("system", "Be brief."), ("user", "Hello?"), ("assistant", "Hello.")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    import_tasks(project, io.BytesIO(json.dumps([row]).encode()), name="a.json")
    task = project.tasks.get()
    assert (task.content, task.label_name, task.metadata) == ("Hello?", "Hello.", {"system": "Be brief."})
