"""Splits a picture into background and pieces of one colour, and fits shapes to the pieces."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from selma.pocket.questions import UNKNOWN
from selma.pocket.render import coverage
from selma.pocket.scenes import BACKGROUNDS, CANVAS_PX, COLOURS, RADII_PX, SHAPES

Array = NDArray[np.float32]
Labels = NDArray[np.int32]

COLOUR_LIMIT = 46.0  # RGB distance to a palette colour beyond which a colour has no name
VIVID_LIMIT = 90.0  # largest minus least of R, G, B: palette colours ≥ 108, muddy ones ≤ 70
MIN_PART_PX = 4  # smaller specks belong to the part beside them, or to nobody
UNITED_PARTS = 5  # parts that touch, the largest, whose unions are tried as one object
MAIN_COLOUR_SHARE = 2 / 3  # an object in several colours has the colour of this share, if any
SECOND_TONE_PX = 2.0  # a part of which this much is covered in another palette colour is two-tone
REACH_PX = 2.3  # how far a piece's soft edge reaches beyond its half-covered pixels
STRANGE_SHARE = 0.35  # of the contrast: pixels further off the colour's line are not covered by it
WINDOW_PX = 21
TEMPLATE_RADII_PX = tuple(float(r) for r in np.geomspace(3.6, 7.5, 11))
TEMPLATE_SHIFTS_PX = (0.125, 0.375, 0.625, 0.875)
TEMPLATE_BLURS_PX = (0.0, 0.6)
SIZE_LIMIT_PX = (RADII_PX["small"] + RADII_PX["large"]) / 2

_SQUARE = (CANVAS_PX, CANVAS_PX)
_BACKGROUND_RGB = np.array(list(BACKGROUNDS.values()), np.float32)  # (4, 3)
_COLOUR_RGB = np.array(list(COLOURS.values()), np.float32)  # (8, 3)


@dataclass(frozen=True)
class Piece:
    """What may be one object: a part of one colour, or several that touch.

    The window of `coverage` and `offsets` has the whole part of the centroid at WINDOW_PX // 2.
    """

    parts: tuple[int, ...]  # their numbers; two pieces may have the same, the first in flat colours
    area_px: int
    main_colour: Array  # RGB of the largest part, (3,)
    main_share: float  # the largest part's share of the area
    two_tone: bool  # it has several parts, or a second tone within its only one
    background: Array  # RGB, (3,)
    coverage: Array  # (WINDOW_PX²,) share of each pixel that is covered
    offsets: Array  # (WINDOW_PX², 3) RGB distance to the background, 0 outside the piece's reach
    x: float  # of the centroid, in pixels
    y: float


@dataclass(frozen=True)
class Segmentation:
    """A picture's background and all pieces."""

    background: str | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Fit:
    """The shape that fits a piece best."""

    shape: str  # a name in ``SHAPES``
    score: float  # soft intersection over union with its best template, in [0, 1]
    runner_up: float  # the same for the best other shape
    softness: float  # how much of the piece is half covered, as a multiple of the template's
    colour: str | None  # palette name; "unknown": vivid, but of no one name; None: of no colour
    radius_px: float  # by the piece's area
    x: float  # of the shape's centre, in pixels
    y: float


def segment(picture: NDArray[np.uint8]) -> Segmentation:
    """Split a picture, (CANVAS_PX, CANVAS_PX, 3), by the palette.

    A pixel p between the background B and an object of colour C lies on the line B + t·(C − B),
    and t is the share of it that the object covers: so anti-aliased and blurred edges are read as
    soft coverage, not as other colours.
    """
    pixels = picture.reshape(-1, 3).astype(np.float32)  # (P, 3)
    to_background = _distances(pixels, _BACKGROUND_RGB)  # (P, 4)
    ours = to_background.min(axis=1) < _distances(pixels, _COLOUR_RGB).min(axis=1)
    nearest = to_background.argmin(axis=1)
    if not ours.any():
        return Segmentation(None, ())
    winner = int(np.bincount(nearest[ours]).argmax())
    background = np.median(pixels[ours & (nearest == winner)], axis=0).astype(np.float32)  # (3,)
    named = float(np.linalg.norm(background - _BACKGROUND_RGB[winner])) <= COLOUR_LIMIT
    name = tuple(BACKGROUNDS)[winner] if named else None
    return Segmentation(name, tuple(_pieces(pixels - background, background)))


def _distances(pixels: Array, colours: Array) -> Array:
    difference: Array = pixels[:, None] - colours[None]  # (P, C, 3)
    return np.asarray(np.sqrt(np.einsum("pcx,pcx->pc", difference, difference)))  # (P, C)


