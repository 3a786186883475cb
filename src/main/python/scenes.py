"""Seeded generator of rendered scenes with questions, answers and masks.

A scene is one to four coloured shapes on a textured background. Everything about
it is known, so every question has exactly one right answer.

As a library::

    scene = Scene.random(numpy.random.default_rng(1))
    image, mask = render(scene)
    asked = questions(scene, numpy.random.default_rng(2))

    for example in stream(seed=11):      # endless; example i depends on (11, i) only
        ...

As a program, it writes a Parquet file with one row per question::

    python scenes.py --images 120 --questions 6 --seed 7 --output scenes.parquet

The same seed and the same builds of numpy, pillow and pyarrow give the same bytes.
Another build may compress images otherwise; scenes and questions stay the same.
"""

from __future__ import annotations

import argparse
import colorsys
import io
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

_T = TypeVar("_T")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 40),
    "green": (45, 165, 60),
    "blue": (45, 80, 220),
    "yellow": (242, 215, 45),
    "purple": (145, 55, 175),
    "orange": (243, 134, 28),
    "cyan": (55, 210, 228),
    "white": (244, 244, 244),
}
"""Colour names and their RGB values, before the small jitter each shape gets."""

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "cross", "diamond")
"""Shape names."""

BACKGROUNDS: dict[str, str] = {
    "noise": "a noisy background",
    "gradient": "a gradient background",
    "stripes": "a striped background",
    "checker": "a checkered background",
    "blobs": "a blotchy background",
}
"""Background kinds and how a caption names them."""

SIZES: tuple[tuple[int, int], ...] = (
    (64, 64), (80, 64), (64, 80), (96, 96), (96, 72), (128, 96), (96, 128), (128, 128),
)
"""Image sizes as (width, height)."""

FORMATS: tuple[str, ...] = ("PNG", "JPEG")
"""File formats of the images."""

KINDS: tuple[str, ...] = (
    "caption", "presence", "colour", "shape", "count", "relation", "position",
)
"""Kinds of question."""

MAX_SHAPES = 4
MAX_QUESTIONS = 16

# Kinds that fewer scenes allow are drawn more eagerly where they are allowed, so that
# a data set has about as many questions of each.
_KIND_WEIGHTS = {
    "presence": 1.0, "colour": 2.0, "shape": 2.0, "count": 1.0, "relation": 9.0, "position": 4.0,
}
_AGAIN = 0.12  # factor on the weight of a kind for every question of it already drawn

_OVERSAMPLING = 8  # subpixels per pixel and axis when a shape is drawn
_BORDER = 2.0      # pixels kept free between a shape and the edge of the image
_GAP = 3.0         # pixels kept free between the circles around two shapes
_MIN_RADIUS = 7.0

# Fractions of the image's side. A shape is in a corner when it is further than
# _CORNER from both middle lines, and central when it is nearer than _CENTRE to both;
# in between no position is asked for.
_CORNER = 0.13
_CENTRE = 0.06
_BESIDE = 0.18  # least horizontal distance for a left/right question, of the width

_SCENE_STREAM, _QUESTION_STREAM = 0, 1


