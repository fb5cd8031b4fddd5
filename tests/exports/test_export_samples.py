"""manage.py export_samples: a plain export into a file of one's choice."""

import io
import json
from hashlib import sha256
from zipfile import ZipFile

import pytest
from django.core.management import CommandError, call_command

from exports.models import Batch, BatchItem
from tests.factories import make_project, make_sample, make_samples

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_samples(20, make_project("reviews"))


def export(output, **options):
    said = io.StringIO()
    call_command("export_samples", **{"project": "reviews", "format": "jsonl"} | options, output=output, stdout=said)
    return said.getvalue()


def test_it_writes_the_approved_samples_and_says_what_it_wrote(project, tmp_path):
    make_sample(project, status="PENDING")
    make_sample()
    said = export(tmp_path / "deep" / "out.jsonl")
    data = (tmp_path / "deep" / "out.jsonl").read_bytes()
    assert data.count(b"\n") == 20
    assert said == f"{tmp_path / 'deep' / 'out.jsonl'}: 20 rows, {len(data)} bytes, sha256 {sha256(data).hexdigest()}\n"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.jsonl"]


def test_it_makes_no_batch_and_claims_nothing(project, tmp_path):
    export(tmp_path / "out.jsonl")
    assert not Batch.objects.exists()
    assert not BatchItem.objects.exists()


def test_with_a_split_it_writes_a_zip_and_counts_every_part(project, tmp_path):
    said = export(tmp_path / "out.zip", format="huggingface", split="0.8/0.1/0.1", stratify=True, seed="3")
    with ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["train.jsonl", "val.jsonl", "test.jsonl"]
        assert [archive.read(name).count(b"\n") for name in archive.namelist()] == [16, 2, 2]
    assert "train.jsonl: 16 rows" in said
    assert "test.jsonl: 2 rows" in said


def test_another_status_can_be_asked_for(project, tmp_path):
    make_sample(project, "encore", status="PENDING")
    export(tmp_path / "out.json", format="json", status="PENDING")
    assert [row["content"] for row in json.loads((tmp_path / "out.json").read_bytes())] == ["encore"]


def test_it_replaces_a_file_only_when_forced(project, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(CommandError, match="is there already; --force replaces it"):
        export(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    export(tmp_path / "out.jsonl", force=True)
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"project": "nobody"}, "no project is called 'nobody'"),
        ({"format": "xml"}, "unknown format 'xml'; known: json"),
        ({"split": "0.8/0.2"}, "a split has three shares"),
        ({"split": "0.8/0.1/0.2"}, "not to exactly 1"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence_and_no_file_is_left(project, tmp_path, options, said):
    with pytest.raises(CommandError, match=said):
        export(tmp_path / "out.jsonl", **options)
    assert list(tmp_path.glob("**/*.jsonl")) == []


def test_a_path_that_cannot_be_written_is_refused_in_one_sentence(project, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written"):
        export(tmp_path / "file" / "out.jsonl")
    with pytest.raises(CommandError, match="is a folder"):
        export(tmp_path)


def test_a_bundle_is_a_zip_with_a_card_and_the_options_are_those_of_the_format(project, tmp_path):
    said = export(tmp_path / "out.zip", format="sharegpt", bundle=True, license="mit", system_prompt="Sois bref.")
    with ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == [
            "data.jsonl",
            "README.md",
            "croissant.json",
            "manifest.json",
            "dataset_info.json",
        ]
        assert json.loads(archive.read("data.jsonl").splitlines()[0])["system"] == "Sois bref."
        assert b'license: "mit"' in archive.read("README.md")
    assert "data.jsonl: 20 rows" in said
    with pytest.raises(CommandError, match="jsonl has no option 'system_prompt'; its options: bundle, license"):
        export(tmp_path / "other.jsonl", system_prompt="Sois bref.")
    assert not (tmp_path / "other.jsonl").exists()


def test_the_card_does_not_call_approved_what_is_not(project, tmp_path):
    make_sample(project, "encore", status="PENDING")
    for status, said in (("APPROVED", b"Every sample was approved"), ("PENDING", b"Not every sample was approved")):
        export(tmp_path / f"{status}.zip", status=status, bundle=True)
        with ZipFile(tmp_path / f"{status}.zip") as archive:
            assert said in archive.read("README.md")


def test_what_a_batch_would_be_refused_for_is_a_warning_here(tmp_path):
    make_samples(4, make_project("reviews"))
    complaints = io.StringIO()
    export(tmp_path / "out.jsonl", format="openai", stderr=complaints)
    assert complaints.getvalue() == "warning: OpenAI takes at least 10 examples to train on; there are 4\n"
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 4
