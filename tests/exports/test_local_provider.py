"""The local trainer: what it learns from an exported file, what it refuses, what it leaves behind."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from exports import formats, providers, splits
from exports.errors import Unsuitable
from exports.providers import linear_model, local
from exports.providers.examples import Examples, held_out, train_and_test
from exports.providers.scores import interval, score

from .training import banking, batch_of, opinions, project_of, sib, uci

ROOT = Path(__file__).resolve().parents[2]
LOCAL = providers.get("local")
OF_LABELLED_TEXTS = [
    name
    for name in formats.names()
    if formats.get(name).takes is None or "SENTIMENT_ANALYSIS" in formats.get(name).takes
]


class Unfollowed:
    """Nobody looks how the training goes."""

    def __call__(self, done, total, message=""):
        pass

    def tell(self, events):
        pass


def trained(batch, **hyperparameters):
    finetune = SimpleNamespace(batch=batch, hyperparameters=hyperparameters, uuid=f"of-{batch.pk}")
    return LOCAL.train(finetune, Unfollowed())


# Real texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_it_learns_what_people_like_from_the_exported_file(real_data):
    """UCI sentiment: 3,000 sentences."""
    batch = batch_of(uci(real_data), format="openai")
    metrics = trained(batch).metrics
    assert metrics["accuracy"] >= 0.80
    assert metrics["log_loss"] < 0.45
    assert batch.sample_count > 2900  # some sentences stand there twice
    assert (metrics["n_train"], metrics["n_test"]) == tuple(
        splits.sizes(batch.sample_count, splits.parse("0.8/0.1/0.1"))[::2]
    )
    assert metrics["confusion"]["labels"] == metrics["labels"] == ["1", "0"]
    assert sum(map(sum, metrics["confusion"]["rows"])) == metrics["n_test"]


@pytest.mark.parametrize(("language", "least"), [("zho_Hans", 0.70), ("fra_Latn", 0.65), ("eng_Latn", 0.68)])
def test_it_reads_languages_that_write_no_spaces(real_data, language, least):
    """SIB-200: 701 sentences, seven topics; the test is the authors' own."""
    train, test = list(sib(real_data, language, "train")), list(sib(real_data, language, "test"))
    labels = sorted({label for _, label in train})
    model = linear_model.fit([text for text, _ in train], [[label] for _, label in train], labels=labels)
    right = [guess == [label] for guess, (_, label) in zip(model.predict([t for t, _ in test]), test, strict=True)]
    assert sum(right) / len(right) >= least


def test_it_tells_seventy_seven_intents_apart(real_data):
    """banking77: 10,003 texts to learn from, 3,080 to be judged by."""
    train, test = list(banking(real_data, "train")), list(banking(real_data, "test"))
    labels = sorted({label for _, label in train})
    model = linear_model.fit([text for text, _ in train], [[label] for _, label in train], labels=labels)
    chances = model.predict_proba([text for text, _ in test])
    figures = score([[label] for _, label in test], model.chosen(chances), chances, labels=labels)
    assert figures["accuracy"] >= 0.90
    assert figures["macro_f1"] >= 0.90
    assert figures["log_loss"] < 0.45
    assert figures["ece"] < 0.10
    sure = {point["threshold"]: point for point in figures["coverage"]}[0.8]
    assert sure["coverage"] > 0.7
    assert sure["accuracy"] > 0.97


# What it reads --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("format", "options"),
    [
        *((name, {}) for name in OF_LABELLED_TEXTS),
        ("csv", {"guard_formulas": True}),
        ("openai", {"system_prompt": "Good or Bad?", "bundle": True}),
    ],
)
def test_every_format_gives_back_the_texts_and_labels_that_went_in(format, options):
    rows = {**dict(opinions(36)), "=1+1, they said": "Good", 'line\nbreak, "quotes" and 好': "Bad"}
    batch = batch_of(rows.items(), format=format, ratios="0.5/0/0.5", options=options)
    train, test = train_and_test(batch)
    assert (len(train), len(test)) == (19, 19)
    found = zip(train.texts + test.texts, train.answers + test.answers, strict=True)
    assert dict(found) == {text: [label] for text, label in rows.items()}


@pytest.mark.django_db
def test_a_file_in_one_piece_has_a_fifth_held_out_and_the_metrics_say_so():
    metrics = trained(batch_of(opinions(), ratios=None)).metrics
    assert (metrics["n_train"], metrics["n_test"]) == (64, 16)
    assert metrics["test"] == "a fifth of the batch, held out by a keyed hash"


