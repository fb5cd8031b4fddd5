"""What the encoders write, read back by Python's own json and csv."""

import csv
import io
import json
from datetime import UTC, datetime

import pyarrow.parquet
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
OF_ROWS = [name for name in formats.names() if not isinstance(formats.get(name), formats.Folders)]
PREFERRED = '{"chosen":"A \\"good\\" one","rejected":"Ça ira"}'
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


@given(st.lists(texts, min_size=2, max_size=9), st.integers(1, 8), st.sampled_from(OF_ROWS))
def test_the_bytes_do_not_depend_on_where_a_page_ends(contents, cut, name):
    rows = [page_row(content=content, answer=PREFERRED) for content in contents]
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
    with pytest.raises(
        UnknownFormat, match="known: json, jsonl, csv, parquet, openai, openai-dpo, huggingface, prompt-"
    ):
        formats.get("JSONL")
    with pytest.raises(BadOptions, match="its options: bundle, guard_formulas, license"):
        formats.check_options(formats.get("csv"), {"delimiter": ";"})
    with pytest.raises(BadOptions, match="its options: bundle, license"):
        formats.check_options(formats.get("jsonl"), {"guard_formulas": True})
    with pytest.raises(BadOptions, match="true or false, not 'yes'"):
        formats.check_options(formats.get("csv"), {"guard_formulas": "yes"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"system_prompt": ""}, "is a text, not ''"),
        ({"system_prompt": 3}, "is a text, not 3"),
        ({"system_prompt": "x" * 20_001}, "has at most 20,000 characters, not 20,001"),
        ({"system_prompt": "\ud800"}, "holds a character that no file can hold"),
        ({"license": "mit"}, "is for the card of a bundle; set 'bundle' too"),
        ({"bundle": 1}, "is true or false, not 1"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, said):
    with pytest.raises(BadOptions) as refused:
        formats.check_options(formats.get("openai"), options)
    assert said in refused.value.message


# What each format shows, as its reader documents it ------------------------------------------------------------------

POSITIVE = page_row(content="Bon", label_name="Positif")
BETTER = page_row(
    type="PREFERENCE", content="Say hello", label_name="Hello!", answer='{"chosen":"Hello!","rejected":"No"}'
)


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        (
            "sharegpt",
            POSITIVE,
            {
                "conversations": [
                    {"from": "human", "value": "Analyse le sentiment : Bon"},
                    {"from": "gpt", "value": "Positif"},
                ]
            },
        ),
        (
            "openai-dpo",
            BETTER,
            {
                "input": {"messages": [{"role": "user", "content": "Say hello"}]},
                "preferred_output": [{"role": "assistant", "content": "Hello!"}],
                "non_preferred_output": [{"role": "assistant", "content": "No"}],
            },
        ),
        (
            "trl-preference",
            BETTER,
            {
                "prompt": [{"role": "user", "content": "Say hello"}],
                "chosen": [{"role": "assistant", "content": "Hello!"}],
                "rejected": [{"role": "assistant", "content": "No"}],
            },
        ),
        ("prompt-completion", POSITIVE, {"prompt": "Analyse le sentiment : Bon", "completion": "Positif"}),
        ("qianfan", POSITIVE, [{"prompt": "Analyse le sentiment : Bon", "response": [["Positif"]]}]),
    ],
)
def test_a_record_looks_as_its_reader_documents_it(name, row, expected):
    assert lines(encoded(name, [row])) == [expected]


def test_a_preference_is_two_lines_of_kto():
    assert lines(encoded("kto", [BETTER])) == [
        {"prompt": "Say hello", "completion": "Hello!", "label": True},
        {"prompt": "Say hello", "completion": "No", "label": False},
    ]


@pytest.mark.parametrize("labels", [["Positif"], ["Positif", "Neutre"]])
def test_label_studio_is_told_every_label(labels):
    several = json.dumps(labels) if len(labels) > 1 else None
    row = page_row(content="Bon", label_name=", ".join(labels), label_names=several)
    [task] = json.loads(encoded("label-studio", [row]))
    assert task["data"] == {"text": "Bon", "id": "0123456789abcdef", "locale": "fr"}
    assert task["annotations"] == [
        {
            "result": [
                {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": labels}},
            ]
        }
    ]


def test_a_system_prompt_comes_first_where_one_is_given_and_leaves_no_trace_where_none_is():
    told = {"system_prompt": 'Be "brief".'}
    assert lines(encoded("openai", [POSITIVE], **told))[0]["messages"][0] == {
        "role": "system",
        "content": 'Be "brief".',
    }
    assert [turn["role"] for turn in lines(encoded("openai", [POSITIVE]))[0]["messages"]] == ["user", "assistant"]
    assert lines(encoded("openai-dpo", [BETTER], **told))[0]["input"]["messages"][0]["role"] == "system"
    assert lines(encoded("trl-preference", [BETTER], **told))[0]["prompt"][0]["role"] == "system"
    for name in ("sharegpt", "alpaca"):
        assert lines(encoded(name, [POSITIVE], **told))[0]["system"] == 'Be "brief".'
        assert "system" not in lines(encoded(name, [POSITIVE]))[0]


def test_a_parquet_file_has_typed_columns_and_the_shares_in_the_order_of_the_label_map():
    context = formats.Context(labels={"Négatif": 0, "Positif": 1}, types=frozenset({"SENTIMENT_ANALYSIS"}))
    row = page_row(content="Bon", confidence=0.75, validated_at="2026-05-25T10:05:00Z")
    table = pyarrow.parquet.read_table(io.BytesIO(encoded("parquet", [row], context=context)))
    assert table.to_pylist() == [
        {
            "id": "0123456789abcdef",
            "type": "SENTIMENT_ANALYSIS",
            "text": "Bon",
            "label": "Positif",
            "label_id": 1,
            "soft_label": [0.25, 0.75],
            "confidence": 0.75,
            "locale": "fr",
            "validated_at": datetime(2026, 5, 25, 10, 5, tzinfo=UTC),
        }
    ]


@given(st.lists(st.tuples(texts, texts, confidences), min_size=1, max_size=5))
def test_whatever_the_text_parquet_reads_back_what_went_in(rows):
    page = [page_row(content=content, label_name=label, confidence=sure) for content, label, sure in rows]
    table = pyarrow.parquet.read_table(io.BytesIO(encoded("parquet", page)))
    assert [(row["text"], row["label"], row["confidence"]) for row in table.to_pylist()] == rows


def test_several_labels_are_lists_in_every_row_of_a_parquet_file():
    context = formats.Context(labels={"peur": 0, "joie": 1}, types=frozenset({"MULTI_LABEL", "TEXT_GENERATION"}))
    rows = [
        page_row(type="MULTI_LABEL", label_name="joie, peur", label_names='["joie","peur"]'),
        page_row(type="TEXT_GENERATION", label_name="Un mot."),
        page_row(type="MULTI_LABEL", label_name=None, vote_shares=None),
    ]
    table = pyarrow.parquet.read_table(io.BytesIO(encoded("parquet", rows, context=context))).to_pydict()
    assert table["label"] == [["joie", "peur"], ["Un mot."], None]
    assert table["label_id"] == [[1, 0], None, None]