def _pieces(offsets: Array, background: Array) -> Iterator[Piece]:
    palette = _COLOUR_RGB - background  # (8, 3)
    share = np.clip(_along(offsets, palette)[0], 0, 1)  # (P, 8)
    off_line = ((offsets[:, None] - share[..., None] * palette) ** 2).sum(axis=2)  # (P, 8)
    best = off_line.argmin(axis=1)
    strength = np.linalg.norm(offsets, axis=1).reshape(_SQUARE)
    weakest = np.linalg.norm(palette, axis=1).min()
    inside = ndimage.minimum_filter(strength, 3).ravel() >= weakest / 2  # no edge, whatever its hue
    mask = inside | (share[np.arange(len(share)), best] >= 0.5)
    labels, touching = _label(mask, best, off_line)
    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    territory = np.where(distance <= REACH_PX, labels[nearest[0], nearest[1]], 0).ravel()
    bodies = {part: offsets[labels.ravel() == part] for parts in touching for part in parts}
    for parts in itertools.chain.from_iterable(map(_unions, touching)):
        around = np.isin(territory, parts)
        lines = np.stack([_line(bodies[part]) for part in parts])  # (k, 3), largest part first
        cover, toned = np.zeros((2, len(offsets)), offsets.dtype)
        cover[around] = _cover(offsets[around], lines, lines if len(parts) > 1 else lines[:0])
        toned[around] = _cover(offsets[around], lines, palette)
        near = np.where(around[:, None], offsets, 0)
        areas = [len(bodies[part]) for part in parts]
        colour, main_share = background + lines[0], areas[0] / sum(areas)
        several = len(parts) > 1
        yield Piece(parts, sum(areas), colour, main_share, several, background, *_cut(cover, near))
        if (toned - cover).sum() >= SECOND_TONE_PX:
            yield Piece(parts, sum(areas), colour, main_share, True, background, *_cut(toned, near))


def _unions(parts: list[int]) -> Iterator[tuple[int, ...]]:
    """List every part, then every union of the largest ``UNITED_PARTS``."""
    yield from ((part,) for part in parts)
    for size in range(2, UNITED_PARTS + 1):
        yield from itertools.combinations(parts[:UNITED_PARTS], size)


def _label(
    mask: NDArray[np.bool_], best: NDArray[np.intp], off_line: Array
) -> tuple[Labels, list[list[int]]]:
    """Number the connected parts of one colour, (S, S); list those that touch, largest first."""
    whole, count = ndimage.label(ndimage.binary_dilation(mask.reshape(_SQUARE)))
    votes = np.zeros((count + 1, len(COLOURS)), np.int64)
    np.add.at(votes, (whole.ravel()[mask], best[mask]), 1)
    main = votes >= np.minimum(MIN_PART_PX, votes.max(axis=1, keepdims=True))  # (count + 1, 8)
    owner = np.where(main[whole.ravel()], off_line, np.inf).argmin(axis=1)  # (P,)
    labels = np.zeros(_SQUARE, np.int32)
    touching: dict[int, list[tuple[int, int]]] = {}
    for colour in np.unique(owner[mask]):
        parts, found = ndimage.label((mask & (owner == colour)).reshape(_SQUARE))
        for part in range(1, found + 1):
            body = parts == part
            if (area := int(body.sum())) >= MIN_PART_PX:
                labels[body] = number = int(labels.max()) + 1
                touching.setdefault(int(whole[body][0]), []).append((-area, number))
    return labels, [[number for _, number in sorted(parts)] for parts in touching.values()]


def _line(offsets: Array) -> Array:
    """Average the strong offsets of a part: its colour, as the way from the background."""
    strength = (offsets**2).sum(axis=1)
    line: Array = offsets[strength >= np.quantile(strength, 0.6) * 0.8].mean(axis=0)
    return line


def _along(offsets: Array, lines: Array) -> tuple[Array, Array]:
    """Project each pixel to each line: its share of the line and squared distance to it, (P, k)."""
    shares = offsets @ (lines / (lines**2).sum(axis=1, keepdims=True)).T
    return shares, ((offsets[:, None] - shares[..., None] * lines) ** 2).sum(axis=2)


def _cover(offsets: Array, lines: Array, others: Array) -> Array:
    """Read each pixel's share, (P,), off the line it lies nearest, or off a plane of two colours.

    Between the background B and two colours C and D of one object a pixel is
    B + s·(C − B) + t·(D − B), and s + t is the share that the object covers. A pixel that is near
    no line and no plane of one of `lines` (k, 3) and one of `others` is not covered.
    """
    shares, off = _along(offsets, lines)  # (P, k)
    contrast = (lines**2).sum(axis=1)  # (k,)
    planes = np.array([(c, d) for c in lines for d in others]).reshape(-1, 2, 3)
    if len(planes):
        weights = offsets @ np.linalg.pinv(planes)  # (k·d, P, 2)
        off_plane = ((offsets - weights @ planes) ** 2).sum(axis=2)
        off_plane[(weights < 0).any(axis=2)] = np.inf
        shares = np.concatenate([shares, weights.sum(axis=2).T], axis=1)
        off = np.concatenate([off, off_plane.T], axis=1)
        contrast = np.append(contrast, (planes**2).sum(axis=2).min(axis=1))
    best = off.argmin(axis=1)
    rows = np.arange(len(offsets))
    near = off[rows, best] <= STRANGE_SHARE**2 * contrast[best]
    return np.where(near, np.clip(shares[rows, best], 0, 1), 0)