@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=5), st.text(max_size=3), st.randoms())
def test_what_is_held_out_depends_on_texts_and_seed_alone_and_copies_stay_together(texts, seed, random):
    shuffled = random.sample(texts, len(texts))
    first = held_out(Examples(texts, [["x"]] * len(texts)), seed=seed)
    again = held_out(Examples(shuffled, [["x"]] * len(texts)), seed=seed)
    assert [sorted(part.texts) for part in first] == [sorted(part.texts) for part in again]
    assert sorted(first[0].texts + first[1].texts) == sorted(texts)
    assert not set(first[0].texts) & set(first[1].texts)
    assert len(set(first[1].texts)) == max(1, round(len(set(texts)) / 5))


def test_copies_of_one_text_leave_nothing_to_learn_from():
    train, test = held_out(Examples(["same"] * 10, [["Good"], ["Bad"]] * 5), seed="0")
    with pytest.raises(Unsuitable, match="0 texts to learn from and 10 others to judge the model by"):
        local._labels(train, test, SimpleNamespace())


@pytest.mark.django_db
def test_several_labels_a_text_are_learnt_one_by_one():
    rows = [(text, [label, "About a book"] if "book" in text else [label]) for text, label in opinions(200)]
    batch = batch_of(rows, task_type="MULTI_LABEL", labels=("Good", "Bad", "About a book"), format="csv")
    metrics = trained(batch).metrics
    assert metrics["labels"] == ["Good", "Bad", "About a book"]
    assert metrics["accuracy"] >= 0.85
    assert 0.85 <= metrics["micro_f1"] <= 1
    assert "confusion" not in metrics
    model = local.load(f"models/of-{batch.pk}")
    assert set(model.predict(["book 500: very disappointed, avoid"])[0]) == {"Bad", "About a book"}


# What it refuses ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([("Say hello", "Hello")] * 1, {"task_type": "TEXT_GENERATION"}, "TEXT_GENERATION has answers in free text"),
        (
            [(f"{number}.png", "Cat" if number % 2 else "Dog") for number in range(20)],
            {"task_type": "IMAGE_CLASSIFICATION"},
            "20 of the batch’s 20 pictures are not kept here",
        ),
        (opinions(8), {"ratios": None}, "the batch has 8 samples in one file; a fifth is held out"),
        (opinions(20), {"ratios": "1/0/0"}, "test part is empty: there is nothing to judge the model by"),
        (opinions(20), {"ratios": "0/0.5/0.5", "stratify": False}, "train part is empty: there is nothing to learn"),
        ([(text, "Good") for text, _ in opinions(20)], {}, "all texts to learn from are labelled 'Good'; it takes two"),
    ],
)
def test_it_says_why_it_cannot_train(rows, more, said):
    with pytest.raises(Unsuitable, match=said):
        LOCAL.check(batch_of(list(rows), **more))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 3}, "no hyperparameter 'epochs'; it has C and seed"),
        ({"C": 0}, "C is a number above 0"),
        ({"C": "much"}, "C is a number above 0"),
        ({"C": float("nan")}, "C is a number above 0"),
        ({"seed": -1}, "seed is a whole number"),
        ({"seed": True}, "seed is a whole number"),
    ],
)
def test_it_refuses_hyperparameters_it_does_not_have(given, said):
    with pytest.raises(Unsuitable, match=said):
        LOCAL.check(SimpleNamespace(), hyperparameters=given)


def test_it_refuses_a_base_model():
    with pytest.raises(Unsuitable, match="has one model and starts from nothing; leave out 'gpt'"):
        LOCAL.check(SimpleNamespace(), model="gpt")


# What it leaves behind ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_same_batch_and_seed_give_the_same_bytes_and_another_seed_others(tmp_path):
    batch = batch_of(((text, label) for text, label in opinions(120)))
    folder = storages["default"]

    def files(**hyperparameters):
        path = trained(batch, **hyperparameters).artefact
        return [folder.open(f"{path}/{name}").read() for name in (linear_model.MODEL, linear_model.WEIGHTS)]

    first = files()
    assert files() == first
    assert files(seed=1)[1] != first[1]


