"""Rows become tasks, verdicts, answers and samples: once, all of them or none, with nothing lost on the way."""

import io
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelhub.accounts.models import AuditEntry
from samples.errors import BadFile, BadRow, InvalidValue
from samples.intake import Columns, Layout, content_id, import_tasks
from samples.models import Annotation, Dataset, Label, Sample, Source, Task
from samples.projects import add_labels
from tests.factories import make_annotation, make_project, make_task, make_user

pytestmark = pytest.mark.django_db


def take(project, data, name="file.jsonl", **options):
    if isinstance(data, list):
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in data)
    return import_tasks(project, io.BytesIO(data.encode()), name=name, **options)


def counts(imported):
    return (imported.created, imported.updated, imported.unchanged, imported.skipped)


def everything():
    """All that an import may touch, to see that a refused one touched nothing."""
    return [
        list(model.objects.order_by("pk").values_list())
        for model in (Task, Sample, Annotation, Label, Source, AuditEntry)
    ]


# What a row becomes ---------------------------------------------------------------------------------------------------


def test_a_label_becomes_a_verdict_and_a_pending_sample():
    project = make_project()
    take(project, "id,text,label,locale\n7,Très bien,Positif,fr-CA\n8,Bof,,\n", "a.csv")
    task, open_task = Task.objects.order_by("pk")
    assert (task.external_id, task.content, task.locale, task.type) == ("7", "Très bien", "fr-CA", "SENTIMENT_ANALYSIS")
    assert task.is_settled and task.confidence == 1.0 and task.validated_at and task.decided_by is None
    assert (task.label.name, task.label_name, task.label_index, task.label_names) == ("Positif", "Positif", 0, None)
    assert (task.answer, task.vote_shares) == ({"label": "Positif"}, {"Positif": 1.0})
    sample = Sample.objects.get()
    assert (sample.task, sample.uid, sample.status, sample.sample_type) == (task, task.uid, "PENDING", "TEXT")
    assert (sample.label, sample.label_name, sample.answer) == (task.label, "Positif", {"label": "Positif"})
    assert (open_task.status, open_task.answer, open_task.locale) == ("PENDING", None, "fr")


def test_several_labels_are_a_list_a_json_list_or_a_text_with_commas():
    project = make_project(task_type="MULTI_LABEL", labels=["joy", "fear", "trust, blind"])
    rows = [
        {"id": "a", "text": "a", "label": ["fear", "joy"]},
        {"id": "b", "text": "b", "label": "fear, joy"},
        {"id": "c", "text": "c", "label": '["fear", "joy"]'},
        {"id": "d", "text": "d", "label": "trust, blind"},
        {"id": "e", "text": "e", "label": ["trust, blind", "anger"]},
    ]
    assert take(project, rows).labels_added == ["anger"]
    tasks = {task.external_id: task for task in Task.objects.all()}
    for name in "abc":
        assert tasks[name].answer == {"labels": ["joy", "fear"]}
        assert tasks[name].vote_shares == {"joy": 1.0, "fear": 1.0}
        assert tasks[name].label is None and tasks[name].label_name == "joy, fear"
        assert sorted(tasks[name].labels.values_list("name", flat=True)) == ["fear", "joy"]
    assert tasks["d"].label_names == ["trust, blind"]
    assert tasks["e"].label_names == ["trust, blind", "anger"]
    assert Sample.objects.filter(label_names=None).count() == 0


def test_a_response_is_the_answer_of_a_generation_project():
    project = make_project(task_type="TEXT_GENERATION", labels=[])
    take(project, [{"prompt": "Say hi", "response": " Hi!\n"}, {"prompt": "Say ho", "completion": None}])
    assert list(Task.objects.order_by("pk").values_list("content", "label_name")) == [
        ("Say hi", " Hi!\n"),
        ("Say ho", None),
    ]


