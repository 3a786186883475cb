"""The prompts and images of the workloads as inputs of transformers' model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
import yaml
from PIL import Image
from transformers import AutoImageProcessor, LlavaForConditionalGeneration

import demo_golden
import golden
import tiny_llava as tiny
import workloads

DTYPES = ("auto", "float32", "bfloat16")
"""What a model can be computed in, by the names that `sinklens` has for it."""

BEFORE_IMAGE, BEHIND_QUESTION = golden.TEMPLATES["vicuna-v1"]


def images(count: int) -> list[Image.Image]:
    """The first distinct images of the bundled scenes, in the order of the file; behind them their mirror images."""
    table = pyarrow.parquet.read_table(workloads.RESOURCES / "demo" / "scenes.parquet", columns=["image_id", "image"])
    encoded: dict[str, bytes] = {}
    for row in table.to_pylist():
        encoded.setdefault(row["image_id"], row["image"]["bytes"])
    if count > 2 * len(encoded):
        raise SystemExit(f"Images must be at most the {len(encoded)} bundled ones and as many mirrored, not {count}")
    bundled = [Image.open(io.BytesIO(image)).convert("RGB") for image in encoded.values()]
    return (bundled + [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in bundled])[:count]


class Checkpoint:
    """A folder of llava-hf's layout: the bundled one, or one that `bench_checkpoint.py` wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text("utf-8"))
        self.encoder = tiny.PromptEncoder(json.loads((folder / "tokenizer.json").read_text("utf-8")))
        vision = self.config["vision_config"]
        self.image_tokens = (vision["image_size"] // vision["patch_size"]) ** 2

    @property
    def is_bundled(self) -> bool:
        return self.folder.resolve() == demo_golden.CHECKPOINT

    @property
    def sinks(self) -> dict[str, Any]:
        """Their `dimensions` and `threshold`, and of a written one where they were put."""
        if self.is_bundled:
            preset = yaml.safe_load(demo_golden.PRESET.read_text("utf-8"))
            return {"dimensions": preset["sink-dimensions"], "threshold": preset["sink-threshold"]}
        return json.loads((self.folder / "sinks.json").read_text("utf-8"))

    def model(self, attention: str, dtype: str = "auto", device: str = "cpu") -> LlavaForConditionalGeneration:
        """In that dtype; `auto` is that of its file."""
        model = LlavaForConditionalGeneration.from_pretrained(self.folder, dtype=dtype, attn_implementation=attention)
        return model.eval().to(device)

    def prompt_ids(self, question: str) -> list[int]:
        """The image token repeated for every embedding."""
        image = self.config["image_token_index"]
        ids = self.encoder.encode(BEFORE_IMAGE, BEHIND_QUESTION.format(question))
        position = ids.index(image)
        return ids[:position] + [image] * self.image_tokens + ids[position + 1 :]

    def pixels(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """[image, channel, row, column] of the first images."""
        processor = AutoImageProcessor.from_pretrained(self.folder, use_fast=False)
        return processor(images(count), return_tensors="pt")["pixel_values"].to(dtype)
