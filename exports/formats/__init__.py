"""The menu of file formats, in the order people see it."""

from collections.abc import Mapping
from typing import Any

from exports.errors import BadOptions, UnknownFormat

from .alpaca import alpaca
from .context import Context
from .csv import csv
from .huggingface import huggingface
from .json import json
from .jsonl import jsonl
from .openai import openai
from .python import encode, framed, page_writer
from .qianfan_dataset import qianfan_dataset, qianfan_source
from .shape import COLUMNS, Format, Page

__all__ = [
    "COLUMNS",
    "Context",
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

MENU: list[Format] = [json, jsonl, csv, openai, huggingface, alpaca]
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
    """Refuse, with BadOptions, an option that `format` does not have or that is not true or false."""
    known = sorted(format.options)
    allowed = ", ".join(known) or "none"
    for name, value in options.items():
        if name not in format.options:
            raise BadOptions(f"{format.name} has no option {name!r}; its options: {allowed}", known=known)
        if not isinstance(value, bool):
            raise BadOptions(f"option {name!r} is true or false, not {value!r}", known=known)
