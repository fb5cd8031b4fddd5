"""Files of every kind become rows; what cannot be read gets one clear error."""

import gzip
import io
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.errors import BadFile, BadRow
from samples.intake import MAX_LINE_BYTES, Layout
from samples.intake.reading import read


def rows_of(data, name="file.jsonl", **layout):
    data = data.encode() if isinstance(data, str) else data
    return list(read(io.BytesIO(data), name=name, layout=Layout(**layout)))


def refusal(data, name="file.jsonl", **layout):
    with pytest.raises(BadFile) as caught:
        rows_of(data, name, **layout)
    return caught.value.message


def test_csv_cells_may_hold_quotes_commas_and_line_ends_and_lines_are_counted_as_they_stand():
    text = 'id,text\n1,"a ""b"", c"\n2,"two\nlines"\n\n3,last\n'
    assert rows_of(text, "a.csv") == [
        (2, {"id": "1", "text": 'a "b", c'}),
        (3, {"id": "2", "text": "two\nlines"}),
        (6, {"id": "3", "text": "last"}),
    ]


def test_tsv_takes_stray_quotes_as_they_are_and_unwraps_cells_quoted_from_end_to_end():
    text = 'text\tlabel\n" The film\t1\nwas "good"\t0\n"""Yes,"" she said."\t1\nno closing"\t0\n'
    assert [row["text"] for _, row in rows_of(text, "a.tsv")] == [
        '" The film',
        'was "good"',
        '"Yes," she said.',
        'no closing"',
    ]


def test_quotes_can_be_switched_on_in_tsv_and_off_in_csv():
    assert rows_of('a\tb\n"x\ty\nz"\t1\n', "a.tsv", quotes="always") == [(2, {"a": "x\ty\nz", "b": "1"})]
    assert rows_of('a,b\n"x,1\n', "a.csv", quotes="never") == [(2, {"a": '"x', "b": "1"})]
    assert "auto, always or never" in refusal("a\n", "a.csv", quotes="sometimes")


def test_only_a_line_feed_ends_a_line():
    text = "one\x85two\u2028three\x0bfour\t1\r\nnext\t0\r\n"
    assert rows_of(text, "a.tsv", header=False) == [
        (1, {"1": "one\x85two\u2028three\x0bfour", "2": "1"}),
        (2, {"1": "next", "2": "0"}),
    ]
    line = json.dumps({"text": "a\u2028b\x85c"}, ensure_ascii=False)
    assert rows_of(f"{line}\n{line}\n") == [(1, {"text": "a\u2028b\x85c"}), (2, {"text": "a\u2028b\x85c"})]


def test_json_is_an_array_or_objects_one_after_another():
    objects = [{"text": "a", "n": 1}, {"text": "b\n", "n": [1.0]}]
    array = json.dumps(objects, indent=2)
    assert [row for _, row in rows_of(array, "a.json")] == objects
    assert [line for line, _ in rows_of(array, "a.json")] == [2, 6]
    lines = "\n".join(json.dumps(one) for one in objects)
    assert rows_of(lines, "a.json") == [(1, objects[0]), (2, objects[1])]
    assert rows_of(json.dumps(objects[0], indent=1), "a.json") == [(1, objects[0])]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_numbers_keep_their_kind_and_every_digit(name):
    text = '{"a": 1, "b": 1.0, "c": 123456789012345678901234567890, "d": [-0.5, 1e2, null, true], "e": 18446744073709551617}'
    [(_, row)] = rows_of(text, name)
    assert repr(row) == repr(
        {
            "a": 1,
            "b": 1.0,
            "c": 123456789012345678901234567890,
            "d": [-0.5, 100.0, None, True],
            "e": 18446744073709551617,
        }
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
objects = st.lists(st.dictionaries(st.text(max_size=8), values, max_size=4), min_size=1, max_size=6)


class Trickle(io.BytesIO):
    """A file that gives a few bytes at a time, as a slow pipe does."""

    def read(self, size=-1):
        return super().read(min(size, 7) if size and size > 0 else size)


@given(objects, st.sampled_from([None, 1]))
def test_a_json_array_reads_the_same_however_its_bytes_arrive(objects, indent):
    data = json.dumps(objects, ensure_ascii=True, indent=indent).encode()
    assert [row for _, row in read(Trickle(data), name="a.json", layout=Layout())] == objects


@given(
    st.lists(st.lists(st.text(alphabet=st.characters(exclude_characters="\0\r"), min_size=1), min_size=2, max_size=2))
)
def test_whatever_the_csv_module_writes_is_read_back(table):
    import csv

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["a", "b"], *table])
    if not table:
        assert "no rows" in refusal(out.getvalue().encode("utf-8", "replace"), "a.csv")
        return
    data = out.getvalue().encode("utf-8", "surrogatepass")
    try:
        data.decode()
    except UnicodeDecodeError:
        assert "is not UTF-8" in refusal(data, "a.csv")
    else:
        assert [list(row.values()) for _, row in rows_of(data, "a.csv")] == table