@pytest.mark.django_db
def test_the_model_on_disk_answers_like_the_one_in_memory_and_is_no_pickle():
    batch = batch_of(opinions())
    result = trained(batch)
    train, test = train_and_test(batch)
    model = local.load(result.artefact)
    again = linear_model.fit(train.texts, train.answers, labels=("Good", "Bad"))
    assert np.array_equal(model.predict_proba(test.texts), again.predict_proba(test.texts))
    names = storages["default"].listdir(result.artefact)[1]
    assert sorted(names) == ["metrics.json", "model.json", "model.safetensors"]
    with storages["default"].open(f"{result.artefact}/model.safetensors") as file:
        head = int.from_bytes(file.read(8), "little")
        assert json.loads(file.read(head))["weights"]["dtype"] == "F32"
    with storages["default"].open(f"{result.artefact}/metrics.json") as file:
        assert json.load(file) == result.metrics


@pytest.mark.django_db
def test_a_model_that_cannot_be_read_back_the_same_is_not_accepted():
    batch = batch_of(opinions())
    train, test = train_and_test(batch)
    model = linear_model.fit(train.texts, train.answers, labels=("Good", "Bad"))
    other = linear_model.fit(train.texts[:30], train.answers[:30], labels=("Good", "Bad"))
    local.keep("models/mixed-up", other.to_files())
    with pytest.raises(RuntimeError, match="does not answer like the one that was trained"):
        local._check_kept("models/mixed-up", model, test.texts)


def test_a_model_of_a_later_release_is_refused_by_name():
    texts, labels = zip(*opinions(20), strict=True)
    files = linear_model.fit(texts, [[label] for label in labels], labels=("Good", "Bad")).to_files()
    files[linear_model.MODEL] = files[linear_model.MODEL].replace(b'"layout":1', b'"layout":2')
    with pytest.raises(ValueError, match="a model of layout 2; this release reads layout 1"):
        linear_model.LinearModel.from_files(files)


def test_django_starts_without_scikit_learn():
    """It takes a second to load; only a run or a prediction pays for it."""
    program = "import django, sys; django.setup(); import exports.finetuning; sys.exit('sklearn' in sys.modules)"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "labelhub.settings"}
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment).returncode == 0


# The model itself -----------------------------------------------------------------------------------------------------


def test_a_label_with_too_few_examples_for_three_folds_is_learnt_another_way_and_named():
    texts, labels = zip(*opinions(60), strict=True)
    texts, answers = (
        [*texts, "where is my parcel", "my parcel is late"],
        [*([name] for name in labels), ["Late"], ["Late"]],
    )
    names = ["Good", "Bad", "Late"]
    assert linear_model.rare(answers, names) == ["Late"]
    model = linear_model.fit(texts, answers, labels=names)
    assert model.predict(["where is my parcel"]) == [["Late"]]
    assert np.allclose(model.predict_proba(texts).sum(axis=1), 1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text("ab 好", min_size=1, max_size=8), st.sampled_from("xyz")), min_size=2, max_size=12))
def test_whatever_it_is_given_its_answers_are_probabilities(rows):
    texts = [f"w{text}" for text, _ in rows]
    labels = sorted({label for _, label in rows})
    if len(labels) < 2:
        return
    for several in (False, True):
        model = linear_model.fit(texts, [[label] for _, label in rows], labels=labels, several=several)
        chances = model.predict_proba([*texts, "", "something else"])
        assert ((chances >= 0) & (chances <= 1)).all()
        assert several or np.allclose(chances.sum(axis=1), 1)
        assert all(model.predict(["something else"]))


