"""Which labels a dataset shows, and how: kept beside it, as labels themselves are the project's."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rest_framework.exceptions import ValidationError

from labelhub.accounts.models import new_uid
from samples.datasets import amend_properties
from samples.models import Dataset

from .shapes import DEFAULT_GROUP

FORM_FIELD = {"instructions": "", "rule_set": None}
FORM_IDS = ("id", "field_id", "field_type_id")

Groups = dict[str, dict[str, Any]]


def groups_of(asked: Mapping[str, Any]) -> Groups:
    """The label groups that a new dataset is given: a group's definitions by the label's name."""
    groups: Groups = {DEFAULT_GROUP: {"label_defs": defs_of(asked.get("label_defs", ()))}}
    for group in asked.get("label_groups", ()):
        kept = {name: value for name, value in group.items() if name not in ("name", "label_defs")}
        groups[group["name"]] = {**kept, "label_defs": defs_of(group.get("label_defs", ()))}
    return groups


def defs_of(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {label["name"]: definition(label) for label in told}


def definition(label: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a label under its name: as it was told, and what clients miss where it is not there."""
    kept = {"external_id": new_uid(), **{name: value for name, value in label.items() if name != "name"}}
    if kept.get("pretrained"):
        kept["pretrained"] = {"name": label["name"], **kept["pretrained"]}
    if kept.get("moon_form"):
        kept["moon_form"] = [
            {**FORM_FIELD, **{name: new_uid() for name in FORM_IDS}, **field} for field in kept["moon_form"]
        ]
    return kept


def names_in(groups: Groups) -> list[str]:
    return [name for group in groups.values() for name in group["label_defs"]]


def define(dataset: Dataset, group: str, defs: dict[str, Any]) -> None:
    """Add `defs` to a group of `dataset`, over those of the same names."""

    def change(properties):
        groups = properties.get("label_groups")
        if groups is None:
            labels = dataset.project.labels.all()
            groups = {DEFAULT_GROUP: {"label_defs": {row.name: {"external_id": f"{row.pk:016x}"} for row in labels}}}
        if group not in groups:
            raise ValidationError(f"No such label group: {group}")
        groups[group]["label_defs"] |= defs
        properties["label_groups"] = groups

    amend_properties(dataset, change)


def show(dataset: Dataset, names: Sequence[str]) -> None:
    """Add to the default group those of `names` that no group of `dataset` shows yet."""
    groups = dataset.properties.get("label_groups")
    if groups is not None and set(names) - set(names_in(groups)):
        hidden = [name for name in names if name not in names_in(groups)]
        define(dataset, DEFAULT_GROUP, {name: {"external_id": new_uid()} for name in hidden})


def by_external_id(dataset: Dataset) -> dict[str, str]:
    """The names of the labels that `dataset` shows, by their outside ids."""
    groups = dataset.properties.get("label_groups")
    if groups is None:
        return {f"{label.pk:016x}": label.name for label in dataset.project.labels.all()}
    return {
        told["external_id"]: name
        for group in groups.values()
        for name, told in group["label_defs"].items()
        if "external_id" in told
    }
