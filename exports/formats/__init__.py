"""The menu of file formats, in the order people see it."""

from exports.errors import UnknownFormat

from .alpaca import alpaca
from .csv import csv
from .huggingface import huggingface
from .json import json
from .jsonl import jsonl
from .openai import openai
from .shape import Format

__all__ = ["Format", "choices", "get", "names"]

MENU: list[Format] = [json, jsonl, csv, openai, huggingface, alpaca]
_by_name = {format.name: format for format in MENU}


def names() -> list[str]:
    return list(_by_name)


def get(name: str) -> Format:
    """The format called `name`; UnknownFormat, naming the known ones, where there is none."""
    try:
        return _by_name[name]
    except KeyError:
        raise UnknownFormat(f"unknown format {name!r}; known: {', '.join(_by_name)}", known=names()) from None


def choices() -> list[tuple[str, str]]:
    """For a model field: (name, title) in menu order."""
    return [(format.name, format.label) for format in MENU]
