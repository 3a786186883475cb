"""Small test images, drawn here so that their licence is clear and their bytes are ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

PALETTE = {"red": (214, 40, 40), "green": (40, 160, 70), "blue": (40, 80, 200), "yellow": (240, 210, 50),
           "purple": (130, 60, 170), "orange": (245, 140, 30), "white": (245, 245, 245), "black": (15, 15, 20)}  # fmt: skip


def gradient(width: int, height: int, first: str, second: str) -> Image.Image:
    """A diagonal gradient between two colours."""
    ramp = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.5, width))[..., None]
    low, high = np.array(PALETTE[first], float), np.array(PALETTE[second], float)
    return Image.fromarray(np.rint(low + (high - low) * ramp).astype(np.uint8), "RGB")


def with_shapes(image: Image.Image, *shapes: tuple[str, str, float, float, float]) -> Image.Image:
    """Draws (kind, colour, centre x, centre y, radius), positions as shares of the image and radius of its short side."""
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for kind, colour, x, y, radius in shapes:
        reach = radius * min(width, height)
        left, top, right, bottom = x * width - reach, y * height - reach, x * width + reach, y * height + reach
        if kind == "circle":
            draw.ellipse((left, top, right, bottom), fill=PALETTE[colour])
        elif kind == "square":
            draw.rectangle((left, top, right, bottom), fill=PALETTE[colour])
        else:
            draw.polygon([(x * width, top), (right, bottom), (left, bottom)], fill=PALETTE[colour])
    return image


def noise(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8), "RGB")


def case_images() -> dict[str, Callable[[Path], None]]:
    """The PNG files that questions are asked about: file name to how to write it."""

    def transparent(file: Path) -> None:
        image = with_shapes(gradient(60, 44, "orange", "blue"), ("circle", "green", 0.4, 0.5, 0.3)).convert("RGBA")
        alpha = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (44, 1))
        image.putalpha(Image.fromarray(alpha, "L"))
        image.save(file)

    def palette(transparency: bool) -> Callable[[Path], None]:
        def write(file: Path) -> None:
            image = with_shapes(gradient(48, 64, "purple", "yellow"), ("triangle", "white", 0.5, 0.4, 0.35))
            image = image if not transparency else image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((40, 40))
            quantised = image.quantize(32, dither=Image.Dither.NONE)
            quantised.save(file, **({"transparency": 3} if transparency else {}))

        return write

    gray = with_shapes(gradient(50, 50, "black", "white"), ("square", "white", 0.3, 0.3, 0.2)).convert("L")
    gray_alpha = gray.resize((37, 52))
    gray_alpha.putalpha(128)
    bilevel = with_shapes(gradient(30, 45, "black", "black"), ("circle", "white", 0.5, 0.3, 0.4)).convert("1")
    flat = Image.new("RGB", (56, 56), PALETTE["blue"])
    images: dict[str, Image.Image] = {
        "shapes.png": with_shapes(gradient(64, 48, "white", "yellow"),
                                  ("circle", "red", 0.3, 0.5, 0.25), ("square", "blue", 0.7, 0.4, 0.2)),
        "wide.png": with_shapes(gradient(112, 30, "green", "black"), ("triangle", "orange", 0.5, 0.5, 0.4)),
        "tall.png": with_shapes(gradient(24, 90, "blue", "white"), ("circle", "yellow", 0.5, 0.55, 0.4)),
        "small.png": with_shapes(gradient(17, 19, "red", "purple"), ("square", "white", 0.5, 0.5, 0.25)),
        "square.png": with_shapes(flat, ("square", "red", 0.25, 0.25, 0.2), ("circle", "white", 0.7, 0.7, 0.22)),
        "noise.png": noise(33, 47, 5),
        "gray.png": gray,
        "gray-alpha.png": gray_alpha,
        "bilevel.png": bilevel,
    }  # fmt: skip
    writers: dict[str, Callable[[Path], None]] = {
        name: (lambda file, image=image: image.save(file)) for name, image in images.items()
    }
    return writers | {
        "transparent.png": transparent,
        "palette.png": palette(False),
        "palette-transparent.png": palette(True),
    }


def extreme_images() -> dict[str, Image.Image]:
    """PNG files whose size is hard for rules that keep the shape of an image: file name to image."""
    strip = with_shapes(gradient(1000, 20, "yellow", "blue"), ("circle", "red", 0.1, 0.5, 0.4), ("square", "green", 0.8, 0.5, 0.3))
    large = with_shapes(gradient(640, 480, "white", "purple"), ("circle", "red", 0.3, 0.4, 0.25), ("triangle", "green", 0.7, 0.6, 0.3))
    return {
        "line.png": gradient(150, 1, "red", "blue"),
        "column.png": gradient(1, 150, "green", "white"),
        "strip.png": strip,
        "large.png": large,
        "brink.png": with_shapes(gradient(188, 47, "orange", "green"), ("circle", "blue", 0.2, 0.5, 0.4)),
    }


def decoder_images() -> dict[str, tuple[Image.Image, dict[str, Any]]]:
    """The files that measure a decoder against Pillow: file name to (image, how to save it)."""
    photo = with_shapes(gradient(75, 53, "orange", "blue"), ("circle", "red", 0.3, 0.5, 0.3), ("triangle", "green", 0.75, 0.5, 0.3))
    texture = np.asarray(noise(75, 53, 8).resize((75, 53)), float) - 127.5
    photo = Image.fromarray(np.clip(np.asarray(photo, float) + 0.15 * texture, 0, 255).astype(np.uint8), "RGB")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    return {
        "jpeg-444.jpg": (photo, {"quality": 90, "subsampling": 0}),
        "jpeg-420.jpg": (photo, {"quality": 75, "subsampling": 2}),
        "jpeg-progressive.jpg": (photo, {"quality": 85, "progressive": True}),
        "jpeg-gray.jpg": (photo.convert("L"), {"quality": 85}),
        "jpeg-cmyk.jpg": (photo.convert("CMYK"), {"quality": 90}),
        "jpeg-exif6.jpg": (photo, {"quality": 85, "exif": rotated}),
        "webp-lossy.webp": (photo, {"quality": 80}),
        "webp-lossless.webp": (photo, {"lossless": True}),
        "gif.gif": (photo.quantize(64), {}),
        "bmp.bmp": (photo.crop((0, 0, 37, 25)), {}),
        "tiff.tiff": (photo.crop((0, 0, 37, 25)), {"compression": "tiff_lzw"}),
    }  # fmt: skip


def write_images(folder: Path) -> list[dict[str, Any]]:
    """Writes all images, and beside each decoder image what Pillow makes of it; returns what `images.json` lists."""
    folder.mkdir(parents=True, exist_ok=True)
    listed: list[dict[str, Any]] = []
    extreme = {name: (lambda file, image=image: image.save(file, optimize=True)) for name, image in extreme_images().items()}
    for name, write in (case_images() | extreme).items():
        write(folder / name)
        with Image.open(folder / name) as image:
            listed.append({"file": name, "width": image.width, "height": image.height, "mode": image.mode})
    for name, (image, options) in decoder_images().items():
        file = folder / name
        image.save(file, **options)
        with Image.open(file) as opened:
            entry = {"file": name, "width": opened.width, "height": opened.height, "mode": opened.mode}
            decoded = file.with_name(f"{name}.decoded.png")
            opened.convert("RGB").save(decoded, optimize=True)
            entry["decoded"] = decoded.name
            if opened.getexif().get(0x0112, 1) != 1:
                upright = file.with_name(f"{name}.upright.png")
                ImageOps.exif_transpose(opened).convert("RGB").save(upright, optimize=True)
                entry["upright"] = upright.name
            listed.append(entry)
    return listed
