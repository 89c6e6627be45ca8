"""Pictures to correct in folders, and the files that are written of each, as SLD names them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from selma.core.errors import MissingDataError, RecordError, one_line
from selma.core.files import read_json, write_bytes_atomic, write_json
from selma.correction.canvas import to_rgb
from selma.correction.correcting import Corrected
from selma.correction.figure import draw_figure
from selma.correction.json_files import Entry, Refused, given_layout, read_entries
from selma.correction.loop import KEEP
from selma.pictures.png import UNREADABLE, encode_png

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # in which order an input is looked for
INITIAL, FIGURE, TRACE = "initial_image.png", "det_result_obj.png", "trace.json"
OWN = ("index.html", "replies.jsonl")  # what lies beside the entries' folders


@dataclass(frozen=True)
class Item:
    """A picture that was looked at and can be read, and the folder for what becomes of it."""

    entry: Entry
    folder: Path
    load: "Callable[[], Image]"  # RGB, as it is seen
    width: int  # of the picture, pixels
    sha256: str  # of its size and pixels

    @property
    def stem(self) -> str:
        """The name in the files' names."""
        return PurePosixPath(self.entry.input_fname).name

    def mark(self, common: str) -> str:
        """Hash all that decides the item's files; `common` stands for what all items share."""
        said = {name: value for name, value in asdict(self.entry).items() if name != "number"}
        own = [common, self.sha256, self.stem, said]
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def make_item(entry: Entry, folder: Path, load: "Callable[[], Image]") -> Item:
    """Look at a picture once; raises as `load`, and RecordError if no file can hold the texts."""
    try:
        json.dumps(asdict(entry), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RecordError("a text holds bytes that are no UTF-8; write it again") from error
    picture = load()
    digest = hashlib.sha256(f"{picture.size}".encode())
    digest.update(picture.tobytes())
    return Item(entry, folder, load, picture.width, digest.hexdigest())


def read_picture(path: Path) -> "Image":
    """Read a picture of any size and mode as RGB.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it is no picture.
    """
    from PIL import Image

    if not path.is_file():
        raise MissingDataError(f"{path}: no such picture")
    try:
        with Image.open(path) as picture:
            return to_rgb(picture)
    except (*UNREADABLE, Image.DecompressionBombError, RecordError) as error:
        raise RecordError(f"{path}: no picture that can be read ({one_line(error)})") from error


def read_items(path: Path, pictures: Path, out: Path, objects_max: int) -> list[Item | Refused]:
    """Read a JSON file of the published code, with the pictures that it names.

    What is wrong with an entry, its picture or its layout refuses it and no other.

    Args:
        path: of the file.
        pictures: the folder of ``<input_fname>.png``; other suffixes are looked for after it.
        out: the folder of all entries' folders.
        objects_max: how many objects are too many by one.

    Raises:
        MissingDataError: there is no such file or folder.
        RecordError: the file holds no list of entries.
    """
    if not pictures.is_dir():
        raise MissingDataError(f"{pictures}: no such folder of pictures")
    return [
        entry if isinstance(entry, Refused) else _item(entry, path, pictures, out, objects_max)
        for entry in read_entries(path, objects_max)
    ]


def _item(entry: Entry, path: Path, pictures: Path, out: Path, objects_max: int) -> Item | Refused:
    folder = out / entry.output_dir
    try:
        if entry.output_dir.split("/")[0] in OWN:
            raise ValueError(f"output_dir: {entry.output_dir!r} is a file's name here")
        if any(place.exists() and not place.is_dir() for place in (folder, *folder.parents)):
            raise ValueError(f"output_dir: {folder} is no folder")
        if entry.suggestion is not None:
            nouns = [] if entry.scene is None else list(entry.scene.nouns)
            given_layout(entry, nouns, objects_max)
        place = _find(pictures, entry.input_fname)
        return make_item(entry, folder, partial(read_picture, place))
    except (ValueError, OSError, MissingDataError, RecordError) as error:
        reason = f"{path}: entry {entry.number}: {error}"
        return Refused(entry.number, entry.output_dir, reason)


def _find(folder: Path, name: str) -> Path:
    places = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((place for place in places if place.is_file()), places[0])


def is_done(item: Item, mark: str) -> bool:
    """Whether an item's files are whole, of a run with the same settings, and nothing failed."""
    try:
        found = read_json(item.folder / TRACE)
        return bool(found["mark"] == mark and found["verdict"] != "failed")
    except (MissingDataError, RecordError, KeyError, TypeError):
        return False


def write_item(
    item: Item, before: "Image", done: Corrected, *, keep: str, plan_only: bool, mark: str
) -> None:
    """Write an item's files; the trace comes last and says that they are whole.

    `before` is the picture as it came. Written are
    ``initial_image.png``; ``det_result_obj.png`` if anything is seen or suggested;
    ``intermediate_NAME.png``, the last edit, if there is one; ``final_NAME.png`` unless only plans
    were wanted or `keep` drops the picture; ``trace.json``.
    """
    trace, folder = done.trace, item.folder
    names = {"intermediate": f"intermediate_{item.stem}.png", "final": f"final_{item.stem}.png"}
    for name in (TRACE, INITIAL, FIGURE, *names.values()):
        (folder / name).unlink(missing_ok=True)
    pictures: dict[str, Image] = {INITIAL: before}
    current = trace.before.layout if trace.before else ()
    goal = trace.rounds[0].suggestion.layout if trace.rounds else ()
    if current or goal:
        pictures[FIGURE] = draw_figure(before, current, goal)
    if done.edited:
        pictures[names["intermediate"]] = done.edited[-1]
    kept = None if plan_only else KEEP[keep](trace.verdict)
    if kept is not None:
        pictures[names["final"]] = done.picture if kept == "result" else before
    for name, picture in pictures.items():
        write_bytes_atomic(folder / name, encode_png(np.asarray(picture)))
    write_json(folder / TRACE, {
        **trace.as_json(done.said), "mark": mark, "keep": keep, "kept": kept,
        "files": sorted(pictures), "generator": item.entry.generator,
    })  # fmt: skip


def read_trace(item: Item) -> Mapping[str, Any]:
    """Read what `write_item` wrote."""
    found: Mapping[str, Any] = read_json(item.folder / TRACE)
    return found