def test_a_preference_comes_as_options_or_as_chosen_and_rejected():
    project = make_project(task_type="PREFERENCE", labels=[])
    rows = [
        {"prompt": "p", "chosen": "good", "rejected": "bad"},
        {"prompt": "q", "options": ["yes", "no"], "label": "no"},
    ]
    assert take(project, rows).created == 2
    assert list(Task.objects.order_by("pk").values_list("answer", flat=True)) == [
        {"chosen": "good", "rejected": "bad"},
        {"chosen": "no", "rejected": "yes"},
    ]
    with pytest.raises(BadRow, match="an option stands in the list twice"):
        take(project, [{"prompt": "p", "chosen": "same", "rejected": "same"}])
    with pytest.raises(BadRow, match="two different responses"):
        take(project, [{"prompt": "p", "label": "one"}])


def test_an_item_s_own_options_take_the_place_of_the_labels():
    project = make_project(task_type="BINARY_CHOICE", labels=["Oui", "Non"])
    take(project, 'content,options,label\nQui ?,"[""Elle"",""Lui""]",Lui\n', "a.csv")
    task = Task.objects.get()
    assert (task.options, task.label, task.label_name, task.label_index) == (["Elle", "Lui"], None, "Lui", 1)
    assert project.labels.count() == 2
    with pytest.raises(BadRow, match="2 options, not 3"):
        take(project, [{"content": "Qui ?", "options": ["a", "b", "c"]}])
    with pytest.raises(BadRow, match="options: options are a JSON list"):
        take(project, [{"content": "Qui ?", "options": "Elle|Lui"}])


def test_what_nobody_asked_for_is_metadata_with_its_types():
    project = make_project()
    row = {
        "text": "a",
        "n": 1,
        "x": 1.0,
        "big": 2**80,
        "none": None,
        "deep": {"id": [1, {"text": "é"}]},
        "date": "2026",
    }
    take(project, [row])
    metadata = Task.objects.get().metadata
    assert repr(metadata) == repr({key: value for key, value in row.items() if key != "text"})


def test_a_confidence_without_a_verdict_is_metadata():
    project = make_project()
    take(
        project,
        [{"text": "a", "confidence": 0.5, "validatedAt": None}, {"text": "b", "label": "Positif", "confidence": 0.5}],
    )
    assert list(Task.objects.order_by("pk").values_list("confidence", "metadata")) == [
        (None, {"confidence": 0.5}),
        (0.5, {}),
    ]
    take(
        project,
        [{"text": "c", "confidence": "high", "label": "Positif"}],
        labels_as="annotations",
        annotator=make_user(),
    )
    assert Task.objects.get(content="c").metadata == {"confidence": "high"}


def test_keys_of_the_metadata_that_are_named_like_columns_stay_there():
    project = make_project()
    take(project, [{"id": "1", "text": "mine", "metadata": {"id": 7, "text": "its", "label": None}, "tag": "x"}])
    task = Task.objects.get()
    assert (task.external_id, task.content) == ("1", "mine")
    assert task.metadata == {"id": 7, "text": "its", "label": None, "tag": "x"}
    with pytest.raises(BadRow, match="metadata: 'tag' is both a column and a key"):
        take(project, [{"text": "b", "metadata": {"tag": 1}, "tag": 2}])


def test_metadata_in_a_csv_cell_is_an_object_if_it_reads_as_one():
    take(make_project(), 'text,metadata,n\na,"{""n2"": 1.0}",5\nb,plain,6\nc,{odd,7\n', "a.csv")
    assert list(Task.objects.order_by("pk").values_list("metadata", flat=True)) == [
        {"n2": 1.0, "n": "5"},
        {"metadata": "plain", "n": "6"},
        {"metadata": "{odd", "n": "7"},
    ]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
def test_metadata_comes_back_as_it_went_in(value):
    project = make_project()
    take(project, [{"text": "a", "value": value}])
    assert repr(Task.objects.get(project=project).metadata) == repr({"value": value})