@dataclass(frozen=True)
class Shape:
    """One shape: what it is, where it is, and its exact fill colour."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    """Radius of the circle around the shape, in pixels."""
    angle: float
    """Rotation in radians."""
    fill: tuple[int, int, int]

    @property
    def name(self) -> str:
        """Colour and kind, such as ``red circle``."""
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Background:
    """A texture between two muted colours."""

    kind: str
    dark: tuple[int, int, int]
    light: tuple[int, int, int]
    seed: int


@dataclass(frozen=True)
class Question:
    """A question about a scene and its only right answer."""

    kind: str
    text: str
    answer: str


@dataclass(frozen=True)
class Scene:
    """Everything needed to render an image; shapes are ordered from left to right."""

    width: int
    height: int
    background: Background
    shapes: tuple[Shape, ...]
    format: str
    quality: int
    """JPEG quality; PNG ignores it."""

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        *,
        sizes: Sequence[tuple[int, int]] = SIZES,
        max_shapes: int = MAX_SHAPES,
        formats: Sequence[str] = FORMATS,
    ) -> Scene:
        """Draws a scene. No side of an image may be below 64 pixels."""
        if not 1 <= max_shapes <= MAX_SHAPES:
            raise ValueError(f"max_shapes must be between 1 and {MAX_SHAPES}: {max_shapes}")
        if any(min(size) < 64 for size in sizes):
            raise ValueError(f"sides must be 64 pixels or more: {sizes}")
        width, height = _pick(rng, sizes)
        weights = np.array([0.16, 0.28, 0.30, 0.26])[:max_shapes]
        number = 1 + int(rng.choice(max_shapes, p=weights / weights.sum()))
        looks = _random_looks(rng, number)
        places = _random_places(rng, number, width, height)
        shapes = (
            Shape(
                kind=kind,
                colour=colour,
                x=x,
                y=y,
                radius=radius,
                angle=float(rng.uniform(-1, 1)) * _MAX_ANGLE[kind],
                fill=_jitter(rng, COLOURS[colour]),
            )
            for (colour, kind), (x, y, radius) in zip(looks, places)
        )
        return cls(
            width=width,
            height=height,
            background=_random_background(rng),
            shapes=tuple(sorted(shapes, key=lambda shape: (shape.x, shape.y))),
            format=_pick(rng, formats),
            quality=int(rng.integers(86, 96)),
        )


@dataclass(frozen=True)
class Example:
    """A rendered scene with its questions."""

    index: int
    scene: Scene
    image: Image.Image
    mask: Image.Image
    questions: tuple[Question, ...]


# --- drawing scenes at random ---------------------------------------------------------

# A square turned by 45 degrees would be a diamond, so rotations stay well below that.
_MAX_ANGLE = {
    "circle": 0.0,
    "square": math.radians(12),
    "triangle": math.radians(25),
    "star": math.radians(36),
    "cross": math.radians(12),
    "diamond": math.radians(8),
}


def _pick(rng: np.random.Generator, items: Sequence[_T]) -> _T:
    """One item, uniformly. Unlike ``rng.choice`` it leaves the items' types alone."""
    return items[int(rng.integers(len(items)))]


def _jitter(rng: np.random.Generator, rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in np.clip(np.array(rgb) + rng.integers(-9, 10, 3), 0, 255))
    return red, green, blue


def _random_looks(rng: np.random.Generator, number: int) -> list[tuple[str, str]]:
    """Colours and kinds. Two scenes in five repeat some, which makes counting worthwhile."""
    colours, kinds = list(COLOURS), list(SHAPES)
    rng.shuffle(colours)
    rng.shuffle(kinds)
    repeat = rng.random()
    if repeat < 0.2:
        colours = colours[:2]
    elif repeat < 0.4:
        kinds = kinds[:2]
    if repeat < 0.4:
        return [(_pick(rng, colours), _pick(rng, kinds)) for _ in range(number)]
    return list(zip(colours[:number], kinds[:number]))


def _random_places(
    rng: np.random.Generator, number: int, width: int, height: int
) -> list[tuple[float, float, float]]:
    """Centres and radii of circles that keep their distance from one another."""
    side = min(width, height)
    low, high = {1: (0.20, 0.32), 2: (0.17, 0.26), 3: (0.15, 0.22), 4: (0.14, 0.19)}[number]
    while True:
        central = rng.random() < 0.2
        places: list[tuple[float, float, float]] = []
        for _ in range(80):
            radius = max(_MIN_RADIUS, side * float(rng.uniform(low, high)))
            reach = radius + _BORDER
            x = float(rng.uniform(reach, width - reach))
            y = float(rng.uniform(reach, height - reach))
            if central and not places:
                x = width * float(rng.uniform(0.46, 0.54))
                y = height * float(rng.uniform(0.46, 0.54))
            if all(
                (x - ox) ** 2 + (y - oy) ** 2 >= (radius + oradius + _GAP) ** 2
                for ox, oy, oradius in places
            ):
                places.append((x, y, radius))
                if len(places) == number:
                    return places
        high = max(low, high * 0.95)


def _random_background(rng: np.random.Generator) -> Background:
    hue = float(rng.random())
    return Background(
        kind=_pick(rng, tuple(BACKGROUNDS)),
        dark=_muted(rng, hue, 0.24, 0.38),
        light=_muted(rng, hue + float(rng.uniform(-0.15, 0.15)), 0.50, 0.64),
        seed=int(rng.integers(2**31)),
    )


