"""The menu of file formats, in the order people see it."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from exports.errors import BadOptions, MissingExtra, UnknownFormat

from .alpaca import alpaca
from .coco import coco
from .context import Context
from .csv import csv
from .huggingface import huggingface
from .imagefolder import imagefolder
from .json import json
from .jsonl import jsonl
from .kto import kto
from .label_studio import label_studio
from .openai import openai
from .openai_dpo import openai_dpo
from .parquet import parquet
from .prompt_completion import prompt_completion
from .python import encode, framed, page_writer
from .qianfan import qianfan
from .qianfan_dataset import qianfan_dataset, qianfan_source
from .shape import COLUMNS, Columnar, Folders, Format, Page
from .sharegpt import sharegpt
from .trl_preference import trl_preference

__all__ = [
    "COLUMNS",
    "MENU",
    "Columnar",
    "Context",
    "Folders",
    "Format",
    "Page",
    "check_options",
    "choices",
    "encode",
    "framed",
    "get",
    "names",
    "page_writer",
]

MENU: list[Format] = [
    json,
    jsonl,
    csv,
    parquet,
    openai,
    openai_dpo,
    huggingface,
    prompt_completion,
    trl_preference,
    kto,
    alpaca,
    sharegpt,
    qianfan,
    label_studio,
    imagefolder,
    coco,
]
OF_CONTRACTS: list[Format] = [qianfan_dataset, qianfan_source]  # what only an API asks for
_by_name = {format.name: format for format in [*MENU, *OF_CONTRACTS]}


def names() -> list[str]:
    return [format.name for format in MENU]


def get(name: str) -> Format:
    """The format called `name`; UnknownFormat, naming the known ones, where there is none."""
    try:
        return _by_name[name]
    except KeyError:
        raise UnknownFormat(f"unknown format {name!r}; known: {', '.join(names())}", known=names()) from None


def choices() -> list[tuple[str, str]]:
    """For a model field: (name, title) in menu order."""
    return [(format.name, format.label) for format in MENU]


def check_options(format: Format, options: Mapping[str, Any]) -> None:
    """Refuse, with BadOptions, what `format` does not let a batch choose, or not so; MissingExtra where it cannot be written."""
    known = sorted(format.all_options)
    for name, value in options.items():
        if name not in known:
            raise BadOptions(f"{format.name} has no option {name!r}; its options: {', '.join(known)}", known=known)
        if flaw := format.all_options[name].flaw(value):
            raise BadOptions(f"option {name!r} {flaw}", known=known)
    if options.get("license") and not options.get("bundle"):
        raise BadOptions("option 'license' is for the card of a bundle; set 'bundle' too", known=known)
    if isinstance(format, Columnar) and find_spec("pyarrow") is None:
        raise MissingExtra(f"{format.name} needs the extra “parquet”: pip install 'labelhub[parquet]'")