def test_a_moment_is_iso_8601_or_seconds_and_another_timestamp_is_metadata():
    rows = [
        {"text": "a", "occurred_at": "2026-05-25T10:05:00+02:00"},
        {"text": "b", "timestamp": 1_700_000_000},
        {"text": "c", "occurred_at": "2026-05-25"},
        {"text": "d", "timestamp": "chapter 3"},
    ]
    take(make_project(), rows)
    moments = [
        moment and moment.isoformat() for moment in Task.objects.order_by("pk").values_list("occurred_at", flat=True)
    ]
    assert moments == ["2026-05-25T08:05:00+00:00", "2023-11-14T22:13:20+00:00", "2026-05-25T00:00:00+00:00", None]
    assert Task.objects.get(content="d").metadata == {"timestamp": "chapter 3"}
    with pytest.raises(BadRow, match="line 1, occurred_at: 'chapter 3' is not a moment"):
        take(make_project(), [{"text": "a", "when": "chapter 3"}], columns=Columns(occurred_at="when"))


def test_columns_can_be_named_or_numbered_and_labels_renamed():
    project = make_project(labels=["Positive", "Negative"], locale="en")
    take(
        project,
        "Great.\t1\nAwful.\t0\n",
        "reviews.txt",
        columns=Columns(content="1", label="2", label_map={"1": "Positive", "0": "Negative"}),
        layout=Layout(header=False),
    )
    assert list(Task.objects.order_by("pk").values_list("content", "label_name", "metadata")) == [
        ("Great.", "Positive", {}),
        ("Awful.", "Negative", {}),
    ]


def test_numbers_are_labels_too():
    project = make_project(labels=[])
    rows = [
        {"text": "a", "label": 1},
        {"text": "b", "label": 1.5},
        {"text": "c", "label": True},
        {"text": "d", "label": 0},
    ]
    assert take(project, rows, columns=Columns(label_map={"0": "zero"})).labels_added == ["1", "1.5", "true", "zero"]


def test_new_labels_join_the_list_in_order_of_appearance_or_are_refused():
    project = make_project(labels=["Neutre"])
    rows = [{"text": "a", "label": "Positif"}, {"text": "b", "label": "Négatif"}, {"text": "c", "label": "Positif"}]
    with pytest.raises(BadRow) as caught:
        take(project, rows, new_labels=False)
    assert caught.value.message == "file.jsonl, line 1, label: 'Positif' is not one of the labels: Neutre"
    assert caught.value.details == {"line": 1, "field": "label", "reason": "'Positif' is not one of the labels: Neutre"}
    assert take(project, rows).labels_added == ["Positif", "Négatif"]
    assert list(project.labels.values_list("name", "position")) == [("Neutre", 0), ("Positif", 1), ("Négatif", 2)]


def test_a_row_that_is_refused_brings_no_label():
    project = make_project(labels=[])
    rows = [{"text": " ", "label": "x"}, {"id": 1, "text": "a", "label": "y"}, {"id": 1, "text": "b", "label": "z"}]
    assert take(project, rows, on_error="skip").labels_added == ["y"]


def test_a_column_of_free_text_is_not_taken_for_labels():
    rows = [{"text": f"text {number}", "label": f"label {number}"} for number in range(1_001)]
    with pytest.raises(BadFile, match="more than 1,000 new labels.*is this the label column"):
        take(make_project(), rows)
    with pytest.raises(BadRow, match="cannot be a label"):
        take(make_project(), [{"text": "a", "label": "x" * 300}])


def test_the_source_can_join_a_dataset():
    project = make_project()
    take(project, [{"text": "a"}], source="mail-2026", dataset="all")
    take(project, [{"text": "a"}], source="chat", dataset="all")
    assert sorted(Dataset.objects.get(project=project, name="all").sources.values_list("name", flat=True)) == [
        "chat",
        "mail-2026",
    ]
    with pytest.raises(InvalidValue, match="source name 'a b'"):
        take(project, [{"text": "a"}], source="a b")


def test_an_import_is_audited_once_with_its_counts():
    project, by = make_project(), make_user()
    take(project, [{"text": "a"}, {"text": "b"}], name="two.jsonl", by=by)
    take(project, [{"text": "a"}, {"text": "b"}], name="two.jsonl", by=by)
    entry = AuditEntry.objects.get(action="import")
    assert (entry.actor, entry.subject, entry.reason) == (by, "source", "two.jsonl")
    assert entry.after == "2 created, 0 updated, 0 unchanged, 0 skipped"


# The same again -------------------------------------------------------------------------------------------------------


