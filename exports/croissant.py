"""Croissant 1.0, the description of a data set that ML tools share. https://docs.mlcommons.org/croissant/docs/croissant-spec.html"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .formats import Columnar, Context, Folders, Format
from .formats.features import features_of
from .formats.shape import Array, Lines, Table

if TYPE_CHECKING:
    from .bundle import Story

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES = {"string": "sc:Text", "float64": "sc:Float", "int64": "sc:Integer", "bool": "sc:Boolean"}


def croissant(format: Format, context: Context, parts: Sequence[Mapping[str, Any]], story: "Story") -> dict[str, Any]:
    """The description of the files: what each is, how to check it, and the columns in it."""
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": story.name,
        "description": story.description or story.title,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "datePublished": story.made_on,
        "version": "1.0.0",
        "license": story.license or "unknown",
        "url": f"urn:labelhub:{story.name}",
        "inLanguage": story.languages,
    }
    if isinstance(format, Folders):
        return described | {"distribution": [], "recordSet": []}
    features = features_of(format, context)
    columns = {name: type for name, feature in features.items() if (type := _type(feature))}
    record_sets = [_records(format, part, columns) for part in parts if part["rows"]] if columns else []
    return described | {"distribution": [_file(format, part) for part in parts], "recordSet": record_sets}


def _file(format: Format, part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": part["name"],
        "name": part["name"],
        "contentUrl": part["name"],
        "contentSize": f"{part['bytes']} B",
        "encodingFormat": _encoding(format),
        "sha256": part["sha256"],
    }


def _encoding(format: Format) -> str:
    match format:
        case Lines():
            return "application/jsonlines"
        case Table():
            return "text/csv"
        case Columnar():
            return "application/x-parquet"
        case Array():
            return "application/json"
    raise TypeError(f"no encoding for {type(format).__name__}")


def _records(format: Format, part: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    name = "samples" if part["part"] == "whole" else part["part"]
    fields = list(_fields(format, part["name"], name, columns))
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _fields(format: Format, file: str, records: str, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, type in columns.items():
        extract = {"jsonPath": f"$[*].{name}"} if isinstance(format, Array) else {"column": name}
        yield {
            "@type": "cr:Field",
            "@id": f"{records}/{name}",
            "name": name,
            "dataType": type,
            "source": {"fileObject": {"@id": file}, "extract": extract},
        }


def _type(feature: Any) -> str | None:
    """What a field holds, or each of its values; None for objects, which the readers of Croissant 1.0 trip over."""
    match feature:
        case {"_type": "Sequence", "feature": inner}:
            return _type(inner)
        case {"_type": "Value", "dtype": dtype}:
            return "sc:DateTime" if dtype.startswith("timestamp") else TYPES[dtype]
        case {"_type": "ClassLabel"}:
            return "sc:Integer"
    return None
