"""Pictures that others have drawn: a folder is matched to a benchmark, and every doubt is named.

A picture's file is called as its item, `ITEM.png`, or with its sample's number, `ITEM_0.png`,
`ITEM/0.png`. Formats: what Pillow reads, and `.npy` arrays (H, W, 3) of uint8 or floats in [0, 1].
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import MissingDataError
from selma.pictures.checks import Findings, Key, PictureSet, Row, look_at, missing_pictures, refuse

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".npy")
READABLE_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "1")


class PictureBytes(Mapping[str, Any]):
    """An `image` cell of a samples table whose bytes are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Point at a file that can be read."""
        self._path = path

    def __getitem__(self, name: str) -> Any:
        """Give the encoded picture for "bytes", the file's name for "path"."""
        if name == "path":
            return self._path.name
        if name != "bytes":
            raise KeyError(name)
        if self._path.suffix.lower() == ".npy":
            return _encode(read_pixels(self._path))
        return self._path.read_bytes()

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the parts."""
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        """Give the number of parts."""
        return 2


def read_pictures(
    folder: Path,
    benchmark: Sequence[Row],
    *,
    only_asked: bool = False,
    allow_partial: bool = False,
) -> PictureSet:
    """Match a folder's pictures to a benchmark's items and look at each.

    Args:
        folder: searched with its subfolders; files with other suffixes are no pictures.
        benchmark: rows of a benchmark table.
        only_asked: items without questions need no picture.
        allow_partial: leave out what is wrong instead of refusing. Of pictures that are doubled
            or alike none is used, for nothing says which of them is right.

    Raises:
        MissingDataError: there is no such folder, or pictures are missing.
        RecordError: pictures are doubled, alike, black, unreadable or unknown; all are counted and
            named at once. Unknown pictures are refused in any case.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "no such folder"
        raise MissingDataError(f"{folder}: {what}; expected pictures, or a samples .parquet")
    files = sorted(path for path in folder.rglob("*") if _is_picture(path.relative_to(folder)))
    prompts = {row["item_id"]: row["prompt"] for row in benchmark}
    places, unknown, doubled = _place(folder, files, prompts)
    names = {key: str(path.relative_to(folder)) for key, path in places.items()}
    looked = look_at(names, prompts, lambda key: read_pixels(places[key]))
    missing, n_wanted = missing_pictures(benchmark, places, only_asked=only_asked)
    findings = Findings(
        missing=tuple(missing),
        unknown=tuple(unknown),
        doubled=tuple(doubled.values()),
        alike=looked.alike,
        black=looked.black,
        unreadable=looked.unreadable,
    )
    refuse(str(folder), findings, n_wanted, allow_partial)
    rows = [_row(key, places[key], prompts[key[0]]) for key in looked.good if key not in doubled]
    return PictureSet(rows, n_wanted, findings)


def _is_picture(name: Path) -> bool:
    """Tell a picture by its suffix; what systems hide in folders is none."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return name.suffix.lower() in SUFFIXES and not hidden


def _place(
    folder: Path, files: Sequence[Path], item_ids: Mapping[str, str]
) -> tuple[dict[Key, Path], list[str], dict[Key, str]]:
    """Give each picture's file, the files of no item, and those of a picture that has one."""
    places: dict[Key, Path] = {}
    unknown: list[str] = []
    doubled: dict[Key, str] = {}
    for path in files:
        name = path.relative_to(folder)
        key = _key(name.with_suffix("").as_posix(), item_ids)
        if key is None:
            unknown.append(str(name))
        elif key in places:
            doubled[key] = f"{name} beside {places[key].relative_to(folder)}"
        else:
            places[key] = path
    return places, unknown, doubled


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
    """Read a picture as RGB, (H, W, 3).

    Raises:
        OSError, SyntaxError: it is no picture.
        ValueError: it has other values than colours.
    """
    from PIL import Image

    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _colours(np.lib.format.read_array(file, allow_pickle=False))
    with Image.open(path) as picture:
        if picture.mode in READABLE_MODES:
            pixels: NDArray[np.uint8] = np.asarray(picture.convert("RGB"))
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


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _row(key: Key, path: Path, prompt: str) -> dict[str, Any]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    image = PictureBytes(path)
    return {"item_id": key[0], "sample": key[1], "image": image, "prompt": prompt, "sha256": sha256}
