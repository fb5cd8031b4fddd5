"""What the encoders write, read back by Python's own json and csv."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports import formats
from exports.errors import BadOptions, BadPrompts, UnknownFormat
from exports.formats.context import check_prompts
from tests.exports.pages import page_row

HOSTILE = [
    'say "hello", he said',
    "two\nlines and\r\nthree",
    "\u2028 and \u2029 and \x85",
    "tab\t, bell \x07, delete \x7f, escape \x1b",
    "👩‍👩‍👧 emoji, ‏عربى, 汉字, n̈",
    '=HYPERLINK("http://x")',
    "back\\slash / slash </script>",
    '{"text": "structured", "n": 1.0, "m": 1}',
    " spaces around ",
    "{content} {0} %s %(x)s",
    "'",
    ",",
    '"',
    "",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
confidences = st.none() | st.floats(0, 1) | st.sampled_from([0.87, 1.0, 0.0, 1e-7, 0.6667])


def encoded(name, *pages, context=None, **options):
    return b"".join(formats.encode(formats.get(name), pages, context or formats.Context(), options))


def lines(data):
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


@given(st.lists(st.tuples(texts, texts, confidences), min_size=1, max_size=5))
def test_whatever_the_text_json_reads_back_what_went_in(rows):
    page = [page_row(content=content, label_name=label, confidence=sure) for content, label, sure in rows]
    data = encoded("json", page)
    read = json.loads(data)
    assert [(row["content"], row["label"], row["confidence"]) for row in read] == rows
    assert data == json.dumps(read, ensure_ascii=False, separators=(",", ":")).encode() or any(
        sure and sure < 0.001
        for *_, sure in rows  # 1e-07 there, 1e-7 here
    )


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_whatever_the_text_every_line_is_one_object_and_reads_back(rows):
    page = [page_row(content=content, label_name=label) for content, label in rows]
    context = formats.Context(labels={})
    assert [(row["content"], row["label"]) for row in lines(encoded("jsonl", page))] == rows
    assert [(row["input"], row["output"]) for row in lines(encoded("alpaca", page))] == rows
    assert [(row["text"], row["label"]) for row in lines(encoded("huggingface", page, context=context))] == rows
    chats = [[message["content"] for message in row["messages"]] for row in lines(encoded("openai", page))]
    assert chats == [[f"Analyse le sentiment : {content}", label] for content, label in rows]


@given(st.lists(st.tuples(texts, texts, confidences), min_size=1, max_size=5))
def test_whatever_the_text_csv_reads_back_what_went_in(rows):
    page = [page_row(content=content, label_name=label, confidence=sure) for content, label, sure in rows]
    data = encoded("csv", page).decode()
    read = list(csv.DictReader(io.StringIO(data, newline="")))
    assert [(row["content"], row["label"]) for row in read] == [(content, label) for content, label, _ in rows]
    assert [row["confidence"] and float(row["confidence"]) for row in read] == [
        "" if sure is None else sure for *_, sure in rows
    ]


@given(st.lists(texts, min_size=2, max_size=9), st.integers(1, 8), st.sampled_from(formats.names()))
def test_the_bytes_do_not_depend_on_where_a_page_ends(contents, cut, name):
    rows = [page_row(content=content) for content in contents]
    cut = min(cut, len(rows) - 1)
    assert encoded(name, rows) == encoded(name, rows[:cut], rows[cut:])


def test_huggingface_and_alpaca_lines_are_what_python_s_own_json_writes():
    page = [page_row(content=content, label_name="Positif") for content in HOSTILE]
    for name in ("huggingface", "alpaca"):
        data = encoded(name, page)
        assert data == "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines(data)).encode()


@pytest.mark.parametrize(("value", "text"), [(1.0, "1.0"), (0.87, "0.87"), (0.0, "0.0"), (0.6667, "0.6667")])
def test_confidence_is_the_shortest_number_and_one_stays_a_float(value, text):
    assert f'"confidence":{text},'.encode() in encoded("json", [page_row(confidence=value)])
    assert f",{text},fr,".encode() in encoded("csv", [page_row(confidence=value)])


def test_a_row_without_a_verdict_has_nulls_in_json_and_empty_cells_in_csv():
    open_task = page_row(label_name=None, content="Bof.")
    assert encoded("json", [open_task]).endswith(
        b'"content":"Bof.","label":null,"confidence":null,"locale":"fr","validatedAt":null}]'
    )
    assert encoded("jsonl", [open_task]).endswith(b'"content":"Bof.","label":null}\n')
    assert encoded("csv", [open_task]).endswith(b',"Bof.",,,fr,\n')


def test_several_labels_are_a_list_in_json_their_json_text_in_csv_and_one_text_to_a_model():
    row = page_row(type="MULTI_LABEL", label_name="joie, peur", label_names='["joie","peur"]')
    context = formats.Context(labels={"peur": 0, "joie": 1})
    assert lines(encoded("jsonl", [row]))[0]["label"] == ["joie", "peur"]
    assert b',"[""joie"",""peur""]",' in encoded("csv", [row])
    assert lines(encoded("huggingface", [row], context=context)) == [
        {"text": "Ce produit est fantastique !", "label": ["joie", "peur"], "label_id": [1, 0]}
    ]
    assert lines(encoded("alpaca", [row]))[0]["output"] == "joie, peur"


def test_free_text_has_no_label_id_even_where_it_reads_like_a_label():
    row = page_row(type="TEXT_GENERATION", label_name="Positif")
    context = formats.Context(labels={"Positif": 0})
    assert lines(encoded("huggingface", [row], context=context))[0]["label_id"] is None


def test_a_label_that_the_map_did_not_foresee_gets_the_next_index():
    context = formats.Context(labels={"Positif": 0, "Négatif": 1})
    rows = [page_row(label_name="Neutre"), page_row(label_name="Négatif"), page_row(label_name="Neutre")]
    assert [row["label_id"] for row in lines(encoded("huggingface", rows, context=context))] == [2, 1, 2]
    assert context.labels == {"Positif": 0, "Négatif": 1, "Neutre": 2}


def test_prompts_speak_the_row_s_locale_its_language_or_english():
    def asked(locale):
        return lines(encoded("openai", [page_row(locale=locale, content="X")]))[0]["messages"][0]["content"]

    assert asked("fr") == asked("fr-CA") == "Analyse le sentiment : X"
    assert asked("zh") == asked("zh-hans") == "分析情感：X"
    assert asked("en") == asked("tlh") == "Analyse the sentiment: X"


def test_a_project_s_own_prompts_come_before_those_of_the_type():
    context = formats.Context(
        prompts={7: {"fr": {"chat": "« {content} » : positif ou négatif ?"}, "en": {"instruction": "Judge."}}}
    )
    mine, other = page_row(project=7, content="X"), page_row(project=8, content="X")

    def chat(row):
        return lines(encoded("openai", [row], context=context))[0]["messages"][0]["content"]

    def instruction(row):
        return lines(encoded("alpaca", [row], context=context))[0]["instruction"]

    assert chat(mine) == "« X » : positif ou négatif ?"
    assert chat(other) == "Analyse le sentiment : X"
    assert instruction(mine) == "Analyse le sentiment du texte suivant."
    assert instruction(page_row(project=7, locale="en")) == instruction(page_row(project=7, locale="pt")) == "Judge."


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({"fr": {"chat": "Sentiment ?"}}, "{content} is missing"),
        ({"fr": {"openai": "{content}"}}, "known: chat, instruction"),
        ({"fr": {"instruction": 3}}, "must be a text"),
        ({"fr": "{content}"}, 'write {"fr"'),
        ([], 'write {"fr"'),
    ],
)
def test_prompts_that_no_export_could_use_are_refused(prompts, said):
    with pytest.raises(BadPrompts, match="prompts of project tea") as refused:
        check_prompts(prompts, project="tea")
    assert said in refused.value.message


def test_formulas_go_out_as_they_are_unless_the_option_guards_them():
    rows = [page_row(content=text, label_name="@x") for text in ("=1+1", "+1", "-1", "@a", "plain", "a=b")]

    def contents(data):
        return [(row["content"], row["label"]) for row in csv.DictReader(io.StringIO(data.decode(), newline=""))]

    assert contents(encoded("csv", rows))[0] == ("=1+1", "@x")
    guarded = contents(encoded("csv", rows, guard_formulas=True))
    assert [content for content, _ in guarded] == ["'=1+1", "'+1", "'-1", "'@a", "plain", "a=b"]
    assert guarded[0][1] == "'@x"


def test_an_unknown_format_and_an_unknown_option_name_what_is_known():
    with pytest.raises(UnknownFormat, match="known: json, jsonl, csv, openai, huggingface, alpaca"):
        formats.get("JSONL")
    with pytest.raises(BadOptions, match="its options: guard_formulas"):
        formats.check_options(formats.get("csv"), {"delimiter": ";"})
    with pytest.raises(BadOptions, match="its options: none"):
        formats.check_options(formats.get("jsonl"), {"guard_formulas": True})
    with pytest.raises(BadOptions, match="true or false, not 'yes'"):
        formats.check_options(formats.get("csv"), {"guard_formulas": "yes"})
