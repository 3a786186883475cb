"""Writes Parquet with images that differ in every row: noise, as large in bytes as asked for.

    python large_images.py OUTPUT --rows 2000 --pixels 704 --group 100
"""

import argparse
import io
import pathlib
import struct

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image

DRAWN = 100
ROWS_IN_A_FILE = 2500
QUESTIONS = ["Is there a red square?", "Is there a blue circle?", "What colour is the circle?"]
IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def jpeg(random: numpy.random.Generator, pixels: int) -> bytes:
    """Two bytes a pixel: 224 x 224 are 100 kB, 704 x 704 are 1 MB."""
    file = io.BytesIO()
    noise = random.integers(0, 256, (pixels, pixels, 3), dtype=numpy.uint8)
    Image.fromarray(noise).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def commented(image: bytes, comment: str) -> bytes:
    """Other bytes and the same picture, so that no image is taken for another."""
    text = comment.encode()
    return image[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + image[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--pixels", type=int, required=True, help="of a side")
    parser.add_argument("--group", type=int, required=True, help="rows in a row group")
    options = parser.parse_args()
    random = numpy.random.default_rng(1)
    drawn = [jpeg(random, options.pixels) for _ in range(DRAWN)]
    options.output.mkdir(parents=True, exist_ok=True)
    for begin in range(0, options.rows, ROWS_IN_A_FILE):
        rows = range(begin, min(options.rows, begin + ROWS_IN_A_FILE))
        images = [{"bytes": commented(drawn[row % DRAWN], str(row)), "path": None} for row in rows]
        table = pyarrow.table(
            {
                "id": [f"{row:06d}" for row in rows],
                "image": pyarrow.array(images, type=IMAGE),
                "question": [QUESTIONS[row % len(QUESTIONS)] for row in rows],
            }
        )
        pyarrow.parquet.write_table(
            table, options.output / f"part-{begin:06d}.parquet", compression="zstd", row_group_size=options.group
        )


if __name__ == "__main__":
    main()
