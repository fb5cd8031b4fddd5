"""The real data sets, through the door a user takes."""

import re
from collections import Counter
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from samples.models import Project, Sample, Task

pytestmark = pytest.mark.django_db

EMOTIONS = ["anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust"]  # Plutchik's, 1 to 8
EMOTION_MAP = ",".join(f"{number}={name}" for number, name in enumerate(EMOTIONS, 1))


def bring_in(path, **options):
    """(created, unchanged, skipped), as the command's last line says."""
    out, err = StringIO(), StringIO()
    call_command("import_tasks", str(path), stdout=out, stderr=err, **options)
    words = re.sub("[,:;]", "", out.getvalue()).split()
    return tuple(int(words[words.index(word) - 1]) for word in ("created", "unchanged", "skipped"))


def label_counts():
    return Counter(Sample.objects.values_list("label_name", flat=True))


def test_uci_sentiment(real_data):
    """Three files of 1,000 lines. Amazon's first is a header; 17 sentences stand there twice, with the same label."""
    folder = real_data / "uci_sentiment"
    same = {
        "project": "uci",
        "create": True,
        "type": "SENTIMENT_ANALYSIS",
        "labels": "Positive,Negative",
        "label_map": "1=Positive,0=Negative",
    }
    amazon = {"content_field": "Review", "label_field": "Liked", "source": "amazon"} | same
    numbered = {"no_header": True, "content_field": "1", "label_field": "2"} | same
    assert bring_in(folder / "amazon_cells_labelled.txt", **amazon) == (989, 10, 0)
    assert bring_in(folder / "yelp_labelled.txt", source="yelp", **numbered) == (996, 4, 0)
    assert bring_in(folder / "imdb_labelled.txt", source="imdb", **numbered) == (997, 3, 0)
    assert label_counts() == {"Positive": 1490, "Negative": 1492}
    assert bring_in(folder / "imdb_labelled.txt", source="imdb", **numbered) == (0, 1000, 0)
    assert Task.objects.count() == Sample.objects.pending().count() == 2982
    contents = set(Task.objects.values_list("content", flat=True))
    assert any(content.startswith('" The structure of this film') for content in contents), "a stray quote is kept"
    assert any("\x85" in content for content in contents), "U+0085 ends no line"


def test_banking77(real_data):
    folder = real_data / "banking77"
    same = {"project": "banking", "create": True, "type": "TEXT_CLASSIFICATION"}
    assert bring_in(folder / "train.csv", **same) == (10_003, 0, 0)
    assert bring_in(folder / "test.csv", **same) == (3_080, 0, 0)
    project = Project.objects.get(name="banking")
    labels = list(project.labels.values_list("name", flat=True))
    assert len(labels) == 77 and labels[0] == "card_arrival"
    assert set(Sample.objects.values_list("label_index", flat=True)) == set(range(77))
    assert label_counts().most_common(1) == [("card_payment_fee_charged", 227)]
    assert Task.objects.filter(content__contains="\n").count() == 13, "cells that span lines"
    assert bring_in(folder / "test.csv", **same) == (0, 3_080, 0)


def test_sib200_in_three_languages(real_data):
    """The sentences are parallel: index_id is shared between languages, so it is no id here but metadata."""
    same = {"project": "sib", "create": True, "type": "TEXT_CLASSIFICATION", "label_field": "category"}
    for folder, locale in (("eng_Latn", "en"), ("fra_Latn", "fr"), ("zho_Hans", "zh")):
        for part, rows in (("train", 701), ("dev", 99), ("test", 204)):
            path = real_data / "sib200" / folder / f"{part}.tsv"
            assert bring_in(path, locale=locale, source=folder, **same) == (rows, 0, 0)
    assert Counter(Task.objects.values_list("locale", flat=True)) == {"en": 1004, "fr": 1004, "zh": 1004}
    listed = (real_data / "sib200" / "labels.txt").read_text().split()
    assert set(label_counts()) == set(listed)
    assert {count % 3 for count in label_counts().values()} == {0}, "every language has the same topics"
    shared = Counter(metadata["index_id"] for metadata in Task.objects.values_list("metadata", flat=True))
    assert len(shared) == 1004 and set(shared.values()) == {3}
    quoted = Task.objects.get(content__startswith='"She’s very cute')
    assert quoted.content.endswith('sings quite well, too," he said according to a transcript of the news conference.')


@pytest.mark.parametrize(
    ("name", "locale", "created", "skipped"),
    [("en-annotated", "en", 17_528, 0), ("fr-projections", "fr", 7_303, 257), ("zh-projections", "zh", 645, 49)],
)
def test_xed_has_several_emotions_a_line(real_data, name, locale, created, skipped):
    """In the French and Chinese files five cells have swallowed lines of another file, 306 lines that are no rows."""
    path = real_data / "xed" / f"{name}.tsv"
    same = {
        "project": "xed",
        "create": True,
        "type": "MULTI_LABEL",
        "labels": ",".join(EMOTIONS),
        "label_map": EMOTION_MAP,
        "no_header": True,
        "content_field": "1",
        "label_field": "2",
        "locale": locale,
    }
    if skipped:
        with pytest.raises(CommandError, match=r"line \d+: 1 cell where there are 2 columns"):
            bring_in(path, **same)
        assert not Project.objects.exists()
    assert bring_in(path, on_error="skip", **same) == (created, 0, skipped)
    assert Project.objects.get().labels.count() == 8
    counted = Counter(label for names in Sample.objects.values_list("label_names", flat=True) for label in names)
    links = Counter(Task.labels.through.objects.values_list("label__name", flat=True))
    assert counted == links and set(counted) == set(EMOTIONS)
    if locale == "en":
        assert counted["anger"] == 3_828 and counted["trust"] == 2_699
        assert Task.objects.get(content="!").label_names == ["anger", "fear", "surprise"]


def test_xed_read_with_quotes_gives_the_swallowed_lines_as_one_text(real_data):
    path = real_data / "xed" / "zh-projections.tsv"
    fields = {"no_header": True, "content_field": "1", "label_field": "2", "label_map": EMOTION_MAP, "quotes": "always"}
    assert bring_in(path, project="xed", create=True, type="MULTI_LABEL", **fields) == (646, 0, 0)
    assert Task.objects.filter(content__contains="\n").count() == 1
