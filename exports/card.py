"""The dataset card: YAML that `load_dataset` and the Hub read, then words for people. https://huggingface.co/docs/hub/datasets-cards"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from samples import task_types

from .formats import Context, Folders, Format
from .formats.features import features_of

if TYPE_CHECKING:
    from .bundle import Story

HUB_SPLITS = {"whole": "train", "train": "train", "val": "validation", "test": "test"}
CATEGORIES = {  # https://huggingface.co/tasks
    "SENTIMENT_ANALYSIS": "text-classification",
    "BINARY_CHOICE": "text-classification",
    "TEXT_CLASSIFICATION": "text-classification",
    "MULTI_LABEL": "text-classification",
    "IMAGE_CLASSIFICATION": "image-classification",
    "TEXT_GENERATION": "text-generation",
    "PREFERENCE": "reinforcement-learning",
}
SIZES = [
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
]
UNLIMITED = "10M<n<100M"


def card(format: Format, context: Context, parts: Sequence[Mapping[str, Any]], story: "Story") -> str:
    """README.md. Deterministic: nothing in it depends on when it is written."""
    head = yaml(_head(format, context, parts, story))
    return f"---\n{head}---\n\n" + "\n".join(_body(format, context, parts, story))


def _head(format, context, parts, story) -> dict[str, Any]:
    rows = sum(part["rows"] for part in parts)
    head: dict[str, Any] = {
        "pretty_name": story.title,
        "license": story.license or "unknown",
        "language": sorted({locale.split("-")[0].split("_")[0].lower() for locale in story.languages}),
        "task_categories": sorted({CATEGORIES[type] for type in story.types if type in CATEGORIES}),
        "size_categories": [next((name for most, name in SIZES if rows < most), UNLIMITED)],
        "tags": ["labelhub"],
    }
    if isinstance(format, Folders):
        return head
    filled = [part for part in parts if part["rows"]]  # readers stumble over a file without rows
    files = [{"split": HUB_SPLITS[part["part"]], "path": part["name"]} for part in filled]
    if files and not isinstance(format.shape, Sequence):
        head["configs"] = [{"config_name": "default", "data_files": files}]
        if features := features_of(format, context):
            splits = [
                {"name": HUB_SPLITS[part["part"]], "num_bytes": part["bytes"], "num_examples": part["rows"]}
                for part in filled
            ]
            head["dataset_info"] = {"features": _features(features), "splits": splits}
    return head


def _features(features: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **_feature(feature)} for name, feature in features.items()]


def _feature(feature: Mapping[str, Any]) -> dict[str, Any]:
    """A feature as the Hub writes it in YAML."""
    match feature:
        case {"_type": "Value", "dtype": dtype}:
            return {"dtype": dtype}
        case {"_type": "ClassLabel", "names": names}:
            return {"dtype": {"class_label": {"names": {str(index): name for index, name in enumerate(names)}}}}
        case {"_type": "Sequence", "feature": inner}:
            return {"list": _inner(inner)}
    return {"struct": _features(feature)}


def _inner(feature: Mapping[str, Any]) -> Any:
    if "_type" not in feature:
        return _features(feature)
    written = _feature(feature)
    return written["dtype"] if written.keys() == {"dtype"} and isinstance(written["dtype"], str) else written


def _body(format, context, parts, story) -> Iterator[str]:
    yield f"# {story.title}\n"
    if story.description:
        yield f"{story.description}\n"
    titles = [task_types.get(type).title for type in story.types]
    yield f"{', '.join(titles)}, in the format {format.label}. Languages: {', '.join(story.languages)}.\n"
    yield "## Files\n"
    yield "| file | part | rows | bytes | sha256 |\n|---|---|---|---|---|"
    for part in parts:
        yield f"| {part['name'] or '.'} | {part['part']} | {part['rows']:,} | {part['bytes']:,} | {part['sha256']} |"
    labels = sorted(context.labels, key=context.labels.__getitem__)
    if labels:
        yield "\n## Labels\n"
        names = [part["part"] for part in parts]
        yield f"| label_id | label | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}"
        for label in labels:
            counts = [f"{part['labels'].get(label, 0):,}" for part in parts]
            yield f"| {context.labels[label]} | {_cell(label)} | {' | '.join(counts)} |"
    yield "\n## How it was made\n"
    yield from story.made_by
    yield f"Licence: {story.license or 'not stated'}."
    yield ""


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def yaml(value: Any, depth: int = 0) -> str:
    """Block YAML of mappings, lists and scalars; every text is a JSON string, which YAML reads as it is."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        return "".join(f"{indent}{_key(key)}:{_value(item, depth)}" for key, item in value.items())
    return "".join(f"{indent}-{_value(item, depth, in_list=True)}" for item in value)


def _key(key: str) -> str:
    return key if key.isascii() and key.isidentifier() else json.dumps(key, ensure_ascii=False)


def _value(value: Any, depth: int, *, in_list: bool = False) -> str:
    if isinstance(value, (Mapping, list)) and value:
        block = yaml(value, depth + 1)
        return f" {block.lstrip(' ')}" if in_list else f"\n{block}"
    if isinstance(value, (Mapping, list)):
        return " {}\n" if isinstance(value, Mapping) else " []\n"
    return f" {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    """JSON, but for characters that YAML takes in no other way than escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