def test_the_same_file_twice_changes_nothing():
    project = make_project()
    rows = [{"id": "a", "text": "one", "label": "Positif"}, {"text": "two", "label": "Négatif"}, {"text": "three"}]
    assert counts(take(project, rows)) == (3, 0, 0, 0)
    before = everything()
    assert counts(take(project, rows)) == (0, 0, 3, 0)
    assert everything() == before


def test_a_text_without_an_id_is_one_task_however_often_it_comes():
    project = make_project()
    rows = [{"text": "same", "label": "Positif"}, {"text": "same", "label": "Positif"}, {"text": "same"}]
    assert counts(take(project, rows)) == (1, 0, 2, 0)
    assert Task.objects.get().external_id == content_id("same")
    assert counts(take(project, rows, source="another")) == (1, 0, 2, 0)


def test_rows_that_contradict_each_other_name_both_lines():
    project = make_project()
    rows = [{"text": "same", "label": "Positif"}, {"text": "x"}, {"text": "same", "label": "Négatif"}]
    before = everything()
    with pytest.raises(BadRow, match=r"line 3, label: the same item is labelled 'Positif' \(line 1\), not 'Négatif'"):
        take(project, rows)
    assert everything() == before
    assert counts(take(project, rows, on_error="skip")) == (2, 0, 0, 1)

    rows = [{"id": 1, "text": "a"}, {"id": 1, "text": "b"}]
    with pytest.raises(BadRow, match=r"line 2, id: the id '1' already belongs to another item \(line 1\)"):
        take(project, rows, source="ids")


def test_the_same_prompt_may_have_several_responses():
    project = make_project(task_type="TEXT_GENERATION", labels=[])
    rows = [{"prompt": "hi", "response": text} for text in ("Hello!", "Hi.", "Hello!")] + [{"prompt": "hi"}]
    assert counts(take(project, rows)) == (2, 0, 2, 0)
    assert list(Task.objects.order_by("pk").values_list("content", "label_name")) == [("hi", "Hello!"), ("hi", "Hi.")]
    assert counts(take(project, rows)) == counts(take(project, rows[::-1])) == (0, 0, 4, 0)
    take(project, [{"prompt": "ho"}], source="later")
    assert counts(take(project, [{"prompt": "ho", "response": "Ho."}], source="later")) == (0, 1, 0, 0)
    with pytest.raises(BadRow, match="the same item is labelled 'Hello!'"):
        take(project, [{"id": 1, "prompt": "hi", "response": text} for text in ("Hello!", "Hi.")], source="ids")


def test_lines_are_named_across_batches(monkeypatch):
    monkeypatch.setattr("samples.intake.importing.BATCH", 2)
    rows = [{"id": number, "text": f"text {number}"} for number in range(5)] + [{"id": 1, "text": "other"}]
    with pytest.raises(BadRow, match=r"line 6, id: the id '1' already belongs to another item \(line 2\)"):
        take(make_project(), rows)
    assert counts(take(make_project(), rows, on_error="skip")) == (5, 0, 0, 1)


def test_a_file_never_overwrites_what_is_there():
    project = make_project()
    take(project, [{"id": 1, "text": "one", "label": "Positif"}])
    with pytest.raises(BadRow, match=r"another item \(the project\)"):
        take(project, [{"id": 1, "text": "ONE"}])
    with pytest.raises(BadRow, match=r"labelled 'Positif' \(the project\), not 'Négatif'"):
        take(project, [{"id": 1, "text": "one", "label": "Négatif"}])
    assert Task.objects.get().label_name == "Positif"


def test_a_label_may_come_later():
    project = make_project()
    take(project, [{"id": 1, "text": "one"}, {"id": 2, "text": "two"}])
    assert counts(take(project, [{"id": 1, "text": "one", "label": "Positif"}])) == (0, 1, 0, 0)
    task = Task.objects.get(external_id="1")
    assert (task.status, task.label_name, task.confidence, task.sample.status) == (
        "COMPLETED",
        "Positif",
        1.0,
        "PENDING",
    )
    assert task.answer == {"label": "Positif"} and task.vote_shares == {"Positif": 1.0}
    assert Sample.objects.count() == 1


