"""Splits a picture into background and pieces of one colour, and fits shapes to the pieces."""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from selma.pocket.render import coverage
from selma.pocket.scenes import BACKGROUNDS, CANVAS_PX, COLOURS, RADII_PX, SHAPES

Array = NDArray[np.float32]
Labels = NDArray[np.int32]

COLOUR_LIMIT = 46.0  # RGB distance to a palette colour beyond which a colour has no name
MIN_PIECE_PX = 5  # smaller specks belong to the piece beside them, or to nobody
SECOND_COLOUR_PX = 6  # this many, and
SECOND_COLOUR_SHARE = 0.15  # this share of a piece in another colour make it two pieces
REACH_PX = 2.3  # how far a piece's soft edge reaches beyond its half-covered pixels
STRANGE_SHARE = 0.35  # of the contrast: pixels further off the colour's line are not covered by it
WINDOW_PX = 21
TEMPLATE_RADII_PX = tuple(float(r) for r in np.geomspace(3.6, 7.5, 11))
TEMPLATE_SHIFTS_PX = (0.125, 0.375, 0.625, 0.875)
TEMPLATE_BLURS_PX = (0.0, 0.6)
SIZE_LIMIT_PX = (RADII_PX["small"] + RADII_PX["large"]) / 2

_BACKGROUND_NAMES, _COLOUR_NAMES = tuple(BACKGROUNDS), tuple(COLOURS)
_BACKGROUND_RGB = np.array(list(BACKGROUNDS.values()), np.float32)  # (4, 3)
_COLOUR_RGB = np.array(list(COLOURS.values()), np.float32)  # (8, 3)


@dataclass(frozen=True)
class Piece:
    """A connected piece of one colour.

    Attributes:
        coverage: (WINDOW_PX²,) in [0, 1], share of each pixel covered, in a window in which the
            whole part of the centroid is at WINDOW_PX // 2.
        offsets: (WINDOW_PX², 3), RGB distance to the background, 0 outside the piece's reach.
        background: RGB, (3,).
        x: centroid, in pixels from the left border.
        y: centroid, in pixels from the upper border.
    """

    coverage: Array
    offsets: Array
    background: Array
    x: float
    y: float


@dataclass(frozen=True)
class Segmentation:
    """A picture's background, the share of it that has the background's colour, and all pieces."""

    background: str | None
    background_share: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Fit:
    """The shape that fits a piece best.

    Attributes:
        shape: a name in ``SHAPES``.
        score: soft intersection over union with the best template of that shape, in [0, 1].
        runner_up: the same for the best other shape.
        softness: how much of the piece is half covered, as a multiple of the template's.
        colour: palette name, or None for a colour that has no name here.
        radius_px: the shape's radius, by the piece's area.
        x: the shape's centre, in pixels.
        y: the shape's centre, in pixels.
    """

    shape: str
    score: float
    runner_up: float
    softness: float
    colour: str | None
    radius_px: float
    x: float
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
    votes = np.bincount(nearest[ours], minlength=len(BACKGROUNDS))
    winner = int(votes.argmax())
    if not votes[winner]:
        return Segmentation(None, 0.0, ())
    background = np.median(pixels[ours & (nearest == winner)], axis=0).astype(np.float32)  # (3,)
    share = float((_distances(pixels, background[None]) <= COLOUR_LIMIT).mean())
    named = float(np.linalg.norm(background - _BACKGROUND_RGB[winner])) <= COLOUR_LIMIT
    name = _BACKGROUND_NAMES[winner] if named else None
    return Segmentation(name, share, tuple(_pieces(pixels - background, background)))


def _distances(pixels: Array, colours: Array) -> Array:
    difference: Array = pixels[:, None] - colours[None]  # (P, C, 3)
    return np.asarray(np.sqrt(np.einsum("pcx,pcx->pc", difference, difference)))  # (P, C)


