"""Files that a format's reader wants beside the data; a bundle brings them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from xml.etree import ElementTree

import orjson

from samples import task_types

from .context import Context


class Beside(Protocol):
    """A file of that name, written once the data is."""

    @property
    def name(self) -> str: ...

    def written(self, members: Mapping[str, str], context: Context, options: Mapping[str, Any], *, title: str) -> bytes:
        """The file's bytes; `members` maps each part to its name in the ZIP, `title` is a slug."""


@dataclass(frozen=True)
class DatasetInfo:
    """LLaMA-Factory's list of data sets. https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md"""

    columns: Mapping[str, str]
    system: str = ""  # the column of the system prompt, where there may be one
    formatting: str = "alpaca"
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = "dataset_info.json"

    def written(self, members, context, options, *, title):
        columns = dict(self.columns)
        if self.system and options.get("system_prompt"):
            columns["system"] = self.system
        said = {"formatting": self.formatting, "columns": columns} | ({"tags": dict(self.tags)} if self.tags else {})
        info = {
            title if part == "whole" else f"{title}_{part}": {"file_name": member, **said}
            for part, member in members.items()
        }
        return orjson.dumps(info, option=orjson.OPT_INDENT_2) + b"\n"


TEXT, CHOICES = "text", "label"  # what the interface and the results in the file call the text and the answer


@dataclass(frozen=True)
class LabellingInterface:
    """The labelling interface that the project in Label Studio needs. https://labelstud.io/tags/choices"""

    name: str = "label_config.xml"

    def written(self, members, context, options, *, title):
        several = any(task_types.get(type).allows_several for type in context.types)
        view = ElementTree.Element("View")
        ElementTree.SubElement(view, "Text", name=TEXT, value=f"${TEXT}")
        choice = "multiple" if several else "single"
        choices = ElementTree.SubElement(view, "Choices", name=CHOICES, toName=TEXT, choice=choice)
        for label in _ordered(context.labels):
            ElementTree.SubElement(choices, "Choice", value=label)
        ElementTree.indent(view)
        return ElementTree.tostring(view, encoding="utf-8") + b"\n"


def _ordered(labels: Mapping[str, int]) -> Sequence[str]:
    return sorted(labels, key=labels.__getitem__)