def test_a_file_does_not_decide_what_people_are_answering():
    project = make_project()
    task = make_task(project, "one", source=Source.objects.create(project=project, name="import"), external_id="1")
    make_annotation(task)
    Task.objects.update(status="VALIDATING")
    with pytest.raises(BadRow, match="people have answered this item, it is VALIDATING"):
        take(project, [{"id": 1, "text": "one", "label": "Positif"}])


# Answers of people ----------------------------------------------------------------------------------------------------


def test_labels_may_be_the_answers_of_one_annotator_and_settle_when_enough_have_answered():
    project = make_project(validations_needed=3)
    people = [make_user(name) for name in ("ana", "ben", "chloe")]
    texts = ["one", "two", "three"]
    said = {"ana": "PPN", "ben": "PNN", "chloe": "PNP"}
    for person in people:
        rows = [
            {"text": text, "label": {"P": "Positif", "N": "Négatif"}[mark]}
            for text, mark in zip(texts, said[person.username], strict=True)
        ]
        imported = take(project, rows, labels_as="annotations", annotator=person)
        assert counts(imported) == ((3, 0, 0, 0) if person == people[0] else (0, 3, 0, 0))
        assert counts(take(project, rows, labels_as="annotations", annotator=person))[2] == 3
        if person != people[2]:
            assert set(Task.objects.values_list("status", flat=True)) == {"VALIDATING"}
    assert list(Task.objects.order_by("pk").values_list("status", "label_name", "confidence")) == [
        ("COMPLETED", "Positif", 1.0),
        ("COMPLETED", "Négatif", 0.6667),
        ("COMPLETED", "Négatif", 0.6667),
    ]
    assert Sample.objects.pending().count() == 3 and Annotation.objects.count() == 9


def test_an_annotator_who_says_another_thing_the_second_time_is_refused():
    project, person = make_project(), make_user("ana")
    take(project, [{"text": "a", "label": "Positif"}], labels_as="annotations", annotator=person)
    with pytest.raises(BadRow, match="labelled 'Positif'"):
        take(project, [{"text": "a", "label": "Négatif"}], labels_as="annotations", annotator=person)
    with pytest.raises(InvalidValue, match="need an annotator"):
        take(project, [{"text": "a", "label": "Négatif"}], labels_as="annotations")


def test_several_labels_of_an_annotator_are_linked_one_by_one():
    project = make_project(task_type="MULTI_LABEL", labels=["joy", "fear"], validations_needed=1)
    rows = [{"text": "a", "label": "fear, joy"}, {"text": "b", "label": ""}]
    take(project, rows, labels_as="annotations", annotator=make_user())
    annotation = Annotation.objects.get()
    assert annotation.answer == {"labels": ["joy", "fear"]} and annotation.label is None
    assert sorted(annotation.labels.values_list("name", flat=True)) == ["fear", "joy"]
    assert list(Task.objects.order_by("pk").values_list("status", flat=True)) == ["COMPLETED", "PENDING"]
    assert sorted(Task.objects.get(content="a").labels.values_list("name", flat=True)) == ["fear", "joy"]


