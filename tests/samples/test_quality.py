"""The figures of a text, worked out by hand from their definitions, and what they say about real texts."""

import csv
from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import quality

# Words ----------------------------------------------------------------------------------------------------------------


def test_words_stand_between_spaces_and_lose_the_signs_around_them():
    assert quality.words("«Hello», world!\n\t– it’s 2026 -- well-made.", "en") == [
        "Hello",
        "world",
        "it’s",
        "well-made",
    ]


def test_chinese_words_are_cut_by_a_dictionary():
    # The definition counts 一, 上 and 士 among the signs, for they look like dashes and crosses.
    assert quality.words("我今天买了一个手机。", "zh") == ["我", "今天", "买", "了", "个", "手机"]


def test_chinese_is_seen_whatever_the_locale_says():
    assert quality.measure("我今天买了一个手机。", "en").word_number == 6
    assert not quality.is_chinese("あなたは漢字が好きですか") and not quality.is_chinese("저는 漢字 공부")
    assert not quality.is_chinese("The word 手机 means a telephone that one carries around")


# Repetition -----------------------------------------------------------------------------------------------------------


def test_repetition_is_the_share_of_the_most_repeated_runs():
    # "abcabcabc" has seven runs of three: abc ×3, bca ×2, cab ×2. √3 rounds down to one, so the first counts: 3 of 7.
    assert quality.repetition("abcabcabc", 3) == 3 / 7
    assert quality.repetition("a" * 24, 10) == 1.0
    assert quality.repetition("abcdefghijklm", 10) == 0.0
    assert quality.repetition("short", 10) == 0.0


@given(text=st.text(alphabet="abé文", max_size=60), length=st.integers(1, 10))
def test_repetition_is_what_its_definition_says(text, length):
    runs = [text[start : start + length] for start in range(len(text) - length + 1)]
    counts = sorted((runs.count(run) for run in set(runs)), reverse=True)
    most = min(isqrt(len(counts)), len(counts) - counts.count(1))
    assert quality.repetition(text, length) == (sum(counts[:most]) / len(runs) if runs else 0.0)


# Special characters and flagged words ---------------------------------------------------------------------------------


def test_punctuation_digits_space_signs_and_emoji_are_special():
    assert quality.special_share("ab 1, ✓😀\u00a0") == 7 / 9
    assert quality.special_share("été文") == 0.0 == quality.special_share("")
    assert len(quality.special_characters()) == pytest.approx(1_642, abs=60)  # grows with Unicode's emoji


def test_flagged_words_are_counted_in_any_case_and_without_signs():
    assert quality.measure("What a SHIT, parcel!", "en").flagged_word_ratio == 1 / 4
    assert quality.measure("Quelle merde", "fr-CA").flagged_word_ratio == 1 / 2
    assert quality.measure("What a nice parcel", "en").flagged_word_ratio == 0.0


def test_two_chinese_words_may_be_flagged_together_and_one_character_never():
    listed = quality.flagged_words("zh")
    word = min((word for word in listed if len(word) == 2), key=ord_of)
    assert quality.flagged_share([word[0], word[1]], "zh") == 1 / 2
    assert quality.flagged_share([word, word], "zh") == 1.0
    assert not any(len(word) == 1 for word in listed)


def ord_of(word):
    return [ord(sign) for sign in word]


def test_a_language_without_a_list_has_no_flagged_words():
    assert quality.flagged_words("xx") == frozenset()
    assert quality.measure("shit", "xx").flagged_word_ratio == 0.0


# Language -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Le colis est arrivé après neuf jours d’attente.", "fr"),
        ("The parcel arrived after nine days of waiting.", "en"),
        ("包裹等了九天才到。", "zh"),
        ("昨天買的耳機壞了", "zh"),
        ("あなたは漢字が好きですか", "ja"),
        ("THE PARCEL ARRIVED\nAFTER NINE DAYS", "en"),
    ],
)
def test_the_language_is_told(text, language):
    told, probability = quality.recognised(text)
    assert told == language and 0.5 < probability <= 1.0


@pytest.mark.parametrize("text", ["", "42 !!", "\n", "😀"])
def test_a_text_without_letters_has_no_language(text):
    assert quality.recognised(text) == ("", 0.0)


@given(text=st.text(max_size=300), locale=st.sampled_from(["en", "fr", "zh", "xx", "zh-Hant"]))
def test_every_text_can_be_measured(text, locale):
    figures = quality.measure(text, locale)
    ratios = (
        figures.repetitive_char_ratio,
        figures.special_char_ratio,
        figures.flagged_word_ratio,
        figures.language_probability,
    )
    assert all(0.0 <= ratio <= 1.0 for ratio in ratios)
    assert figures.character_number == len(text) and figures.word_number <= len(text)


def test_real_sentences_are_in_the_language_of_their_file(real_data):
    for folder, language in {"eng_Latn": "en", "fra_Latn": "fr", "zho_Hans": "zh", "zho_Hant": "zh"}.items():
        with (real_data / "sib200" / folder / "test.tsv").open(encoding="utf-8") as file:
            texts = [row["text"] for row in csv.DictReader(file, delimiter="\t")]
        told = [quality.recognised(text)[0] == language for text in texts]
        assert len(told) > 150 and sum(told) / len(told) > 0.98