def _muted(rng: np.random.Generator, hue: float, low: float, high: float) -> tuple[int, int, int]:
    rgb = colorsys.hsv_to_rgb(
        hue % 1.0, float(rng.uniform(0.06, 0.26)), float(rng.uniform(low, high))
    )
    red, green, blue = (round(255 * value) for value in rgb)
    return red, green, blue


# --- rendering ------------------------------------------------------------------------


def render(scene: Scene) -> tuple[Image.Image, Image.Image]:
    """The image (RGB) and its mask (L: 0 for the background, k for the k-th shape)."""
    pixels = _texture(scene.background, scene.width, scene.height)
    mask = np.zeros((scene.height, scene.width), np.uint8)
    for number, shape in enumerate(scene.shapes, start=1):
        left, top = math.floor(shape.x - shape.radius - 1), math.floor(shape.y - shape.radius - 1)
        right, bottom = math.ceil(shape.x + shape.radius + 1), math.ceil(shape.y + shape.radius + 1)
        covered = _coverage(shape, left, top, right, bottom)
        rows = (np.arange(top, bottom) + 0.5 - shape.y) / shape.radius
        shade = 1.0 - 0.09 * np.clip(rows, -1, 1)  # lit from above
        fill = shade[:, None, None] * np.array(shape.fill, np.float64)
        patch = pixels[top:bottom, left:right]
        patch += covered[:, :, None] * (np.broadcast_to(fill, patch.shape) - patch)
        mask[top:bottom, left:right][covered >= 0.5] = number
    rounded = np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8)
    return Image.fromarray(rounded), Image.fromarray(mask)


def encode(scene: Scene, image: Image.Image) -> bytes:
    """The image's file in the scene's format."""
    if scene.format == "JPEG":
        return _saved(image, "JPEG", quality=scene.quality, subsampling=0)
    return _saved(image, "PNG", optimize=True)


def encode_mask(mask: Image.Image) -> bytes:
    """The mask's file, an 8-bit greyscale PNG."""
    return _saved(mask, "PNG", optimize=True)


