"""Rows as the reader hands them to an encoder, made by hand: `page_row(content="…")`."""

from exports.formats import COLUMNS

SAMPLE = {
    "pk": 1,
    "project": 1,
    "uid": "0123456789abcdef",
    "type": "SENTIMENT_ANALYSIS",
    "content": "Ce produit est fantastique !",
    "label_name": "Positif",
    "label_names": None,
    "confidence": None,
    "locale": "fr",
    "answer": '{"label":"Positif"}',
    "vote_shares": '{"Positif":0.75,"Négatif":0.25}',
    "validated_at": None,
}


def page_row(**columns):
    assert columns.keys() <= SAMPLE.keys()
    return tuple((SAMPLE | columns)[name] for name in COLUMNS)