def test_progress_only_grows_and_names_the_stages():
    told = []
    texts, labels = zip(*opinions(60), strict=True)
    linear_model.fit(
        texts,
        [[name] for name in labels],
        labels=("Good", "Bad"),
        report=lambda share, doing: told.append((share, doing)),
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    stages = " ".join(doing for _, doing in told)
    for stage in ("words", "characters", "fold 1 of 3", "fold 3 of 3", "all texts"):
        assert stage in stages


def test_a_run_that_is_told_to_stop_stops_in_the_middle():
    class Stop(Exception):
        pass

    def report(share, doing):
        if "fold 2" in doing:
            raise Stop

    texts, labels = zip(*opinions(60), strict=True)
    with pytest.raises(Stop):
        linear_model.fit(texts, [[name] for name in labels], labels=("Good", "Bad"), report=report)


def test_probabilities_mean_what_they_say():
    """Of the texts it gives 70 % to 90 %, about four in five are right: scores are calibrated on texts not seen."""
    rng = np.random.default_rng(0)

    def texts(count):
        for _ in range(count):
            label = rng.integers(2)
            words = rng.choice(["red", "blue"], size=5, p=[0.65, 0.35] if label else [0.35, 0.65])
            yield " ".join([*words, str(rng.integers(50))]), ["warm" if label else "cold"]

    train, test = list(texts(1500)), list(texts(1500))
    model = linear_model.fit(*zip(*train, strict=True), labels=("warm", "cold"))
    chances = model.predict_proba([text for text, _ in test])
    sure = (chances.max(axis=1) > 0.7) & (chances.max(axis=1) < 0.9)
    truth = np.array([model.labels.index(answer[0]) for _, answer in test])
    assert sure.sum() > 300
    assert abs((chances.argmax(axis=1) == truth)[sure].mean() - chances.max(axis=1)[sure].mean()) < 0.08


# The scores -----------------------------------------------------------------------------------------------------------


def test_the_scores_are_those_one_counts_by_hand():
    truth = [["a"], ["a"], ["a"], ["b"]]
    guesses = [["a"], ["a"], ["b"], ["b"]]
    chances = np.array([[0.8, 0.2], [0.5, 0.5], [0.4, 0.6], [0.1, 0.9]])
    figures = score(truth, guesses, chances, labels=["a", "b"])
    assert figures["accuracy"] == 0.75
    assert figures["per_label"]["a"] == {"precision": 1.0, "recall": 0.6667, "f1": 0.8, "support": 3}
    assert figures["per_label"]["b"] == {"precision": 0.5, "recall": 1.0, "f1": 0.6667, "support": 1}
    assert figures["macro_f1"] == 0.7333
    assert figures["confusion"] == {"labels": ["a", "b"], "rows": [[2, 1], [0, 1]]}
    assert figures["log_loss"] == round(-float(np.log([0.8, 0.5, 0.4, 0.9]).mean()), 4)


def test_calibration_and_coverage_are_those_one_counts_by_hand():
    truth = [["a"], ["a"], ["a"], ["b"]]
    guesses = [["a"], ["a"], ["b"], ["b"]]
    chances = np.array([[0.85, 0.15], [0.55, 0.45], [0.35, 0.65], [0.08, 0.92]])
    figures = score(truth, guesses, chances, labels=["a", "b"])
    # Four bins with one text each: |.85-1|, |.55-1|, |.65-0| and |.92-1|, on the average.
    assert figures["ece"] == round((0.15 + 0.45 + 0.65 + 0.08) / 4, 4)
    curve = {point["threshold"]: (point["coverage"], point["accuracy"]) for point in figures["coverage"]}
    assert curve[0.0] == curve[0.5] == (1.0, 0.75)
    assert curve[0.6] == (0.75, 0.6667)
    assert curve[0.8] == (0.5, 1.0)
    assert curve[0.95] == (0.0, None)


def test_of_several_labels_each_chance_is_judged():
    chances = np.array([[0.95, 0.25], [0.65, 0.05]])
    figures = score([["a"], []], [["a"], ["a"]], chances, labels=["a", "b"], several=True)
    assert figures["ece"] == round((0.05 + 0.25 + 0.65 + 0.05) / 4, 4)
    assert figures["coverage"][0] == {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.5}
    curve = {point["threshold"]: point for point in figures["coverage"]}
    assert curve[0.7] == {"threshold": 0.7, "coverage": 0.5, "accuracy": 1.0}


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.floats(0, 1)).map(lambda row: (row[0], [row[1], 1 - row[1]])), min_size=1
    )
)
def test_whatever_was_said_the_error_is_a_share_and_a_higher_threshold_covers_less(rows):
    chances = np.array([row for _, row in rows])
    guesses = [["ab"[row.argmax()]] for row in chances]
    figures = score([[label] for label, _ in rows], guesses, chances, labels=["a", "b"])
    assert 0 <= figures["ece"] <= 1
    covered = [point["coverage"] for point in figures["coverage"]]
    assert covered == sorted(covered, reverse=True)
    assert covered[0] == 1


