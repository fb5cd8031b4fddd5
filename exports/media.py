"""Images as members of a ZIP: read from the storage in pieces, checked, and named for their sample."""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from django.core.files import File as StoredFile
from django.db.models import Model, Q
from PIL import Image, UnidentifiedImageError

from samples.models import Sample, Task

from .destinations import STORE_ERRORS, DestinationFailed
from .errors import MediaMissing
from .formats import COLUMNS, Context, Folders, Page
from .rows import Walk

CHUNK = 1 << 18
ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tiff"}
PK, UID, LABEL = (COLUMNS.index(name) for name in ("pk", "uid", "label_name"))
ANNOTATIONS = "annotations"
SPOOLED_BYTES = 1 << 20

Member = tuple[str, Iterable[bytes]]


def is_stored(model: type[Model]) -> Q:
    """What is true of the rows whose image is a file of ours; others only name an address, which is never fetched."""
    name = "task__media" if model is Sample else "media"
    return ~Q(**{name: ""})


def folder(part: str) -> str:
    """Where a part's images are inside the ZIP; "" is its top."""
    return "" if part == "whole" else f"{part}/"


def members(format: Folders, part: str, pages: Iterable[Page], walk: Walk, context: Context, tally) -> Iterator[Member]:
    """The images of a part, one after the other; for COCO their list comes last."""
    if format.by_label:
        folders: dict[str, str] = {}
        for picture in _pictures(pages, walk):
            if picture.label not in folders:
                context.label_id(picture.label)
                folders = label_folders(context.labels)
            yield f"{folder(part)}{folders[picture.label]}/{picture.name}", tally.of(picture.chunks())
        return
    with ExitStack() as spools:
        images, annotations = (
            spools.enter_context(tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES)) for _ in range(2)
        )
        for number, picture in enumerate(_pictures(pages, walk), 1):
            yield f"{folder(part) or 'images/'}{picture.name}", tally.of(picture.chunks())
            width, height = picture.size
            said = {"id": number, "file_name": picture.name, "width": width, "height": height}
            _listed(images, said)
            category = context.label_id(picture.label) + 1
            whole = {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0}
            _listed(annotations, {"id": number, "image_id": number, "category_id": category, **whole})
        yield _list_name(part), tally.of(_coco(images, annotations, context))


def _list_name(part: str) -> str:
    return f"{ANNOTATIONS}/instances{'' if part == 'whole' else '_' + part}.json"


def _listed(spool, value: Mapping[str, Any]) -> None:
    if spool.tell():
        spool.write(b",\n")
    spool.write(orjson.dumps(value))


def _coco(images, annotations, context: Context) -> Iterator[bytes]:
    """COCO's JSON; categories count from 1, for 0 is the background to some readers."""
    categories = [{"id": index + 1, "name": name} for name, index in context.labels.items()]
    yield b'{"info":{},"licenses":[],"categories":' + orjson.dumps(categories)
    for name, spool in (("images", images), ("annotations", annotations)):
        yield b',\n"' + name.encode() + b'":['
        spool.seek(0)
        while chunk := spool.read(CHUNK):
            yield chunk
        yield b"]"
    yield b"}\n"


def label_folders(labels: Iterable[str]) -> dict[str, str]:
    """A folder's name for each label: the label itself, as far as every file system takes it; no two the same."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for number, label in enumerate(labels):
        name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", label).strip(". ")[:80] or "_"
        while name.casefold() in taken:
            name = f"{name}_{number}"
        taken.add(name.casefold())
        names[label] = name
    return names


@dataclass
class _Picture:
    """A sample's image: `size` is in pixels, `name` its uid with the ending of what the file really is."""

    uid: str
    label: str
    name: str
    size: tuple[int, int]
    open: Callable[[], StoredFile]

    def chunks(self) -> Iterator[bytes]:
        with _reading(self.uid), self.open() as file:
            yield from file.chunks(CHUNK)


@contextmanager
def _reading(uid: str) -> Iterator[None]:
    """What goes wrong while an image is read names its sample; a store that is away may be back later."""
    try:
        yield
    except FileNotFoundError as error:
        raise MediaMissing(f"the image of sample {uid} is not stored any more", uid=uid) from error
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise MediaMissing(f"the file of sample {uid} is no image that can be read", uid=uid) from error
    except STORE_ERRORS as error:
        raise DestinationFailed(f"the image of sample {uid} could not be read: {error}") from error


def _pictures(pages: Iterable[Page], walk: Walk) -> Iterator[_Picture]:
    """Each row's image, looked up a page at a time."""
    for page in pages:
        files = _files_of([row[PK] for row in page], walk)
        for row in page:
            yield _picture(row, files[row[PK]])


def _files_of(keys: Sequence[int], walk: Walk) -> dict[int, Any]:
    """Row → the stored file of its task."""
    of_samples = walk.table == Sample._meta.db_table
    key = "sample__pk" if of_samples else "pk"
    tasks = Task.objects.using(walk.using).filter(**{f"{key}__in": keys})
    storage = Task._meta.get_field("media").storage  # type: ignore[union-attr]
    return {pk: (storage, name) for pk, name in tasks.values_list(key, "media")}


def _picture(row: tuple, stored: tuple[Any, str]) -> _Picture:
    storage, name = stored

    def opened() -> StoredFile:
        return storage.open(name, "rb")

    with _reading(row[UID]), opened() as file, Image.open(file) as image:  # reads the head of the file only
        size, ending = image.size, ENDINGS.get(image.format or "")
    if ending is None:
        raise MediaMissing(f"the file of sample {row[UID]} is a {image.format}, no image trainers read", uid=row[UID])
    return _Picture(row[UID], row[LABEL], f"{row[UID]}{ending}", size, opened)
