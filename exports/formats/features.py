"""What `datasets.Features` a file in a format has, in the words of its JSON. https://huggingface.co/docs/datasets/about_dataset_features

The same features stand in a Parquet file's metadata and, in YAML, on the dataset card.
"""

from collections.abc import Mapping
from typing import Any

from samples import task_types

from .context import LABELLED, Context
from .shape import WORDS, Column, Columnar, Format, Label, LabelId, LabelList, Moment, Shape, SoftLabel, Table

TEXT = {"dtype": "string", "_type": "Value"}
TRUTH = {"dtype": "bool", "_type": "Value"}
SHARE = {"dtype": "float64", "_type": "Value"}
MOMENT = {"dtype": "timestamp[ms, tz=UTC]", "_type": "Value"}


def several(context: Context) -> bool:
    """Whether some of the rows may carry several labels: then all of them have lists."""
    return any(task_types.get(type).allows_several for type in context.types)


def features_of(format: Format, context: Context) -> dict[str, Any]:
    """Each column's feature; empty where the records are no columns, or where they differ from row to row."""
    mixed = len({task_types.get(type).allows_several for type in context.types}) > 1
    if mixed and not isinstance(format, (Columnar, Table)) and (format.uses(Label) or format.uses(LabelId)):
        return {}
    return {name: _feature(shape, format, context) for name, shape in format.columns.items()}


def _feature(shape: Shape, format: Format, context: Context) -> Any:
    match shape:
        case Mapping():
            return {name: _feature(value, format, context) for name, value in shape.items()}
        case list() | tuple():
            return _list_of(_feature(shape[0], format, context))
        case Column("confidence"):
            return SHARE
        case Moment() if isinstance(format, Columnar):
            return MOMENT
        case Label():
            return _label(format, context)
        case LabelList():
            return _list_of(TEXT)
        case LabelId():
            return _list_of(_classes(context)) if several(context) else _classes(context)
        case SoftLabel():
            return _list_of(SHARE)
        case bool():
            return TRUTH
        case _ if isinstance(shape, (str, *WORDS)):
            return TEXT
    raise TypeError(f"no feature for {shape!r}")


def _label(format: Format, context: Context) -> Any:
    """A list in JSON, its text in CSV; the names themselves, for not every reader makes numbers of them."""
    return _list_of(TEXT) if several(context) and not isinstance(format, Table) else TEXT


def _classes(context: Context) -> Any:
    names = sorted(context.labels, key=context.labels.__getitem__)
    if not names or not context.types <= LABELLED:
        return {"dtype": "int64", "_type": "Value"}
    return {"names": names, "_type": "ClassLabel"}


def _list_of(feature: Any) -> Any:
    return {"feature": feature, "_type": "Sequence"}