def test_gzip_is_unpacked_on_the_way():
    assert rows_of(gzip.compress(b"text\nhello\n"), "a.csv.gz") == [(2, {"text": "hello"})]
    assert rows_of(gzip.compress(b'{"text": "hello"}\n'), "a.jsonl.gz") == [(1, {"text": "hello"})]
    packed = gzip.compress(random.Random(0).randbytes(20_000).hex().encode())
    assert "damaged gzip" in refusal(packed[: len(packed) // 2], "a.csv.gz")
    assert "damaged gzip" in refusal(b"text\nhello\n", "a.csv.gz")


def test_parquet_values_come_as_they_are():
    pyarrow = pytest.importorskip("pyarrow", reason="the extra “parquet” is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": ["a", "b"], "n": [1, 2], "x": [1.0, None], "nested": [{"id": 2**60}, None]})
    out = io.BytesIO()
    parquet.write_table(table, out)
    heard = []
    rows = list(read(out, name="a.parquet", layout=Layout(), progress=heard.append))
    assert rows[0] == (1, {"text": "a", "n": 1, "x": 1.0, "nested": {"id": 2**60}})
    assert rows[1] == (2, {"text": "b", "n": 2, "x": None, "nested": None})
    assert sum(heard) == len(out.getvalue())
    assert "not a Parquet file" in refusal(b"PAR1 but no more", "a.parquet")


def test_without_pyarrow_a_parquet_file_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "labelhub[parquet]" in refusal(b"PAR1", "a.parquet")


def test_progress_hears_every_byte():
    heard = []
    data = b'{"text": "hello"}\n' * 50_000
    assert len(list(read(io.BytesIO(data), name="a.jsonl", layout=Layout(), progress=heard.append))) == 50_000
    assert sum(heard) == len(data) and len(heard) > 2


# What cannot be read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "a.csv", "is empty"),
        (b"\xef\xbb\xbf", "a.csv", "no rows"),
        (b"id,text\n", "a.csv", "no rows"),
        (b"\n \n", "a.jsonl", "no rows"),
        (b"[]", "a.json", "no rows"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a.csv", "a PNG image"),
        (b"PK\x03\x04....", "a.csv", "a ZIP archive"),
        (b"PAR1....", "a.csv", "must end in .parquet"),
        (gzip.compress(b"text\n", mtime=0), "a.csv", "must end in .gz"),
        (b"text\nab\0c\n", "a.csv", "byte 7 is NUL"),
        ("text\nhé\n".encode("utf-16"), "a.csv", "--encoding utf-16"),
        (b"text\nok\nh\xe9\n", "a.csv", "line 3 is not UTF-8: byte 9 of the text is 0xE9"),
        (b'{"text": "ok"}\n{"text": "h\xe9"}\n', "a.jsonl", "line 2 is not UTF-8: byte 26"),
        (b'[{"text": "ok"},\n{"text": "h\xe9"}]', "a.json", "line 2 is not UTF-8: byte 28"),
        (b"a,a\n1,2\n", "a.csv", "two columns are called 'a'"),
        (b'a,b\n1,"never closed\n2,x\n', "a.csv", "line 2: a quoted cell that begins here is not closed"),
        (b'a,b\n1,"x"y\n', "a.csv", "line 2: a quote inside a quoted cell is not doubled"),
        (b"text\rone\rtwo\r", "a.csv", "line 1: a carriage return stands alone"),
        (b'[{"text": "a"}, {"text": ]', "a.json", "line 1: not JSON"),
        (b'[{"text": "a"},\n{"text": "b"}', "a.json", "line 2: not JSON: the file ends where"),
        (b'[{"text": "a"},\n 7]', "a.json", "line 2: not JSON: '7' stands where an object should begin"),
        (b'[{"text": "a"}]\n[]', "a.json", "line 2: not JSON: there is more after the array"),
        (b'[{"text": "a"}\n{"text": "b"}]', "a.json", "line 2: not JSON: '{' stands where"),
        (b"hello\n", "a.json", "line 1: not JSON: 'h' stands"),
        (b"text\n", "a.docx", "unknown ending; known: .csv, .tsv"),
    ],
)
def test_a_file_that_cannot_be_read_gets_one_clear_error(data, name, words):
    assert words in refusal(data, name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
def test_a_line_of_ten_megabytes_stops_the_reading(name):
    start = {"a.jsonl": b'{"text": "a"}\n{"text": "', "a.json": b'[{"text": "a"},\n{"text": "'}.get(name, b"text\n")

    class Endless(io.RawIOBase):
        given = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            data = start if not self.given else b"x" * len(buffer)
            buffer[: len(data)] = data
            self.given += len(data)
            return len(data)

    endless = Endless()
    with pytest.raises(BadFile, match=r"^line 2.*longer than 5,000,000 bytes"):
        list(read(endless, name=name, layout=Layout()))
    assert endless.given < 4 * MAX_LINE_BYTES, "the rest of the file is not read"


def test_another_encoding_can_be_named():
    assert rows_of("text\nélan\n".encode("latin-1"), "a.csv", encoding="latin-1") == [(2, {"text": "élan"})]
    assert rows_of("text\n中文\n".encode("gb18030"), "a.csv", encoding="gb18030") == [(2, {"text": "中文"})]
    assert rows_of("text\n中文\n".encode("utf-16"), "a.csv", encoding="utf-16") == [(2, {"text": "中文"})]
    assert rows_of("\ufefftext\na\n", "a.csv", encoding="utf-8-sig") == [(2, {"text": "a"})]
    assert "unknown encoding 'klingon'" in refusal(b"text\n", "a.csv", encoding="klingon")
    assert "is not gb18030" in refusal(b"text\n\xff\xff\n", "a.csv", encoding="gb18030")


def test_a_row_that_cannot_be_read_does_not_end_the_file():
    rows = rows_of('{"text": "a"}\nnonsense\n[1]\n{"x": NaN}\n{"n": ' + "9" * 5_000 + '}\n{"text": "b"}\n')
    reasons = {line: row.message for line, row in rows if isinstance(row, BadRow)}
    assert [line for line, row in rows if isinstance(row, dict)] == [1, 6]
    assert reasons[2].startswith("not JSON: Expecting value at column 1")
    assert reasons[3] == "not a JSON object"
    assert reasons[4] == "not JSON: NaN is not JSON"
    assert "not JSON" in reasons[5]
    ragged = rows_of("a,b\n1,2\n1\n1,2,3\n3,4\n", "a.csv")
    assert [line for line, row in ragged if isinstance(row, BadRow)] == [3, 4]
    assert ragged[2][1].message == "3 cells where there are 2 columns"


def test_nesting_without_end_is_a_row_error():
    [(line, row)] = rows_of("[" * 100_000)
    assert line == 1 and isinstance(row, BadRow)


@pytest.mark.parametrize("number", ["12345678901234567890123456789", "1.0", "1", "-0.5", "1E5", "18446744073709551616"])
def test_numbers_in_json_lines_keep_their_kind_and_every_digit(number):
    line = b'{"text": "a", "n": ' + number.encode() + b"}\n"
    [(_, row)] = read(io.BytesIO(line), name="rows.jsonl", layout=Layout())
    assert repr(row["n"]) == repr(json.loads(number))
