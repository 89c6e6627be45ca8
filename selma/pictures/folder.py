"""Pictures that others have drawn: a folder is matched to a benchmark, and every doubt is named.

A picture's file is `ITEM.png`, or with its sample's number `ITEM_0.png` or `ITEM/0.png`; what
Pillow reads, or `.npy` arrays (H, W, 3) of uint8 or floats in [0, 1].
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from selma.core.errors import MissingDataError
from selma.pictures.checks import Key, PictureSet, Row, check_pictures
from selma.pictures.png import encode_png

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".npy")
UNSUPPORTED = (".avif", ".gif", ".heic", ".jxl", ".pdf", ".svg")
READABLE_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "1")


class PictureBytes(Mapping[str, Any]):
    """An `image` cell of a samples table whose bytes are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, name: str) -> Any:
        if name == "path":
            return self._path.name
        if name != "bytes":
            raise KeyError(name)
        if self._path.suffix.lower() == ".npy":
            return encode_png(read_pixels(self._path))
        return self._path.read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2


def read_pictures(
    folder: Path, benchmark: Sequence[Row], *, only_asked: bool = False, allow_partial: bool = False
) -> PictureSet:
    """Match a folder's pictures to a benchmark's items and look at each.

    The folder is searched with its subfolders; files with other suffixes are no pictures, but named
    if they are called as an item and of a format that is not supported. `only_asked` wants no
    picture for items without questions. `allow_partial` leaves out what is wrong instead of
    refusing; of pictures that are doubled or alike none is used, for nothing says which is right.

    Raises MissingDataError without the folder or a picture, RecordError if pictures are doubled,
    alike, black, unreadable or unknown: all are counted and named at once. Unknown pictures are
    refused in any case.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "no such folder"
        raise MissingDataError(f"{folder}: {what}; expected pictures, or a samples .parquet")
    files = sorted(folder.rglob("*"))
    prompts = {row["item_id"]: row["prompt"] for row in benchmark}
    places: dict[Key, Path] = {}
    unknown: list[str] = []
    doubled: dict[Key, str] = {}
    # A format that is not supported is looked at last: it counts where no other file is.
    for path in sorted(files, key=lambda path: path.suffix.lower() in UNSUPPORTED):
        name, suffix = path.relative_to(folder), path.suffix.lower()
        if any(part.startswith(".") or part == "__MACOSX" for part in name.parts):
            continue  # what systems hide in folders
        key = _key(name.with_suffix("").as_posix(), prompts)
        if key is None:
            unknown += [str(name)] if suffix in SUFFIXES else []
        elif key not in places:
            places |= {key: path} if suffix in (*SUFFIXES, *UNSUPPORTED) else {}
        elif suffix in SUFFIXES:
            doubled[key] = f"{name} beside {places[key].relative_to(folder)}"

    def row(key: Key) -> dict[str, Any]:
        sha256 = hashlib.sha256(places[key].read_bytes()).hexdigest()
        named = {"item_id": key[0], "sample": key[1], "prompt": prompts[key[0]], "sha256": sha256}
        return {**named, "image": PictureBytes(places[key])}

    return check_pictures(
        str(folder),
        benchmark,
        {key: str(path.relative_to(folder)) for key, path in places.items()},
        lambda key: read_pixels(places[key]),
        row,
        unknown=unknown,
        doubled=doubled,
        only_asked=only_asked,
        allow_partial=allow_partial,
    )


def _key(name: str, item_ids: Mapping[str, str]) -> Key | None:
    """Read a file's name as an item, or as an item and the number of its sample."""
    if name in item_ids:
        return name, 0
    for mark in ("/", "_", "-"):
        item_id, found, number = name.rpartition(mark)
        if found and item_id in item_ids and number.isdecimal():
            return item_id, int(number)
    return None


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Read a picture as RGB, (H, W, 3); OSError, SyntaxError or ValueError if it is none."""
    if path.suffix.lower() in UNSUPPORTED:
        raise ValueError(f"{path.suffix} is not a supported format; save it as .png")
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _colours(np.lib.format.read_array(file, allow_pickle=False))
    with Image.open(path) as picture:
        return pixels_of(picture)


def pixels_of(picture: Image.Image) -> NDArray[np.uint8]:
    """Read an opened picture as RGB, (H, W, 3), turned as its camera says; as `read_pixels`."""
    if picture.mode in READABLE_MODES:
        pixels: NDArray[np.uint8] = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        return pixels
    values = np.asarray(picture)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("has values that are NaN or infinite")
    raise ValueError(f"is of mode {picture.mode}; save it with 8 bits a channel")


def _colours(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(f"has shape {values.shape}, expected (H, W, 3)")
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype.kind != "f":
        raise ValueError(f"is of type {values.dtype}, expected uint8 or floats in [0, 1]")
    if not np.isfinite(values).all():
        raise ValueError("has values that are NaN or infinite")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"has values in [{values.min():g}, {values.max():g}], expected [0, 1]")
    pixels: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
    return pixels
