"""Shingles, similarity and the keys under which like texts meet: pure, on real data and on texts nobody would write."""

import csv
import unicodedata
from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.minhash import BANDS, band_keys, essence, jaccard, shingles, signatures

texts = st.text(st.characters(exclude_categories=[]), max_size=60)


def shingles_of(text):
    return shingles(essence(text))


def keys_of(*some, scope=1):
    return band_keys([essence(text) for text in some], [scope] * len(some))


def test_shingles_are_the_five_byte_slices():
    assert shingles_of("Carte, été") == {
        b"carte",
        b"arte ",
        b"rte \xc3",
        b"te \xc3\xa9",
        b"e \xc3\xa9t",
        b" \xc3\xa9t\xc3",
        b"\xc3\xa9t\xc3\xa9",
    }
    assert shingles_of("no") == {b"no\0\0\0"}
    assert shingles_of("") == frozenset()


@given(texts, texts)
def test_jaccard_is_a_share_and_the_same_both_ways(one, other):
    first, second = shingles_of(one), shingles_of(other)
    assert 0 <= jaccard(first, second) == jaccard(second, first) <= 1
    assert (jaccard(first, second) == 1) == (first == second)


@given(st.lists(texts.filter(essence), min_size=1, max_size=8))
def test_a_signature_is_the_least_over_the_shingles_of_the_text(several):
    def of_set(some):
        """The signature of a text is that of its shingles, each signed as a text of its own, taken together."""
        return np.min([signatures([shingle])[0] for shingle in sorted(some)], axis=0)

    signed = signatures([essence(text) for text in several])
    for text, row in zip(several, signed, strict=True):
        assert (of_set(shingles_of(text)) == row).all()


@given(texts)
def test_a_text_is_wholly_like_itself(text):
    assert jaccard(shingles_of(text), shingles_of(text)) == 1.0


@given(st.lists(texts.filter(essence), min_size=1, max_size=8))
def test_a_text_has_the_same_keys_whatever_stands_beside_it(several):
    together = keys_of(*several)
    assert together.shape == (len(several), BANDS)
    for text, keys in zip(several, together, strict=True):
        assert (keys_of(text)[0] == keys).all()


@pytest.mark.parametrize(
    "other",
    [
        "I STILL have not received my card!!!",
        "  i still\thave not received, my card",
        "Ｉ ｓｔｉｌｌ have not received my card",
    ],
)
def test_case_spaces_width_and_punctuation_make_no_difference(other):
    assert essence(other) == essence("I still have not received my card?")


def test_signs_and_accents_do_make_one():
    assert len({essence(text) for text in ("costs £5", "costs $5", "costs 5", "coûts 5", "costs 😀5")}) == 5


def test_a_text_of_punctuation_alone_is_compared_as_it_is():
    assert essence("?!") == b"?!"
    assert essence(" \n") == b""
    assert not shingles_of(" \n")


def test_a_changed_character_leaves_a_chinese_sentence_a_near_duplicate():
    sentence = "我上个星期申请的银行卡现在还没有收到"
    assert jaccard(shingles_of(sentence), shingles_of(sentence.replace("现", "到"))) > 0.7


def test_the_keys_are_those_of_every_version_before():
    # These numbers are in people's databases. If this fails, a migration must empty the index.
    first = [keys[0] for keys in keys_of("I still have not received my card", "我还没有收到我的新银行卡").tolist()]
    assert first == [-1884415387478360309, -3899832303962575432]


def test_another_scope_has_other_keys():
    assert not set(keys_of("the same text").ravel()) & set(keys_of("the same text", scope=2).ravel())


def test_a_text_far_too_long_counts_by_its_beginning():
    beginning = "".join(chr(0x4E00 + number % 20_000) for number in range(20_000))
    assert essence(beginning + "tail") == essence(beginning)


@pytest.fixture(scope="module")
def banking(real_data):
    def read(part):
        with (real_data / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            return [row["text"] for row in csv.DictReader(file)]

    return read("train"), read("test")


def test_the_share_of_equal_rows_estimates_the_similarity(banking):
    _, some = banking
    signed = signatures([essence(text) for text in some])
    sets = [shingles_of(text) for text in some]
    pairs = [(i, i + gap) for gap in (1, 2, 3) for i in range(1000)]
    truth = np.array([jaccard(sets[i], sets[j]) for i, j in pairs])
    guess = np.array([(signed[i] == signed[j]).mean() for i, j in pairs])
    assert abs((guess - truth).mean()) < 0.005
    assert np.abs(guess - truth).max() < 0.35


def test_signing_is_fast_enough_for_an_import(banking):
    train, test = banking
    essences = [essence(text) for text in train + test]
    keys_of("warm")
    began = process_time()
    band_keys(essences, [1] * len(essences))
    assert len(essences) / (process_time() - began) > 10_000


def test_normalising_is_unicode_s_own():
    assert essence("ﬁancé") == unicodedata.normalize("NFKC", "fiancé").encode()
