"""Small pictures as numbers: what is where (resized pixels, edges) and which colours there are. Pillow and numpy alone."""

from collections.abc import Iterable
from typing import IO

import numpy as np
from PIL import Image, ImageOps

SIDE = 16  # pixels, both ways
SHADES = 4  # of each of red, green and blue in the histogram
MOST_PIXELS = 50_000_000  # of a picture that is opened at all: a small file may unfold to gigabytes
LENGTH = SIDE * SIDE * 3 + SIDE * SIDE + SHADES**3


class BadPicture(ValueError):
    """Not a picture, or one that is too large; the message says which."""


def features(file: IO[bytes]) -> np.ndarray:
    """LENGTH numbers from 0 to 1 that describe the picture in `file`."""
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise BadPicture(f"{picture.width} × {picture.height} pixels are too many")
            picture.draft("RGB", (8 * SIDE, 8 * SIDE))  # JPEG unpacks to about that at once
            upright = ImageOps.exif_transpose(picture)
            small = _flat(upright).resize((SIDE, SIDE), Image.Resampling.BOX)
    except BadPicture:
        raise
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise BadPicture(f"it cannot be read as a picture: {error}") from error
    pixels = np.asarray(small, dtype=np.float32) / 255
    shade = np.minimum((pixels * SHADES).astype(int), SHADES - 1).reshape(-1, 3)
    places = (shade[:, 0] * SHADES + shade[:, 1]) * SHADES + shade[:, 2]
    colours = np.bincount(places, minlength=SHADES**3).astype(np.float32) / len(places)
    grey = pixels.mean(axis=2)
    edges = np.hypot(*np.gradient(grey))
    return np.concatenate([pixels.ravel(), edges.ravel(), colours]).astype(np.float32)


def _flat(picture: Image.Image) -> Image.Image:
    """In red, green and blue; what is transparent is white."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return picture.convert("RGB")


class Standard:
    """Every feature around nought and alike wide, every picture of length one: what a linear machine likes."""

    def __init__(self, mean: np.ndarray, width: np.ndarray):
        self.mean, self.width = mean, width

    @classmethod
    def of(cls, rows: np.ndarray) -> "Standard":
        """As these rows have it; a feature that never changes says nothing and becomes nought."""
        spread = rows.std(axis=0)
        return cls(rows.mean(axis=0), np.where(spread > 1e-6, spread, np.inf).astype(np.float32))

    def transform(self, rows: np.ndarray) -> np.ndarray:
        even = (rows - self.mean) / self.width
        return even / np.maximum(np.linalg.norm(even, axis=1, keepdims=True), 1e-6)


def rows_of(files: Iterable[tuple[str, IO[bytes]]]) -> np.ndarray:
    """A row for each of `files` (name, open file); BadPicture naming the one that is none."""
    rows = []
    for name, file in files:
        try:
            rows.append(features(file))
        except BadPicture as error:
            raise BadPicture(f"{name}: {error}") from error
    return np.stack(rows) if rows else np.zeros((0, LENGTH), dtype=np.float32)