# Rows that cannot be taken --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "  "}, "content: the content is empty"),
        ({"text": None}, "text: the content is missing"),
        ({"text": 7}, "text: the content is int, not text"),
        ({"note": "no content here"}, "content: the content is missing"),
        ({"text": "a\0b"}, "content: it holds a NUL character"),
        ({"text": "a", "id": "\0"}, "id: it holds a NUL character"),
        ({"text": "a", "id": 1.5}, "id: an id is a text or a whole number"),
        ({"text": "a", "id": "x" * 1025}, "id: the id has 1,025 characters"),
        ({"text": "a", "note": "x\0"}, "metadata: it holds a NUL character"),
        ({"text": "a", "label": {"x": 1}}, "label: a label is a text, not a dict"),
        ({"text": "a", "label": "Neutre"}, "label: 'Neutre' is not one of the labels: Positif, Négatif"),
        ({"text": "a", "locale": "en, fr"}, "locale: 'en, fr' is not a locale"),
        (
            {"text": "a", "label": "Positif", "confidence": 1.7},
            "confidence: confidence '1.7' is not a number from 0 to 1",
        ),
        ({"text": "a", "label": "Positif", "validatedAt": "soon"}, "validated_at: 'soon' is not a moment"),
        ({"text": "a", "type": "MULTI_LABEL"}, "type: the row is a MULTI_LABEL, the project takes SENTIMENT_ANALYSIS"),
        ({"messages": [{"role": "user", "content": "a"}] * 2}, "messages: messages must be one user turn"),
    ],
)
def test_a_row_that_cannot_be_taken_says_where_and_why_and_stops_everything(row, words):
    project = make_project()
    rows = [{"text": "good", "label": "Positif"}, row]
    before = everything()
    with pytest.raises(BadRow) as caught:
        take(project, rows, new_labels=False)
    assert caught.value.message.startswith(f"file.jsonl, line 2, {words}")
    assert everything() == before

    imported = take(project, rows, new_labels=False, on_error="skip")
    assert counts(imported) == (1, 0, 0, 1)
    [error] = imported.errors
    assert error.line == 2 and str(error).startswith(f"line 2, {words}")


def test_half_a_surrogate_pair_is_refused_wherever_it_stands():
    for row in ('{"text": "a\\ud800"}', '{"text": "a", "n": ["\\ud800"]}', '{"text": "a", "\\ud800": 1}'):
        with pytest.raises(BadRow, match="half of a surrogate pair, U[+]D800"):
            take(make_project(), row + "\n")
    take(make_project(), '{"text": "\\ud83d\\ude00", "backslash": "\\\\u0000"}\n')
    assert Task.objects.get().content == "😀"


def test_errors_are_counted_all_and_kept_to_a_thousand():
    rows = "nonsense\n" * 2_500 + '{"text": "good"}\n'
    imported = take(make_project(), rows, on_error="skip")
    assert counts(imported) == (1, 0, 0, 2_500)
    assert [error.line for error in imported.errors] == list(range(1, 1_001))


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_file_that_breaks_in_the_middle_changes_nothing(on_error):
    project = make_project(labels=[])
    before = everything()
    good = b'{"text": "text %d", "label": "l%d"}\n'
    data = b"".join(good % (number, number % 5) for number in range(5_000)) + b'{"text": "\xff"}\n'
    with pytest.raises(BadFile, match="line 5001 is not UTF-8"):
        import_tasks(project, io.BytesIO(data), name="a.jsonl", on_error=on_error)
    assert everything() == before


def test_a_named_column_that_is_not_there_is_an_error_not_a_file_without_labels():
    with pytest.raises(BadFile, match="no column 'sentiment'; the columns are: text, mood"):
        take(make_project(), "text,mood\na,b\n", "a.csv", columns=Columns(label="sentiment"))
    with pytest.raises(BadFile, match="no row has a column 'sentiment'"):
        take(make_project(), [{"text": "a"}, {"text": "b", "mood": 1}], columns=Columns(label="sentiment"))
    assert take(make_project(), [{"text": "a"}, {"text": "b", "mood": "x"}], columns=Columns(label="mood")).created == 2


def test_a_table_without_a_content_column_says_what_it_looked_for():
    with pytest.raises(BadFile, match="Looked for content, text.*the columns are: id;texte; is the delimiter ';'"):
        take(make_project(), "id;texte\n1;a\n", "a.csv")


# Blocks ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("samples.intake.importing.BATCH", 2)


def test_what_the_file_alone_can_tell_is_known_before_anything_is_written(small_blocks):
    project = make_project()
    rows = [{"id": number, "text": f"text {number}", "label": "Positif"} for number in range(9)]
    before = everything()
    for bad in ({"text": ""}, {"text": "a", "label": "Neutre"}, {"text": "a", "id": 1.5}):
        with pytest.raises(BadRow, match="line 10, "):
            take(project, [*rows, bad], new_labels=False)
    assert everything() == before


def looked_for(project, rows):
    """How many statements of an import look for ids."""
    with CaptureQueriesContext(connection) as asked:
        take(project, rows)
    return sum("AS given" in query["sql"] for query in asked)


