"""What the rule `AnyResolution` is held against: `golden/anyres.json`.

    python anyres_reference.py --output src/test/resources/golden/anyres.json

Two kinds of numbers. Those of the llava-hf checkpoints come from the slow image processors of transformers and from the
functions of its models. Those of the original LLaVA code and of LLaVA-1.5-HD, which transformers does not have, come from a
second writing-down of the published rule with Pillow and NumPy in this file. Images are resized rows first, as Pillow did up to
version 12.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import PIL
import torch
import transformers
from PIL import Image
from transformers import LlavaNextImageProcessor, LlavaOnevisionImageProcessor
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.modeling_llava_next import unpad_image
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

SIZES = [
    (640, 480), (333, 517), (336, 336), (1920, 1080), (1024, 899), (899, 1024), (900, 200), (200, 900), (672, 672), (176, 55),
    (100, 75), (50, 60), (1, 1), (7, 3), (64, 1), (1, 64), (2000, 1), (1, 2000), (2000, 10), (10, 2000), (3000, 40), (40, 3000),
    (2500, 1700), (1700, 2500), (335, 337), (337, 335), (337, 337), (1009, 335), (335, 1009), (2305, 2303), (224, 225), (449, 223),
    (500, 333), (301, 299), (1500, 6), (6, 1500), (3, 1008), (1000, 2), (763, 419), (419, 763),
]  # fmt: skip
"""(width, height) of the images whose pixels are compared."""

SWEEP = range(1, 1700, 17)
"""Widths and heights of the images of which only the layout is compared."""


def synthetic(width: int, height: int) -> np.ndarray:
    """The picture that the Java tests make too, [height, width, 3]."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((7 * x + 13 * y + 61 * c + (x * y) % 31) & 255).astype(np.uint8)


@dataclass(frozen=True)
class Layout:
    """All in tokens but the first two, as `Mosaic` in Java; the window may be empty."""

    tile_rows: int
    tile_columns: int
    top: int
    left: int
    rows: int
    columns: int
    packed_rows: int
    packed_columns: int

    def numbers(self) -> list[int]:
        return list(vars(self).values())

    def image_tokens(self, side: int, row_end: int) -> int:
        return side * side + self.packed_rows * (self.packed_columns + row_end)


@contextmanager
def rows_first() -> Iterator[None]:
    """While open, Pillow resizes rows before columns, whatever its version."""
    resize = Image.Image.resize

    def ordered(image: Image.Image, size: tuple[int, int], resample: int | None = None, **more: Any) -> Image.Image:
        assert not any(more.values()), more
        return resize(resize(image, (size[0], image.height), resample), size, resample)

    Image.Image.resize = ordered
    try:
        yield
    finally:
        Image.Image.resize = resize


# --------------------------------------------------------------------------------------------------- transformers