def _pieces(offsets: Array, background: Array) -> list[Piece]:
    lines = _COLOUR_RGB - background  # (8, 3)
    share = np.clip(offsets @ (lines / (lines**2).sum(axis=1, keepdims=True)).T, 0, 1)  # (P, 8)
    off_line = ((offsets[:, None] - share[..., None] * lines) ** 2).sum(axis=2)  # (P, 8)
    best = off_line.argmin(axis=1)
    mask = share[np.arange(len(share)), best] >= 0.5
    labels = _label(mask, best, off_line)
    count = int(labels.max())
    if not count:
        return []
    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    territory = np.where(distance <= REACH_PX, labels[nearest[0], nearest[1]], 0).ravel()
    flat = labels.ravel()
    return [_piece(offsets, territory == n, flat == n, background) for n in range(1, count + 1)]


def _label(mask: NDArray[np.bool_], best: NDArray[np.intp], off_line: Array) -> Labels:
    """Number the connected pieces; what touches in two colours is two pieces. (S, S)."""
    square = (CANVAS_PX, CANVAS_PX)
    whole, count = ndimage.label(mask.reshape(square))
    flat = whole.ravel()
    votes = np.zeros((count + 1, len(COLOURS)), np.int64)
    np.add.at(votes, (flat, best), 1)
    enough = np.maximum(SECOND_COLOUR_PX, SECOND_COLOUR_SHARE * votes.sum(axis=1, keepdims=True))
    main = votes >= np.minimum(enough, votes.max(axis=1, keepdims=True))  # (count + 1, 8)
    owner = np.where(main[flat], off_line, np.inf).argmin(axis=1)  # (P,)
    result = np.zeros(square, np.int32)
    for colour in np.unique(owner[mask]):
        parts, found = ndimage.label((mask & (owner == colour)).reshape(square))
        areas = np.bincount(parts.ravel(), minlength=found + 1)
        for part in range(1, found + 1):
            if areas[part] >= MIN_PIECE_PX:
                result[parts == part] = result.max() + 1
    return result


def _piece(
    offsets: Array, territory: NDArray[np.bool_], body: NDArray[np.bool_], background: Array
) -> Piece:
    inside = offsets[body]
    strength = (inside**2).sum(axis=1)
    line = inside[strength >= np.quantile(strength, 0.6) * 0.8].mean(axis=0)  # (3,)
    share = offsets @ line / (line @ line)  # (P,)
    strange = ((offsets - share[:, None] * line) ** 2).sum(axis=1)
    lies_on_line = strange <= STRANGE_SHARE**2 * (line @ line)
    cover = np.where(territory & lies_on_line, np.clip(share, 0, 1), 0)  # (P,)
    cover = cover.reshape(CANVAS_PX, CANVAS_PX)
    x, y = _centroid(cover)
    near = np.where(territory[:, None], offsets, 0).reshape(CANVAS_PX, CANVAS_PX, 3)
    return Piece(_window(cover, x, y).ravel(), _window(near, x, y).reshape(-1, 3), background, x, y)


def _window(values: NDArray[np.floating], x: float, y: float) -> Array:
    half, left, top = WINDOW_PX // 2, int(x), int(y)
    padded = np.pad(values, ((half, half), (half, half)) + ((0, 0),) * (values.ndim - 2))
    return padded[top : top + WINDOW_PX, left : left + WINDOW_PX].astype(np.float32)


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
    distances = _distances(rgb[None].astype(np.float32), _COLOUR_RGB)[0]
    colour = _COLOUR_NAMES[int(distances.argmin())] if distances.min() <= COLOUR_LIMIT else None
    soft = float((piece.coverage * (1 - piece.coverage)).sum() / templates.softness[best])
    radius = float(np.sqrt(piece.coverage.sum() / templates.unit_areas[shape]))
    dx, dy = templates.unit_centroids[shape]
    x, y = piece.x - dx * radius, piece.y - dy * radius
    score, runner_up = float(by_shape[first]), float(by_shape[second])
    return Fit(shape, score, runner_up, soft, colour, radius, x, y)