def test_only_ids_that_may_be_there_are_looked_for(small_blocks):
    project = make_project()
    assert looked_for(project, [{"id": number, "text": f"text {number}"} for number in range(9)]) == 0
    assert looked_for(project, [{"id": number, "text": f"text {number}"} for number in range(8, 12)]) == 2
    repeated = [{"id": number % 7, "text": f"text {number % 7}"} for number in range(8)]
    assert looked_for(make_project(), repeated) == 2  # in the blocks of the first and of the last row
    assert Task.objects.count() == 12 + 7


@given(ids=st.lists(st.integers(0, 6), min_size=1, max_size=20), there=st.lists(st.integers(0, 6), max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_row_is_known_again_wherever_it_stood_before(small_blocks, ids, there):
    project = make_project()
    if there:
        take(project, [{"id": number, "text": f"text {number}"} for number in there])
    found = take(project, [{"id": number, "text": f"text {number}"} for number in ids])
    new = len(set(ids) - set(there))
    assert counts(found) == (new, 0, len(ids) - new, 0)
    assert Task.objects.filter(project=project).count() == len({*ids, *there})


def test_what_others_write_into_the_source_meanwhile_is_known(small_blocks):
    project = make_project()
    rows = [{"id": number, "text": f"text {number}"} for number in range(6)]

    def meanwhile(done, total):
        if done == 2:
            take(project, rows[3:5])

    found = take(project, rows, written=meanwhile)
    assert counts(found) == (4, 0, 2, 0)
    assert Task.objects.count() == 6


def test_a_clash_in_the_middle_keeps_the_blocks_before_it_and_says_so(small_blocks):
    project = make_project()
    rows = [{"id": number, "text": f"text {number}", "label": "Positif"} for number in range(7)]
    with pytest.raises(
        BadRow, match="line 6, id: .*The 4 rows before this block are imported; mend this one and import"
    ):
        take(project, [*rows[:5], {"id": 1, "text": "other"}, *rows[5:]])
    assert Task.objects.count() == Sample.objects.count() == 4
    assert AuditEntry.objects.get(action="import").after == "4 created, 0 updated, 0 unchanged, 0 skipped"
    assert counts(take(project, rows)) == (3, 0, 4, 0)
    assert Task.objects.count() == Sample.objects.count() == 7


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_an_import_that_was_killed_goes_on_without_doubles(small_blocks, blocks):
    def kill(done, total):
        assert total == 7
        if done == 2 * blocks:
            raise Killed

    project, ana = make_project(validations_needed=1), make_user("ana")
    rows = [{"text": f"text {number}", "label": "Positif"} for number in range(7)]
    with pytest.raises(Killed):
        take(project, rows, written=kill, labels_as="annotations", annotator=ana)
    assert Task.objects.count() == Annotation.objects.count() == 2 * blocks
    assert AuditEntry.objects.get(action="import").after.startswith(f"{2 * blocks} created")
    again = take(project, rows, labels_as="annotations", annotator=ana)
    assert counts(again) == (7 - 2 * blocks, 0, 2 * blocks, 0)
    assert Annotation.objects.count() == 7
    assert Task.objects.completed().count() == 7, "also those that the dead run had not counted"


def test_labels_that_others_add_between_two_blocks_are_seen(small_blocks):
    project = make_project(labels=["a"])

    def add_another(done, total):
        add_labels(project, ["b", "x"])

    rows = [{"text": str(number), "label": label} for number, label in enumerate("aabcx")]
    assert take(project, rows, written=add_another).labels_added == ["c"]
    assert list(project.labels.values_list("name", "position")) == [("a", 0), ("b", 1), ("x", 2), ("c", 3)]
    assert set(Task.objects.values_list("label_name", "label_index")) == {("a", 0), ("b", 1), ("x", 2), ("c", 3)}


# Numbers --------------------------------------------------------------------------------------------------------------


def test_the_number_of_queries_grows_with_batches_not_with_rows(django_assert_max_num_queries):
    project = make_project()
    rows = [{"id": number, "text": f"text {number}", "label": "Positif"} for number in range(1_900)]
    with django_assert_max_num_queries(34):
        take(project, rows)