class NextProcessor(LlavaNextImageProcessor):
    def pad(self, image: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        return super().pad(image, *args, **channels_last(image, kwargs))


class OnevisionProcessor(LlavaOnevisionImageProcessor):
    def pad(self, image: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        return super().pad(image, *args, **channels_last(image, kwargs))


def channels_last(image: np.ndarray, arguments: dict[str, Any]) -> dict[str, Any]:
    """transformers guesses, and takes images that are one or three pixels high for channels."""
    return arguments | ({"input_data_format": "channels_last"} if image.ndim == 3 else {})


def transformers_layout(pinpoints: list[list[int]], tile: int, side: int, max_tiles: int | None) -> Callable[[int, int], Layout]:
    def layout(width: int, height: int) -> Layout:
        best = select_best_resolution((height, width), pinpoints)
        tile_rows, tile_columns = best[0] // tile, best[1] // tile
        rows, columns = tile_rows * side, tile_columns * side
        index = torch.arange(rows * columns).reshape(1, rows, columns)
        window = unpad_image(index, (height, width))[0]
        kept = tuple(window.shape)
        top, left = 0, 0
        if window.numel():
            top, left = divmod(int(window[0, 0]), columns)
        else:
            top, left = (rows - kept[0]) // 2, (columns - kept[1]) // 2
        packed = kept
        if max_tiles is not None:
            processor = object.__new__(LlavaOnevisionProcessor)
            processor.vision_aspect_ratio = f"anyres_max_{max_tiles}"
            features, newlines = processor._get_unpadded_features(height, width, side, side, tile_rows, tile_columns)
            packed = (newlines, features // newlines if newlines else kept[1])
        return Layout(tile_rows, tile_columns, top, left, *kept, *packed)

    return layout


# -------------------------------------------------------------------------------- the original code and LLaVA-1.5-HD


def choose(width: int, height: int, canvases: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Of (width, height) the one on which most pixels survive, then the smallest, then the first."""

    def merit(canvas: tuple[int, int]) -> tuple[int, int]:
        scale = min(canvas[0] / width, canvas[1] / height)
        survive = min(math.floor(width * scale) * math.floor(height * scale), width * height)
        return survive, survive - canvas[0] * canvas[1]

    return max(canvases, key=merit)


def written_down_layout(canvases: Sequence[tuple[int, int]], tile: int, side: int) -> Callable[[int, int], Layout]:
    def layout(width: int, height: int) -> Layout:
        canvas = choose(width, height, canvases)
        across, down = canvas[0] // tile, canvas[1] // tile
        columns, rows = across * side, down * side
        if width / height > columns / rows:
            top, left = (rows - math.floor(height * (columns / width))) // 2, 0
        else:
            top, left = 0, (columns - math.floor(width * (rows / height))) // 2
        kept = rows - 2 * top, columns - 2 * left
        return Layout(down, across, top, left, *kept, *kept)

    return layout


def written_down_pixels(canvases: Sequence[tuple[int, int]], tile: int) -> Callable[[np.ndarray], np.ndarray]:
    def pixels(image: np.ndarray) -> np.ndarray:
        height, width, _ = image.shape
        across, down = choose(width, height, canvases)
        shrink = min(across / width, down / height)
        wide = across / width < down / height
        size = (across, min(math.ceil(height * shrink), down)) if wide else (min(math.ceil(width * shrink), across), down)
        canvas = np.zeros((down, across, 3), np.uint8)
        x, y = (across - size[0]) // 2, (down - size[1]) // 2
        picture = Image.fromarray(image)
        canvas[y : y + size[1], x : x + size[0]] = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
        tiles = canvas.reshape(down // tile, tile, across // tile, tile, 3).transpose(0, 2, 1, 3, 4).reshape(-1, tile, tile, 3)
        whole = np.asarray(picture.resize((tile, tile), Image.Resampling.BICUBIC))[None]
        levels = (np.concatenate([whole, tiles]).astype(np.float64) * (1 / 255)).astype(np.float32)
        values = (levels - np.array(CLIP_MEAN, np.float32)) / np.array(CLIP_STD, np.float32)
        return values.transpose(0, 3, 1, 2)

    return pixels


# -------------------------------------------------------------------------------------------------------------- file


@dataclass(frozen=True)
class Rule:
    name: str
    tile: int
    side: int
    pixels: Callable[[np.ndarray], np.ndarray]
    layout: Callable[[int, int], Layout]

    def image_document(self, width: int, height: int) -> dict[str, Any]:
        layout = self.layout(width, height)
        document = {
            "width": width,
            "height": height,
            "mosaic": layout.numbers(),
            "image_tokens": layout.image_tokens(self.side, 1),
        }
        with rows_first():
            values = np.ascontiguousarray(self.pixels(synthetic(width, height)), dtype="<f4")
        assert values.shape == (1 + layout.tile_rows * layout.tile_columns, 3, self.tile, self.tile)
        if layout.packed_rows == 0:
            values = values[:1]  # not one token of the tiles is kept
        sums = {"sum": float(values.sum(dtype=np.float64)), "absolute_sum": float(np.abs(values).sum(dtype=np.float64))}
        return document | {"views": len(values), "crc": crc(values)} | sums

    def sweep_document(self) -> list[str]:
        """For each width the checksum of the layouts of all heights."""
        return [crc(np.array([self.layout(width, height).numbers() for height in SWEEP], "<i4")) for width in SWEEP]


def crc(values: np.ndarray) -> str:
    return f"{zlib.crc32(values.tobytes()):08x}"


def rules() -> list[Rule]:
    """The shape of LLaVA-NeXT in both readings of its list, OneVision, and LLaVA-1.5-HD with tiles of either size."""

    def processor_pixels(processor: Any) -> Callable[[np.ndarray], np.ndarray]:
        return lambda image: processor(image, input_data_format="channels_last", return_tensors="np")["pixel_values"][0]

    size = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
    following = NextProcessor(**size)
    onevision = OnevisionProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    pinpoints = following.image_grid_pinpoints
    as_widths = [(first, second) for first, second in pinpoints]
    found = [
        Rule("next", 336, 24, processor_pixels(following), transformers_layout(pinpoints, 336, 24, None)),
        Rule("next-original", 336, 24, written_down_pixels(as_widths, 336), written_down_layout(as_widths, 336, 24)),
        Rule(
            "onevision", 384, 27, processor_pixels(onevision), transformers_layout(onevision.image_grid_pinpoints, 384, 27, 9)
        ),
    ]
    for tile in (336, 224):
        canvases = [(tile * across, tile * down) for down in range(1, 7) for across in range(1, 7) if down * across <= 6]
        layout = written_down_layout(canvases, tile, tile // 14)
        found.append(Rule(f"hd-{tile}", tile, tile // 14, written_down_pixels(canvases, tile), layout))
    return found


def write(file: Path) -> None:
    rows = [
        {"name": rule.name, "images": [rule.image_document(*size) for size in SIZES], "sweep": rule.sweep_document()} for rule in rules()
    ]
    document = {
        "made_with": {"pillow": PIL.__version__, "transformers": transformers.__version__, "numpy": np.__version__},
        "sweep": {"start": SWEEP.start, "stop": SWEEP.stop, "step": SWEEP.step},
        "rules": rows,
    }
    file.write_text(one_line_an_image(document))


def one_line_an_image(document: dict[str, Any]) -> str:
    lines = []
    for rule in document["rules"]:
        images = ",\n".join(json.dumps(image) for image in rule["images"])
        lines.append(f'{{"name": "{rule["name"]}", "images": [\n{images}],\n"sweep": {json.dumps(rule["sweep"])}}}')
    head = json.dumps(document | {"rules": []})
    return head.removesuffix("]}") + "\n" + ",\n".join(lines) + "\n]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    torch.set_num_threads(1)
    write(parser.parse_args().output)


if __name__ == "__main__":
    main()
