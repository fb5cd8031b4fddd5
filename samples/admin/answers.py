"""How a form asks what a task type wants to know, and what it makes of the reply."""

from dataclasses import dataclass
from typing import Any

from labelhub.admin import percent
from samples.models import Task
from samples.suggesting import Suggestion

FEW = 12  # so many choices stand side by side, each with its own button; more go into a list


@dataclass(frozen=True)
class Choice:
    """One answer on offer: `key` is what the form sends, `shortcut` the key that picks it."""

    key: str
    name: str
    colour: str
    shortcut: str
    chosen: bool
    chance: str = ""  # what a model gives it


def choices_of(
    task: Task,
    colours: dict[str, str] | None = None,
    answer: dict[str, Any] | None = None,
    suggestion: Suggestion | None = None,
) -> list[Choice]:
    """What the form offers for `task`; `colours` maps the project's labels, in their order, to their colours."""
    colours = colours or {}
    names = task.options or (list(colours) if task.kind.has_labels else [])
    answer = answer or {}
    chosen = {answer.get("label"), answer.get("chosen"), *answer.get("labels", ())}
    chances = suggestion.chances if suggestion else {}
    return [
        Choice(
            key=str(number),
            name=name,
            colour=colours.get(name, "#1A73E8"),
            shortcut=str(number + 1) if number < 9 else "",
            chosen=name in chosen,
            chance=(percent(chances[name]) if chances[name] is not None else "suggested") if name in chances else "",
        )
        for number, name in enumerate(names)
    ]


def colours_of(project) -> dict[str, str]:
    """The project's labels and their colours, in the labels' order."""
    return dict(project.labels.values_list("name", "colour"))


def answer_in(post, task: Task, colours: dict[str, str]) -> dict[str, Any]:
    """The answer a submitted form holds, for the task type to check; nothing chosen makes an empty one."""
    form = task.kind.form
    if form == "textarea":
        return {"text": post.get("text", "")}
    names = [choice.name for choice in choices_of(task, colours)]
    picked = [names[int(key)] for key in post.getlist("choice") if key.isdecimal() and int(key) < len(names)]
    if form == "checkbox":
        return {"labels": picked}
    key = "chosen" if form == "pair" else "label"
    return {key: picked[0]} if picked else {}