def _saved(image: Image.Image, file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _coverage(shape: Shape, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """How much of each pixel of a box the shape covers, from 0 to 1."""
    canvas = Image.new("L", ((right - left) * _OVERSAMPLING, (bottom - top) * _OVERSAMPLING))
    pen = ImageDraw.Draw(canvas)
    x, y = (shape.x - left) * _OVERSAMPLING, (shape.y - top) * _OVERSAMPLING
    radius = shape.radius * _OVERSAMPLING
    if shape.kind == "circle":
        radius *= 0.9
        pen.ellipse((x - radius, y - radius, x + radius - 1, y + radius - 1), fill=255)
    else:
        cosine, sine = math.cos(shape.angle), math.sin(shape.angle)
        corners = [
            (x + radius * (u * cosine - v * sine), y + radius * (u * sine + v * cosine))
            for u, v in _OUTLINES[shape.kind]
        ]
        pen.polygon(corners, fill=255)
    return np.asarray(canvas.reduce(_OVERSAMPLING), np.float64) / 255


def _ring(corners: int, radii: Sequence[float]) -> list[tuple[float, float]]:
    """Points around the origin, starting at the top, at the radii taken in turn."""
    return [
        (
            radii[i % len(radii)] * math.sin(math.tau * i / corners),
            -radii[i % len(radii)] * math.cos(math.tau * i / corners),
        )
        for i in range(corners)
    ]


def _cross(arm: float, half: float) -> list[tuple[float, float]]:
    quarter = [(-half, -arm), (half, -arm), (half, -half)]
    points = []
    for _ in range(4):
        points += quarter
        quarter = [(-v, u) for u, v in quarter]
    return points


_DIAGONAL = math.sqrt(0.5)

# Corners of the unrotated shapes. The centroid is at the origin and no corner is
# further than 1 from it.
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [
        (-_DIAGONAL, -_DIAGONAL), (_DIAGONAL, -_DIAGONAL),
        (_DIAGONAL, _DIAGONAL), (-_DIAGONAL, _DIAGONAL),
    ],
    "triangle": _ring(3, [1.0]),
    "star": _ring(10, [1.0, 0.42]),
    "cross": _cross(0.95, 0.31),
    "diamond": [(0.0, -1.0), (0.66, 0.0), (0.0, 1.0), (-0.66, 0.0)],
}


def _texture(background: Background, width: int, height: int) -> np.ndarray:
    """The background's pixels as floats. Arrays see no transcendental functions, which
    keeps the pixels the same whatever instructions the processor has."""
    rng = np.random.default_rng(background.seed)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    angle = float(rng.uniform(0, math.tau))
    along = x * math.cos(angle) + y * math.sin(angle)
    if background.kind == "noise":
        cell = int(rng.integers(1, 4))
        grid = rng.random((math.ceil(height / cell), math.ceil(width / cell)))
        amount = grid.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    elif background.kind == "gradient":
        amount = (along - along.min()) / (along.max() - along.min())
    elif background.kind == "stripes":
        period = float(rng.uniform(9, 18))
        amount = _soft((np.abs(along / period % 1.0 - 0.5) - 0.25) * period)
    elif background.kind == "checker":
        cell = float(rng.uniform(7, 15))
        shift_x, shift_y = rng.uniform(0, cell, 2)
        amount = (np.floor((x + shift_x) / cell) + np.floor((y + shift_y) / cell)) % 2
    elif background.kind == "blobs":
        cell = float(rng.uniform(13, 20))
        grid = rng.random((math.ceil(height / cell) + 2, math.ceil(width / cell) + 2))
        smooth = Image.fromarray(grid.astype(np.float32)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        amount = _soft((np.asarray(smooth, np.float64) - 0.5) * 6)
    else:
        raise ValueError(f"unknown background: {background.kind}")
    dark, light = np.array(background.dark, np.float64), np.array(background.light, np.float64)
    grain = 8 * rng.random((height, width, 1)) - 4
    return dark + amount[:, :, None] * (light - dark) + grain


def _soft(distance: np.ndarray) -> np.ndarray:
    """An anti-aliased step: 0 below -0.5, 1 above 0.5."""
    return np.clip(distance + 0.5, 0, 1)


# --- questions ------------------------------------------------------------------------


def caption(scene: Scene) -> str:
    """One sentence that names every shape, from left to right, and the background."""
    counts = Counter(shape.name for shape in scene.shapes)
    parts = [_counted(name, count) for name, count in counts.items()]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    sentence = f"{listed} on {BACKGROUNDS[scene.background.kind]}."
    return sentence[0].upper() + sentence[1:]


def position(scene: Scene, shape: Shape) -> str | None:
    """A corner such as ``top left``, or ``center``; None where that is not clear."""
    right, below = shape.x / scene.width - 0.5, shape.y / scene.height - 0.5
    if abs(right) > _CORNER and abs(below) > _CORNER:
        return f"{'bottom' if below > 0 else 'top'} {'right' if right > 0 else 'left'}"
    if abs(right) < _CENTRE and abs(below) < _CENTRE:
        return "center"
    return None


def questions(
    scene: Scene, rng: np.random.Generator, count: int = 6, turn: int | None = None
) -> list[Question]:
    """Draws distinct questions; the first asks for the caption.

    Kinds vary as far as the scene allows them. ``turn`` fixes which way the first
    yes/no question (by its lowest bit) and the first left/right question (by the next)
    are answered, so that numbering the scenes of a data set balances it; without it
    the answers are drawn.
    """
    if not 1 <= count <= MAX_QUESTIONS:
        raise ValueError(f"count must be between 1 and {MAX_QUESTIONS}: {count}")
    if turn is None:
        turn = int(rng.integers(4))
    drawn = [Question("caption", "Describe the image.", caption(scene))]
    pools = {
        "presence": _presence(scene, rng, bool(turn & 1)),
        "colour": _colour(scene, rng),
        "shape": _shape(scene, rng),
        "count": _count(scene, rng),
        "relation": _relation(scene, rng, bool(turn & 2)),
        "position": _position(scene, rng),
    }
    weights = dict(_KIND_WEIGHTS)
    while len(drawn) < count:
        kinds = [kind for kind, pool in pools.items() if pool]
        odds = np.array([weights[kind] for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))]
        weights[kind] *= _AGAIN
        drawn.append(pools[kind].pop(0))
    return drawn


def _shuffled(rng: np.random.Generator, items: Iterable[_T]) -> list[_T]:
    shuffled = list(items)
    return [shuffled[i] for i in rng.permutation(len(shuffled))]


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _plural(phrase: str) -> str:
    return phrase + ("es" if phrase.endswith("s") else "s")


def _counted(name: str, count: int) -> str:
    if count == 1:
        return _article(name)
    return f"{('two', 'three', 'four')[count - 2]} {_plural(name)}"


def _unique(values: Iterable[str]) -> set[str]:
    return {value for value, count in Counter(values).items() if count == 1}


def _presence(scene: Scene, rng: np.random.Generator, start_with_yes: bool) -> list[Question]:
    """Yes and no alternate. Most of what is not there nearly is: one of its two words,
    or both of them on different shapes, are in the image."""
    pairs = {(shape.colour, shape.kind) for shape in scene.shapes}
    colours, kinds = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    absent = [pair for pair in itertools.product(COLOURS, SHAPES) if pair not in pairs]
    near = {
        "other colour": [p for p in absent if p[1] in kinds and p[0] not in colours],
        "other shape": [p for p in absent if p[0] in colours and p[1] not in kinds],
        "swapped": [p for p in absent if p[0] in colours and p[1] in kinds],
    }
    near = {name: found for name, found in near.items() if found}

    def asked(yes: bool) -> str:
        if rng.random() < 0.3:
            return _pick(rng, [kind for kind in SHAPES if (kind in kinds) == yes])
        if yes:
            pair = _pick(rng, sorted(pairs))
        elif rng.random() < 0.75:
            pair = _pick(rng, near[_pick(rng, tuple(near))])
        else:
            pair = _pick(rng, absent)
        return " ".join(pair)

    drawn: dict[str, Question] = {}
    for number in range(2 * MAX_QUESTIONS):
        yes = (number % 2 == 0) == start_with_yes
        text = f"Is there {_article(asked(yes))} in the image?"
        drawn.setdefault(text, Question("presence", text, "yes" if yes else "no"))
    return list(drawn.values())


def _colour(scene: Scene, rng: np.random.Generator) -> list[Question]:
    clear = _unique(shape.kind for shape in scene.shapes)
    return _shuffled(rng, (
        Question("colour", f"What colour is the {shape.kind}?", shape.colour)
        for shape in scene.shapes if shape.kind in clear
    ))


def _shape(scene: Scene, rng: np.random.Generator) -> list[Question]:
    clear = _unique(shape.colour for shape in scene.shapes)
    return _shuffled(rng, (
        Question("shape", f"What shape is the {shape.colour} object?", shape.kind)
        for shape in scene.shapes if shape.colour in clear
    ))


def _count(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """Draws the answer before the question, or nearly all answers would be 1."""
    colours = Counter(shape.colour for shape in scene.shapes)
    kinds = Counter(shape.kind for shape in scene.shapes)
    counted = [("shapes", len(scene.shapes))]
    counted += [(f"{colour} shapes", count) for colour, count in colours.items()]
    counted += [(_plural(kind), count) for kind, count in kinds.items()]
    if rng.random() < 0.4:
        colour = _pick(rng, [colour for colour in COLOURS if colour not in colours])
        kind = _pick(rng, [kind for kind in SHAPES if kind not in kinds])
        counted.append((_pick(rng, (f"{colour} shapes", _plural(kind))), 0))
    by_answer: dict[int, list[str]] = {}
    for name, count in _shuffled(rng, counted):
        by_answer.setdefault(count, []).append(name)
    drawn = []
    while by_answer:
        count = _pick(rng, sorted(by_answer))
        name = by_answer[count].pop()
        drawn.append(Question("count", f"How many {name} are in the image?", str(count)))
        by_answer = {count: names for count, names in by_answer.items() if names}
    return drawn


def _relation(scene: Scene, rng: np.random.Generator, start_with_left: bool) -> list[Question]:
    """Left and right alternate; only shapes with names of their own, clearly side by side."""
    clear = _unique(shape.name for shape in scene.shapes)
    beside = [
        (left, right)
        for left, right in itertools.combinations(scene.shapes, 2)
        if {left.name, right.name} <= clear
        and right.x - left.x >= max(_BESIDE * scene.width, 0.6 * (left.radius + right.radius))
    ]
    drawn = []
    for number, (left, right) in enumerate(_shuffled(rng, beside)):
        asked_left = (number % 2 == 0) == start_with_left
        one, other = (left, right) if asked_left else (right, left)
        text = f"Is the {one.name} to the left or to the right of the {other.name}?"
        drawn.append(Question("relation", text, "left" if asked_left else "right"))
    return drawn


def _position(scene: Scene, rng: np.random.Generator) -> list[Question]:
    clear_kinds = _unique(shape.kind for shape in scene.shapes)
    clear_names = _unique(shape.name for shape in scene.shapes)
    drawn = []
    for shape in _shuffled(rng, scene.shapes):
        answer = position(scene, shape)
        if answer is None or shape.name not in clear_names:
            continue
        short = shape.kind in clear_kinds and rng.random() < 0.5
        text = f"Where is the {shape.kind if short else shape.name}?"
        drawn.append(Question("position", text, answer))
    return drawn


# --- data sets ------------------------------------------------------------------------


def example(seed: int, index: int, count: int = 6) -> Example:
    """Example ``index`` of the data set ``seed``; it depends on nothing else."""
    scene = Scene.random(_rng(seed, index, _SCENE_STREAM))
    image, mask = render(scene)
    asked = questions(scene, _rng(seed, index, _QUESTION_STREAM), count, turn=index)
    return Example(index, scene, image, mask, tuple(asked))


def stream(seed: int, start: int = 0, step: int = 1, count: int = 6) -> Iterator[Example]:
    """Examples without end; worker k of n takes ``start=k, step=n``."""
    return (example(seed, index, count) for index in itertools.count(start, step))


def _rng(seed: int, index: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, purpose)))


_FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXT_COLUMNS = ("question_id", "image_id", "question", "answer", "category", "format")

SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("image_id", pa.string()),
        ("image", _FILE),
        ("mask", _FILE),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("category", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ],
    # Lets the Hub's data set viewer and the datasets library show images as such.
    metadata={
        "huggingface": json.dumps({"info": {"features": {
            **{name: {"dtype": "string", "_type": "Value"} for name in _TEXT_COLUMNS},
            **{name: {"_type": "Image"} for name in ("image", "mask")},
            **{name: {"dtype": "int32", "_type": "Value"} for name in ("width", "height")},
        }}}),
    },
)
"""Columns of the Parquet file, one row per question."""


def rows(seed: int, item: Example) -> list[dict[str, object]]:
    """The Parquet rows of an example; its image and mask repeat in each of them."""
    scene = item.scene
    image_id = f"scene-{seed}-{item.index:06d}"
    extension = {"PNG": "png", "JPEG": "jpg"}[scene.format]
    image = {"bytes": encode(scene, item.image), "path": f"{image_id}.{extension}"}
    mask = {"bytes": encode_mask(item.mask), "path": f"{image_id}-mask.png"}
    return [
        {
            "question_id": f"{image_id}-q{number}",
            "image_id": image_id,
            "image": image,
            "mask": mask,
            "question": question.text,
            "answer": question.answer,
            "category": question.kind,
            "format": scene.format,
            "width": scene.width,
            "height": scene.height,
        }
        for number, question in enumerate(item.questions)
    ]


def write(output: Path, seed: int, images: int, count: int, images_per_group: int) -> None:
    """Writes a data set. The dictionary of a row group stores each of its images once."""
    with pq.ParquetWriter(
        output,
        SCHEMA,
        compression="zstd",
        use_dictionary=True,
        dictionary_pagesize_limit=1 << 30,
    ) as writer:
        for start in range(0, images, images_per_group):
            group = range(start, min(start + images_per_group, images))
            listed = [row for index in group for row in rows(seed, example(seed, index, count))]
            writer.write_table(
                pa.Table.from_pylist(listed, schema=SCHEMA), row_group_size=len(listed)
            )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more: {text}")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description="Writes scenes with questions as Parquet.")
    parser.add_argument("--images", type=_positive, default=120)
    parser.add_argument("--questions", type=int, default=6, choices=range(1, MAX_QUESTIONS + 1),
                        metavar=f"1..{MAX_QUESTIONS}", help="questions per image")
    parser.add_argument("--seed", type=int, default=7, help="0 or more")
    parser.add_argument("--images-per-group", type=_positive, default=30,
                        help="images per Parquet row group")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error("--seed must be 0 or more")
    write(options.output, options.seed, options.images, options.questions, options.images_per_group)


if __name__ == "__main__":
    main()