def _cut(cover: Array, offsets: Array) -> tuple[Array, Array, float, float]:
    """Cut the window around a piece's centroid out of coverage and offsets."""
    x, y = _centroid(cover.reshape(_SQUARE))
    half, left, top = WINDOW_PX // 2, int(x), int(y)
    both = np.column_stack([cover, offsets]).reshape(*_SQUARE, 4)
    padded = np.pad(both, ((half, half), (half, half), (0, 0)))
    window = padded[top : top + WINDOW_PX, left : left + WINDOW_PX].reshape(-1, 4)
    window = window.astype(np.float32)
    return window[:, 0], window[:, 1:], x, y


def _centroid(cover: NDArray[np.floating]) -> tuple[float, float]:
    total = float(cover.sum())
    if total <= 0:
        return CANVAS_PX / 2, CANVAS_PX / 2
    middles = np.arange(len(cover)) + 0.5
    return float(cover.sum(axis=0) @ middles) / total, float(cover.sum(axis=1) @ middles) / total


@dataclass(frozen=True)
class _Templates:
    values: Array  # (K, WINDOW_PX²), shape by shape
    squares: Array  # (K,) sum of squares
    softness: Array  # (K,) sum of t·(1 − t) after TEMPLATE_BLURS_PX[-1]
    unit_areas: dict[str, float]  # px² at radius 1
    unit_centroids: dict[str, tuple[float, float]]  # centroid − centre at radius 1


@cache
def _templates() -> _Templates:
    """Draw every shape at all radii, blurs and shifts of the centroid within a pixel."""
    areas: dict[str, float] = {}
    centroids: dict[str, tuple[float, float]] = {}
    rows = []
    for shape in SHAPES:
        cover = coverage(shape, 100.0, 128.0, 128.0, 256)
        areas[shape] = float(cover.sum()) / 1e4
        x, y = _centroid(cover)
        centroids[shape] = ((x - 128) / 100, (y - 128) / 100)
        shifts = itertools.product(TEMPLATE_SHIFTS_PX, TEMPLATE_SHIFTS_PX)
        for radius, (dx, dy) in itertools.product(TEMPLATE_RADII_PX, shifts):
            x = WINDOW_PX // 2 + dx - centroids[shape][0] * radius
            y = WINDOW_PX // 2 + dy - centroids[shape][1] * radius
            cover = coverage(shape, radius, x, y, WINDOW_PX)
            rows += [ndimage.gaussian_filter(cover, blur).ravel() for blur in TEMPLATE_BLURS_PX]
    values = np.stack(rows).astype(np.float32)
    soft = (values * (1 - values)).sum(axis=1).reshape(-1, len(TEMPLATE_BLURS_PX))
    softness = np.repeat(soft.max(axis=1), len(TEMPLATE_BLURS_PX))
    return _Templates(values, (values**2).sum(axis=1), softness, areas, centroids)


def fit_shapes(pieces: list[Piece]) -> list[Fit]:
    """Find the shape that fits each piece best.

    The score is the Tanimoto coefficient c·t / (c·c + t·t − c·t) of coverage c and template t: for
    hard masks it is the intersection over union, and it needs one matrix product for all.
    """
    if not pieces:
        return []
    templates = _templates()
    covers = np.stack([piece.coverage for piece in pieces])  # (N, W²)
    products = covers @ templates.values.T  # (N, K)
    scores = products / ((covers**2).sum(axis=1)[:, None] + templates.squares - products)
    grouped = scores.reshape(len(pieces), len(SHAPES), -1)  # (N, 8, K/8)
    return [_fit(piece, scores) for piece, scores in zip(pieces, grouped, strict=True)]


def _fit(piece: Piece, scores: Array) -> Fit:
    templates = _templates()
    by_shape = scores.max(axis=1)  # (8,)
    second, first = (int(index) for index in np.argsort(by_shape)[-2:])
    best = first * scores.shape[1] + int(scores[first].argmax())
    template, shape = templates.values[best], SHAPES[first]
    rgb = piece.background + template @ piece.offsets / templates.squares[best]  # (3,)
    colour = _main_colour(piece) if piece.two_tone else _colour_name(rgb)
    soft = float((piece.coverage * (1 - piece.coverage)).sum() / templates.softness[best])
    radius = float(np.sqrt(piece.coverage.sum() / templates.unit_areas[shape]))
    dx, dy = templates.unit_centroids[shape]
    x, y = piece.x - dx * radius, piece.y - dy * radius
    score, runner_up = float(by_shape[first]), float(by_shape[second])
    return Fit(shape, score, runner_up, soft, colour, radius, x, y)


def _main_colour(piece: Piece) -> str | None:
    name = _colour_name(piece.main_colour)
    if name is None and np.ptp(piece.main_colour) < VIVID_LIMIT:
        return None
    return name if name and piece.main_share >= MAIN_COLOUR_SHARE else UNKNOWN


def _colour_name(rgb: Array) -> str | None:
    distances = _distances(rgb[None].astype(np.float32), _COLOUR_RGB)[0]
    return tuple(COLOURS)[distances.argmin()] if distances.min() <= COLOUR_LIMIT else None
