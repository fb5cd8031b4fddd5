"""DLoopIQ's own examples of GET /api/v1/exports: the same rows give the same bytes.

`golden/` holds the examples as the contract's page shows them. Five are compared byte for byte; that of `json` is broken
into lines for people, so it is compared as read, with the order of its keys.
"""

import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from exports import archive, formats
from tests.exports.pages import page_row

GOLDEN = Path(__file__).parent / "golden"

PRODUCT = {
    "content": "Ce produit est fantastique !",
    "label_name": "Positif",
    "confidence": 0.87,
    "validated_at": "2026-05-25T10:05:00Z",
}
SERVICE = {"content": "Service catastrophique", "label_name": "Négatif"}
IMAGE = {"type": "BINARY_CHOICE", "content": "Cette image est-elle appropriée ?", "label_name": "Oui"}


def exported(format, rows):
    context = formats.Context(labels={"Positif": 0, "Négatif": 1})
    return b"".join(formats.encode(formats.get(format), [rows], context))


def test_json_is_an_array_with_the_contract_s_keys_in_their_order():
    ours = exported("json", [page_row(uid="cmpkb4ghw00016qduu44p7n2q", **PRODUCT)])
    theirs = (GOLDEN / "export.json").read_bytes()
    assert json.loads(ours, object_pairs_hook=list) == json.loads(theirs, object_pairs_hook=list)
    assert ours == json.dumps(json.loads(theirs), ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("format", "golden", "rows"),
    [
        ("jsonl", "export.jsonl", [PRODUCT, IMAGE]),
        ("csv", "export.csv", [PRODUCT]),
        ("openai", "openai.jsonl", [PRODUCT, SERVICE]),
        ("huggingface", "huggingface.jsonl", [PRODUCT, SERVICE]),
        ("alpaca", "alpaca.jsonl", [PRODUCT]),
    ],
)
def test_the_contract_s_example_comes_out_byte_for_byte(format, golden, rows):
    assert exported(format, [page_row(uid="cmpkb...", **row) for row in rows]) == (GOLDEN / golden).read_bytes()


def test_a_split_is_a_zip_of_train_val_and_test_in_this_order(tmp_path):
    target = tmp_path / "export.zip"
    target.write_bytes(
        b"".join(
            archive.zipped((f"{part}.jsonl", [b"{}\n"] if part == "train" else []) for part in ("train", "val", "test"))
        )
    )
    with ZipFile(target) as opened:
        assert opened.namelist() == ["train.jsonl", "val.jsonl", "test.jsonl"]
        assert opened.read("val.jsonl") == b""


def test_an_empty_export_is_an_empty_file_an_empty_array_or_a_header():
    def nothing(name):
        return b"".join(formats.encode(formats.get(name), [], formats.Context()))

    assert nothing("json") == b"[]"
    assert nothing("csv") == b"id,type,content,label,confidence,locale,validatedAt\n"
    assert [nothing(name) for name in ("jsonl", "openai", "huggingface", "alpaca")] == [b""] * 4