def test_a_label_it_never_saw_counts_as_missed():
    figures = score([["a"], ["new"]], [["a"], ["a"]], np.array([[1.0, 0.0], [0.6, 0.4]]), labels=["a", "b"])
    assert figures["accuracy"] == 0.5
    assert figures["per_label"]["new"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert figures["confusion"]["labels"] == ["a", "b", "new"]
    assert figures["macro_f1"] == 0.3333  # of a and new; b occurs nowhere


def test_with_several_labels_a_text_counts_as_right_only_with_all_of_them():
    truth, guesses = [["a", "b"], ["a"]], [["a"], ["a"]]
    figures = score(truth, guesses, np.array([[0.9, 0.4], [0.9, 0.1]]), labels=["a", "b"], several=True)
    assert (figures["accuracy"], figures["micro_f1"]) == (0.5, 0.8)


def test_the_interval_is_wilson_s():
    low, high = interval(15, 19)
    assert (round(low, 3), round(high, 3)) == (0.567, 0.915)  # R: prop.test(15, 19, correct = FALSE)
    assert interval(0, 10)[0] == 0
    assert interval(10, 10)[1] == 1


# Pictures -------------------------------------------------------------------------------------------------------------


def picture(pixels, **how):
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, **{"format": "PNG", **how})
    return file.getvalue()


def batch_of_pictures(pictures, **more):
    """A batch of (bytes, label), each kept with its task as an upload would leave it."""
    rows = [(f"{number:04}.png", label) for number, (_, label) in enumerate(pictures)]
    project = project_of(rows, task_type="IMAGE_CLASSIFICATION")
    contents = {name: content for (name, _), (content, _) in zip(rows, pictures, strict=True)}
    for task in project.tasks.all():
        task.media.save(task.content, ContentFile(contents[task.content]))
    return batch_of([], project=project, **more)


@pytest.mark.django_db
def test_it_tells_handwritten_digits_apart():
    """The digits that scikit-learn brings along, 8 x 8 pixels each."""
    digits = load_digits()
    drawn = [(picture(image * 15), str(digit)) for image, digit in zip(digits.images, digits.target, strict=True)][:900]
    batch = batch_of_pictures(drawn)
    result = trained(batch)
    assert result.metrics["accuracy"] >= 0.90
    assert (result.metrics["n_train"], result.metrics["n_test"]) == (720, 90)
    assert result.events[1]["message"].startswith("720 pictures to learn from, 90 to be judged by, 10 labels")
    model = local.load(result.artefact)
    names = list(batch.project.tasks.values_list("media", flat=True)[:3])
    assert model.predict_proba(local.pictures_of(names)).shape == (3, 10)


def test_it_tells_real_photographs_from_their_negatives(real_data):
    """BCCD: blood under the microscope, pink; its negatives are green. Colours and places, JPEG and PNG alike."""
    from exports.providers.image_features import LENGTH, rows_of

    files = sorted((real_data / "bccd" / "JPEGImages").glob("*.jpg"))
    photographs = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    contents = [picture(255 - image if number % 2 else image) for number, image in enumerate(photographs)]
    rows = rows_of((str(number), io.BytesIO(content)) for number, content in enumerate(contents))
    assert rows.shape == (len(files), LENGTH)
    assert ((rows >= 0) & (rows <= 1)).all()
    labels = ["negative" if number % 2 else "photograph" for number in range(len(files))]
    cut = len(files) * 2 // 3
    model = linear_model.fit(rows[:cut], [[label] for label in labels[:cut]], labels=("photograph", "negative"))
    assert model.predict(rows[cut:]) == [[label] for label in labels[cut:]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_picture_of_any_kind_has_its_features(mode):
    from exports.providers.image_features import LENGTH, features

    drawn = Image.new("L", (30, 20), 128).convert(mode) if mode != "I;16" else Image.new("I;16", (30, 20), 3000)
    file = io.BytesIO()
    drawn.save(file, "TIFF" if mode in ("CMYK", "I;16") else "PNG")
    assert features(file).shape == (LENGTH,)


@pytest.mark.django_db
@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
def test_a_file_that_is_no_picture_is_named(content):
    name = storages["default"].save("tasks/broken.png", ContentFile(content))
    with pytest.raises(Unsuitable, match="tasks/broken.png: it cannot be read as a picture"):
        local.pictures_of([name])
    with pytest.raises(Unsuitable, match="the picture tasks/none.png is gone"):
        local.pictures_of(["tasks/none.png"])


@pytest.mark.django_db
def test_a_picture_that_would_unfold_to_gigabytes_is_not_opened():
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    name = storages["default"].save("tasks/bomb.png", ContentFile(file.getvalue()))
    with pytest.raises(Unsuitable, match="tasks/bomb.png"):
        local.pictures_of([name])
