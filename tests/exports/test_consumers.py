"""Files read by those they are made for: the tools themselves, offline, on files that batches wrote."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pyarrow.parquet
import pytest
from django.core.files.base import ContentFile
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"

from exports import batching  # noqa: E402
from exports.errors import MediaMissing  # noqa: E402
from labelhub.accounts.roles import Role  # noqa: E402
from samples.models import Sample, Task  # noqa: E402
from tests.factories import make_annotation, make_member, make_project, make_sample, make_samples  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)

SPLIT = "0.8/0.1/0.1"
TEXT_FORMATS = [
    "json", "jsonl", "csv", "parquet", "openai", "huggingface", "prompt-completion", "alpaca", "sharegpt", "label-studio",
]  # fmt: skip
PREFERENCE_FORMATS = ["openai-dpo", "trl-preference", "kto"]


def quietly(done, total, message=""):
    """Progress that nobody watches."""


def written(project, *, format, **asked):
    """A READY batch of all that is approved in `project`, and the bytes of its file."""
    user = make_member(project, Role.MANAGER)
    asked = {"allow_reexport": True, **asked}
    batch = batching.gather(Sample.objects.filter(project=project), by=user, format=format, **asked)
    batching.write(batch, quietly)
    file, _ = batching.open_file(batch)
    with file:
        return batch, file.read()


def unzipped(data, folder):
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


@pytest.fixture
def reviews():
    return make_samples(40, make_project("reviews", title='Reviews: "fr" & others', description="What people\nsaid."))


@pytest.fixture
def moods():
    project = make_project("moods", task_type="MULTI_LABEL", labels=["joie", "peur", "a | b: #c"])
    for number in range(20):
        names = ["joie", "peur"] if number % 2 else ["a | b: #c"]
        sample = make_sample(project, f"texte {number}", label=names[0])
        Sample.objects.filter(pk=sample.pk).update(
            label=None, label_name=", ".join(names), label_names=names, answer={"labels": names}
        )
    return project


@pytest.fixture
def preferences():
    project = make_project("better", task_type="PREFERENCE", labels=["x"], locale="en")
    for number in range(20):
        answer = {"chosen": f'Good "{number}"', "rejected": f"Bad\n{number}"}
        sample = make_sample(project, f"Prompt {number}", label="x")
        Sample.objects.filter(pk=sample.pk).update(label=None, label_name=answer["chosen"], answer=answer)
    return project


# Hugging Face datasets -------------------------------------------------------------------------------------------------


def loaded(*args, tmp_path, **options):
    import datasets

    return datasets.load_dataset(*args, cache_dir=str(tmp_path / "cache"), **options)


@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_datasets_loads_the_unzipped_bundle_as_its_card_says(reviews, format, tmp_path):
    batch, data = written(reviews, format=format, ratios=SPLIT, options={"bundle": True, "license": "cc-by-4.0"})
    folder = unzipped(data, tmp_path / "data")
    found = loaded(str(folder), tmp_path=tmp_path)
    assert {name: len(part) for name, part in found.items()} == {"train": 32, "validation": 4, "test": 4}
    if format in ("huggingface", "parquet"):
        feature = found["train"].features["label_id"]
        assert feature.names == ["Positif", "Négatif"]
        assert {row["label"]: feature.int2str(row["label_id"]) for row in found["train"]} == {
            "Positif": "Positif",
            "Négatif": "Négatif",
        }


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "parquet", "huggingface", "openai", "label-studio"])
def test_datasets_loads_a_bundle_of_several_labels(moods, format, tmp_path):
    _, data = written(moods, format=format, options={"bundle": True})
    found = loaded(str(unzipped(data, tmp_path / "data")), tmp_path=tmp_path)["train"]
    assert len(found) == 20
    if format in ("huggingface", "parquet"):
        assert found.features["label_id"].feature.names == ["joie", "peur", "a | b: #c"]
        assert found[1]["label_id"] == [0, 1]


@pytest.mark.parametrize(("format", "rows"), [("openai-dpo", 20), ("trl-preference", 20), ("kto", 40)])
def test_datasets_loads_a_bundle_of_preferences(preferences, format, rows, tmp_path):
    batch, data = written(preferences, format=format, options={"bundle": True})
    found = loaded(str(unzipped(data, tmp_path / "data")), tmp_path=tmp_path)["train"]
    assert len(found) == rows == batch.manifest["parts"][0]["rows"]
    # https://huggingface.co/docs/trl/dataset_formats names these columns; TRL itself needs torch and is not run here.
    columns = {"trl-preference": {"prompt", "chosen", "rejected"}, "kto": {"prompt", "completion", "label"}}
    assert set(found.column_names) == columns.get(format, set(found.column_names))
    if format == "kto":
        assert found["label"][:4] == [True, False, True, False]


@pytest.mark.parametrize("options", [{}, {"bundle": True}])
def test_a_parquet_file_alone_brings_its_class_label(reviews, options, tmp_path):
    _, data = written(reviews, format="parquet", options=options)
    path = tmp_path / "data.parquet"
    path.write_bytes(ZipFile(io.BytesIO(data)).read("data.parquet") if options else data)
    found = loaded("parquet", data_files=str(path), split="train", tmp_path=tmp_path)
    assert found.features["label_id"].names == ["Positif", "Négatif"]
    assert str(found.features["validated_at"].dtype).startswith("timestamp")
    assert pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(2).compression == "ZSTD"


def test_the_card_is_one_the_hub_reads_and_counts_the_labels(reviews):
    from huggingface_hub import DatasetCard

    make_annotation(Task.objects.first(), label="Positif")
    options = {"bundle": True, "license": "cc-by-4.0"}
    _, data = written(reviews, format="huggingface", ratios=SPLIT, stratify=True, options=options)
    text = ZipFile(io.BytesIO(data)).read("README.md").decode()
    card = DatasetCard(text)
    said = card.data.to_dict()
    assert (said["pretty_name"], said["license"], said["language"]) == ('Reviews: "fr" & others', "cc-by-4.0", ["fr"])
    assert said["task_categories"] == ["text-classification"]
    assert said["dataset_info"]["features"][2]["dtype"] == {"class_label": {"names": {"0": "Positif", "1": "Négatif"}}}
    assert "| 0 | Positif | 16 | 2 | 2 |" in text
    assert "Answers behind the labels: 1. Annotators: 1." in text


# Croissant -------------------------------------------------------------------------------------------------------------


def mlcroissant(*args, cwd):
    pytest.importorskip("mlcroissant")
    command = [os.path.join(os.path.dirname(sys.executable), "mlcroissant"), *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "parquet", "huggingface", "openai", "qianfan"])
def test_mlcroissant_validates_the_bundle_and_reads_its_records(reviews, format, tmp_path):
    mlc = pytest.importorskip("mlcroissant")
    _, data = written(reviews, format=format, ratios=SPLIT, options={"bundle": True})
    folder = unzipped(data, tmp_path / "data")
    dataset = mlc.Dataset(jsonld=str(folder / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    if format in ("qianfan", "openai"):
        return  # lists and objects, for which its reader has no words: the files are described, their columns are not
    records = list(dataset.records("test"))
    assert len(records) == 4
    values = {key.rpartition("/")[2]: value for key, value in records[0].items()}
    if format == "huggingface":
        assert values["label"] in (b"Positif", "Négatif".encode())
        assert values["label_id"] in (0, 1)


def test_the_command_line_of_mlcroissant_validates_the_bundle_and_finds_a_changed_file(reviews, tmp_path):
    _, data = written(reviews, format="huggingface", options={"bundle": True})
    folder = unzipped(data, tmp_path / "data")
    done = mlcroissant("validate", "--jsonld", "croissant.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    read = ["load", "--jsonld", "croissant.json", "--record_set", "samples", "--num_records", "2"]
    done = mlcroissant(*read, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "data.jsonl").write_bytes(b'{"text": "x", "label": "Positif", "label_id": 0}\n')
    assert mlcroissant(*read, cwd=folder).returncode != 0


# Providers' own checks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options"),
    [("openai", {}), ("openai", {"system_prompt": "Be brief."}), ("prompt-completion", {})],
)
def test_together_takes_the_file(reviews, format, options, tmp_path):
    files = pytest.importorskip("together.utils.files", reason="together<2 checks files without an account")
    _, data = written(reviews, format=format, options=options)
    (tmp_path / "a.jsonl").write_bytes(data)
    report = files.check_file(tmp_path / "a.jsonl")
    assert report["is_check_passed"], report["message"]
    assert report["num_samples"] == 40


@pytest.mark.parametrize("options", [{}, {"system_prompt": "Be brief."}])
def test_together_takes_the_preferences(preferences, options, tmp_path):
    files = pytest.importorskip("together.utils.files", reason="together<2 checks files without an account")
    _, data = written(preferences, format="openai-dpo", options=options)
    (tmp_path / "a.jsonl").write_bytes(data)
    report = files.check_file(tmp_path / "a.jsonl")
    assert report["is_check_passed"], report["message"]


@pytest.mark.parametrize("options", [{}, {"system_prompt": "Be brief."}])
def test_mistral_s_validator_takes_every_conversation(reviews, options):
    pytest.importorskip("mistral_common", reason="mistral-common is not installed")
    from mistral_common.protocol.instruct import messages as mistral
    from mistral_common.protocol.instruct.validator import ValidationMode, get_validator
    from mistral_common.tokens.tokenizers.base import TokenizerVersion

    kinds = {
        "system": mistral.SystemMessage,
        "user": mistral.UserMessage,
        "assistant": mistral.FinetuningAssistantMessage,
    }
    validator = get_validator(TokenizerVersion.v3, ValidationMode.finetuning)
    _, data = written(reviews, format="openai", options=options)
    lines = [json.loads(line) for line in data.splitlines()]
    for line in lines:
        validator.validate_messages([kinds[turn["role"]](content=turn["content"]) for turn in line["messages"]])
    with pytest.raises(Exception, match="(?i)role|last|assistant"):
        validator.validate_messages([mistral.UserMessage(content="alone")])


def test_qianfan_s_own_schema_takes_the_file(reviews, tmp_path):
    pytest.importorskip("pyarrow")
    schema = pytest.importorskip("qianfan.dataset.schema", reason="qianfan[dataset-base] is not installed")
    from qianfan.dataset import Dataset

    _, data = written(reviews, format="qianfan")
    (tmp_path / "a.jsonl").write_bytes(data)
    found = Dataset.load(data_file=str(tmp_path / "a.jsonl"))
    assert schema.QianfanNonSortedConversation().validate(found)
    assert len(found.list()) == 40


# CSV -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"guard_formulas": True}])
def test_frictionless_finds_nothing_wrong_with_a_csv_of_awkward_texts(moods, options, tmp_path):
    frictionless = pytest.importorskip("frictionless")
    awkward = ['say "hello", he said', "two\nlines and\r\nthree", "=1+1", ";tab\t", "汉字 \u2028 👩‍👩‍👧", '"', "  "]
    for sample, text in zip(Sample.objects.order_by("pk"), awkward, strict=False):
        Sample.objects.filter(pk=sample.pk).update(content=text)
    _, data = written(moods, format="csv", options=options)
    (tmp_path / "a.csv").write_bytes(data)
    report = frictionless.validate("a.csv", basepath=str(tmp_path))
    assert report.valid, report.flatten(["rowNumber", "fieldName", "note"])
    assert report.task.stats["rows"] == 20
    (tmp_path / "a.csv").write_bytes(data + b"one,cell,too,many,in,this,row,of,the,file\r\n")
    assert not frictionless.validate("a.csv", basepath=str(tmp_path)).valid


# Label Studio ----------------------------------------------------------------------------------------------------------


def test_label_studio_s_converter_reads_the_tasks_with_the_interface_of_the_bundle(moods, tmp_path):
    converter = pytest.importorskip("label_studio_sdk.converter", reason="label-studio-sdk wants numpy<2.3")
    _, data = written(moods, format="label-studio", options={"bundle": True})
    folder = unzipped(data, tmp_path / "data")
    tasks = json.loads((folder / "data.json").read_text())
    for number, task in enumerate(tasks, 1):  # what Label Studio adds when it imports them
        task["id"] = number
        for annotation in task["annotations"]:
            annotation.update(id=number, completed_by={"email": "a@example.org"}, was_cancelled=False)
    (folder / "tasks.json").write_text(json.dumps(tasks))
    reader = converter.Converter((folder / "label_config.xml").read_text(), str(folder))
    reader.convert_to_csv(str(folder / "tasks.json"), str(tmp_path / "out"), is_dir=False, sep=",")
    import csv

    with open(tmp_path / "out" / "result.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert json.loads(rows[1]["label"]) == {"choices": ["joie", "peur"]}
    assert rows[0]["label"] == "a | b: #c"


# LLaMA-Factory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "columns"),
    [
        ("alpaca", {"prompt": "instruction", "query": "input", "response": "output", "system": "system"}),
        ("sharegpt", {"messages": "conversations", "system": "system"}),
        ("openai", {"messages": "messages"}),
    ],
)
def test_llama_factory_finds_the_files_in_dataset_info(reviews, format, columns):
    """Its README lists the keys; the package itself needs torch and is not run here."""
    options = {"bundle": True, "system_prompt": "Be brief."}
    _, data = written(reviews, format=format, ratios=SPLIT, options=options)
    with ZipFile(io.BytesIO(data)) as archive:
        info = json.loads(archive.read("dataset_info.json"))
        assert [entry["file_name"] for entry in info.values()] == ["train.jsonl", "val.jsonl", "test.jsonl"]
        assert list(info) == ["reviews_train", "reviews_val", "reviews_test"]
        for entry in info.values():
            assert entry["columns"] == columns
            line = json.loads(archive.read(entry["file_name"]).splitlines()[0])
            assert set(columns.values()) <= set(line)


# Images ----------------------------------------------------------------------------------------------------------------

COLOURS = {"cat": (200, 40, 40), "dog/wolf": (40, 40, 200)}


def picture(colour, kind="JPEG"):
    out = io.BytesIO()
    Image.new("RGB", (20, 12), colour).save(out, kind)
    return out.getvalue()


@pytest.fixture
def pictures():
    project = make_project("pictures", task_type="IMAGE_CLASSIFICATION", labels=list(COLOURS))
    for number in range(10):
        label = list(COLOURS)[number % 2]
        sample = make_sample(project, f"image {number}", label=label)
        Sample.objects.filter(pk=sample.pk).update(sample_type="IMAGE")
        kind = "PNG" if number == 3 else "JPEG"
        sample.task.media.save(f"image-{number}.upload", ContentFile(picture(COLOURS[label], kind)))
    return project


def test_an_image_folder_is_loaded_with_its_labels(pictures, tmp_path):
    batch, data = written(pictures, format="imagefolder", ratios="0.6/0.2/0.2")
    folder = unzipped(data, tmp_path / "data")
    assert {path.name for path in (folder / "train").iterdir()} == {"cat", "dog_wolf"}
    found = loaded("imagefolder", data_dir=str(folder), tmp_path=tmp_path)
    assert {name: len(part) for name, part in found.items()} == {"train": 6, "validation": 2, "test": 2}
    names = found["train"].features["label"].names
    for row in found["train"]:
        red, _, blue = row["image"].convert("RGB").getpixel((5, 5))
        assert names[row["label"]] == ("cat" if red > blue else "dog_wolf")
    assert [part["rows"] for part in batch.manifest["parts"]] == [6, 2, 2]


def test_pycocotools_finds_every_image_and_its_category(pictures, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    _, data = written(pictures, format="coco", options={"bundle": True})
    folder = unzipped(data, tmp_path / "data")
    found = coco.COCO(str(folder / "annotations" / "instances.json"))
    assert [category["name"] for category in found.loadCats(found.getCatIds())] == list(COLOURS)
    assert len(found.getImgIds()) == 10
    for image in found.loadImgs(found.getImgIds()):
        path = folder / "images" / image["file_name"]
        with Image.open(path) as stored:
            assert stored.size == (image["width"], image["height"]) == (20, 12)
        [annotation] = found.loadAnns(found.getAnnIds(imgIds=[image["id"]]))
        label = Sample.objects.get(uid=path.stem).label_name
        assert found.loadCats([annotation["category_id"]])[0]["name"] == label
    assert {path.suffix for path in (folder / "images").iterdir()} == {".jpg", ".png"}


def test_images_that_are_only_addresses_are_left_out_with_a_warning_and_stay_free(pictures):
    far = make_sample(pictures, "https://example.org/1.jpg", label="cat")
    batch, data = written(pictures, format="imagefolder", allow_reexport=False)
    assert batch.sample_count == 10
    assert batch.warnings[0] == (
        "left out: 1 sample; the format imagefolder holds IMAGE_CLASSIFICATION with an image stored here: "
        "https://example.org/1.jpg"
    )
    assert not far.batch_items.exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda media: media.storage.delete(media.name), "is not stored any more"),
        (lambda media: Path(media.path).write_bytes(b"no image"), "is no image that can be read"),
    ],
)
def test_an_image_that_is_gone_or_is_none_fails_the_batch_naming_its_sample(pictures, spoil, said):
    sample = Sample.objects.order_by("pk")[4]
    spoil(sample.task.media)
    with pytest.raises(MediaMissing, match=f"{sample.uid} {said}"):
        written(pictures, format="coco")


# The bundle itself -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["huggingface", "parquet"])
def test_the_same_batch_gives_the_same_bytes(reviews, format):
    batch, data = written(reviews, format=format, ratios=SPLIT, options={"bundle": True})
    type(batch).objects.filter(pk=batch.pk).update(state="QUEUED")
    batching.write(batch, quietly)
    file, _ = batching.open_file(batch)
    with file:
        assert file.read() == data


def test_a_bundle_s_manifest_names_the_bytes_of_every_member(reviews):
    from hashlib import sha256

    _, data = written(reviews, format="jsonl", ratios=SPLIT, options={"bundle": True})
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == [
            "train.jsonl",
            "val.jsonl",
            "test.jsonl",
            "README.md",
            "croissant.json",
            "manifest.json",
        ]
        for part in json.loads(archive.read("manifest.json"))["parts"]:
            member = archive.read(part["name"])
            assert (part["bytes"], part["sha256"]) == (len(member), sha256(member).hexdigest())
