"""The model of characters: its chances add up, it never tells what it has read, and it knows real texts from noise."""

import csv
import random
from bisect import bisect_left, bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import perplexity

short = st.text(alphabet="abc é中", max_size=12)


def chance(model, context, character):
    return 2 ** -model.bits([(perplexity.START + context)[-3:] + character])


@given(st.lists(short, max_size=6), short)
def test_the_chances_of_all_that_may_follow_make_one(texts, context):
    model = perplexity.Model(texts)
    read = set("".join(texts))
    # What was never read counts as one character, whichever it is.
    total = sum(chance(model, context, character) for character in read) + chance(model, context, "\U0010abcd")
    assert total == pytest.approx(1)


@given(st.lists(short, max_size=6), short.filter(bool))
def test_the_bits_of_a_text_are_those_of_its_characters_one_by_one(texts, text):
    model = perplexity.Model(texts)
    product = 1.0
    bits = 0.0
    for at, character in enumerate(text):
        product *= chance(model, text[:at], character)
        bits += model.bits([(perplexity.START + text[:at])[-3:] + character])
    told = model.surprise(text)
    assert told.bits_per_byte * len(text.encode()) == pytest.approx(bits)
    assert told.perplexity == pytest.approx(product ** (-1 / len(text)))


def test_the_chances_are_those_of_witten_and_bell():
    model = perplexity.Model(["ab", "ac"])
    anything = 1 / 4  # a, b, c or one that was never read
    alone = (1 + 3 * anything) / (4 + 3)  # b: one of four characters, of three kinds
    after_a = (1 + 2 * alone) / (2 + 2)  # “a” was followed twice, by two kinds
    for _ in range(2):  # so were “the first, a” and what stands before it
        after_a = (1 + 2 * after_a) / (2 + 2)
    assert chance(model, "a", "b") == pytest.approx(after_a)


def test_an_empty_text_has_no_surprise_and_a_broken_character_some():
    model = perplexity.Model(["abc"])
    assert model.surprise("") is None
    assert model.surprise("\ud800").bits_per_byte > 0


@pytest.mark.parametrize("held_out", range(perplexity.FOLDS))
def test_a_model_has_not_read_the_fold_it_tells(held_out):
    folds = [[f"only in {letter * 9}"] for letter in "vwxyz"]
    model = perplexity.model_without(held_out, folds)
    others = perplexity.Model(text for at, texts in enumerate(folds) if at != held_out for text in texts)
    for texts in folds:
        assert model.surprise(texts[0]) == others.surprise(texts[0])
    own = model.surprise(folds[held_out][0]).bits_per_byte
    assert all(model.surprise(folds[at][0]).bits_per_byte < own for at in range(5) if at != held_out)


def test_texts_are_drawn_evenly_and_into_the_fold_they_are_told_in(monkeypatch):
    monkeypatch.setattr(perplexity, "MOST_DRAWN", 100)
    keys = [(number, f"{number:016x}") for number in range(5000)]
    folds = perplexity.drawn(keys)
    assert [len(ids) for ids in folds] == [100] * 5
    assert all(perplexity.fold(keys[number][1]) == at for at, ids in enumerate(folds) for number in ids)
    assert perplexity.drawn(reversed(keys)) == folds
    assert 2000 < sum(map(sum, folds)) / 500 < 3000


def test_a_model_reads_no_more_than_is_good_for_the_memory(monkeypatch):
    monkeypatch.setattr(perplexity, "MOST_LEARNT", 10)
    monkeypatch.setattr(perplexity, "MOST_READ", 8)
    folds = [[], ["a" * 100, "bbbb", "c"]]
    assert perplexity.model_without(0, folds).surprise("aab") == perplexity.Model(["a" * 8, "bb"]).surprise("aab")


@pytest.mark.parametrize(
    ("texts", "among"), [(0, None), (199, None), (200, 200), (299, 200), (300, 300), (449, 300), (450, 450), (675, 675)]
)
def test_a_new_model_is_due_with_half_as_many_texts_again(texts, among):
    assert perplexity.tier(texts) == among


# Real texts -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sentences(real_data):
    """A function: 600 sentences of SIB-200 in a language."""

    def read(language):
        with open(real_data / "sib200" / language / "train.tsv", encoding="utf-8", newline="") as file:
            return [row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][:600]

    return read


def auc(real, damaged):
    """How often a damaged text is more surprising than a real one."""
    real = sorted(real)
    return sum(bisect_left(real, one) + bisect_right(real, one) for one in damaged) / (2 * len(real) * len(damaged))


@pytest.mark.parametrize(
    ("language", "others"),
    [
        ("eng_Latn", ["fra_Latn", "zho_Hans"]),
        ("fra_Latn", ["eng_Latn", "zho_Hans"]),
        ("zho_Hans", ["eng_Latn", "fra_Latn"]),
    ],
)
def test_real_texts_surprise_less_than_damaged_and_foreign_ones(language, others, sentences):
    chosen = random.Random(7)
    folds = [[] for _ in range(perplexity.FOLDS)]
    for number, text in enumerate(sentences(language)):
        folds[perplexity.fold(str(number))].append(text)
    models = [perplexity.model_without(held_out, folds) for held_out in range(perplexity.FOLDS)]

    def told(damage):
        return [
            model.surprise(damage(text)).bits_per_byte
            for model, texts in zip(models, folds, strict=True)
            for text in texts
        ]

    real = told(str)
    assert auc(real, told(lambda text: "".join(chosen.sample(text, len(text))))) > 0.95
    assert auc(real, told(lambda text: "".join(chosen.choices("asdfghjkl; ", k=len(text))))) > 0.99
    for other in others:
        assert auc(real, [models[0].surprise(text).bits_per_byte for text in sentences(other)]) > 0.99
    in_sample = [models[0].surprise(text).bits_per_byte for text in folds[1]]
    assert sum(in_sample) / len(in_sample) < 0.9 * sum(real) / len(real)  # which is why nothing tells what it read


def test_perplexity_a_character_takes_english_among_chinese_for_easy(sentences):
    model = perplexity.Model(sentences("zho_Hans")[:480])
    real, foreign = (
        [model.surprise(text) for text in texts] for texts in (sentences("zho_Hans")[480:], sentences("eng_Latn"))
    )
    assert auc([one.perplexity for one in real], [one.perplexity for one in foreign]) < 0.2
    assert auc([one.bits_per_byte for one in real], [one.bits_per_byte for one in foreign]) > 0.99
