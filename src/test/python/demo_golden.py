"""Makes the golden files of the demo model: what transformers answers to two hundred questions, plainly and under VAR.

    python demo_golden.py --output src/test/resources/golden/demo

It reads the bundled checkpoint and its preset in `conf/models/demo.yaml`, so run it whenever one of them changes. The weights
are computed in float32. Asked are scenes that neither training nor the bundled questions hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
import yaml
from transformers import AutoImageProcessor, LlavaForConditionalGeneration

import golden
import golden_cases
import redistribution as var
import tiny_llava as tiny  # makes the modules of src/main/python known
import scenes

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT / "src/main/resources/io/sinklens/demo/checkpoint"
PRESET = ROOT / "conf/models/demo.yaml"
SEED = 20263
IMAGES, QUESTIONS = 40, 5
CANDIDATES = 10
"""Questions tried of an image; those that hang on rounding are left out."""
MAX_PIXELS = 96 * 96
"""Larger images would only make the files large."""
SMALLEST_GAP, NEAR_THRESHOLD, NEAR_LIMIT = 2e-3, 1e-4, 2e-5
"""How near two logits may come, a sink value to its threshold (relatively), and a ratio or an image attention to its limit."""


class Runner(golden.LlavaRunner):
    """A checkpoint folder, computed in float32 with the folder's own image processor."""

    max_new_tokens = 40

    def __init__(self, folder: Path, images: Path) -> None:
        def read(name: str) -> dict[str, Any]:
            return json.loads((folder / name).read_text("utf-8"))

        checkpoint = tiny.TinyLlava(
            folder.name, read("config.json"), read("tokenizer.json"), read("preprocessor_config.json"),
            read("processor_config.json"), torch.float32, read("tokenizer_config.json"), read("generation_config.json"),
        )  # fmt: skip
        model = LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
        super().__init__(checkpoint, model.eval(), images)
        self.processors = {"crop": AutoImageProcessor.from_pretrained(folder, use_fast=False)}


def candidates() -> Iterator[scenes.Example]:
    """PNG scenes of the seed that are not large, without end."""
    for example in scenes.stream(SEED, count=CANDIDATES):
        if example.scene.format == "PNG" and example.scene.width * example.scene.height <= MAX_PIXELS:
            yield example


def clear(run: golden_cases.VarRun) -> bool:
    near_threshold, near_limit = run.margins()
    moves = run.settings.mode != "observe"
    return min(run.answer.gaps) >= SMALLEST_GAP and near_threshold >= NEAR_THRESHOLD and not (moves and near_limit < NEAR_LIMIT)


def run_document(run: golden_cases.VarRun) -> dict[str, Any]:
    layers = [{key: layer[key] for key in ("layer", "image_positions", "text_positions")} for layer in run.sinks_document()]
    document = {"answer_token_ids": run.answer.ids, "answer": run.answer.text, "sinks": layers}
    if run.settings.mode != "observe":
        document["head_selection"] = ["".join(map(str, token.reshape(-1))) for token in run.selection()]
    return document


def ask(runner: Runner, example: scenes.Example, name: str, settings: dict[str, var.VarSettings]) -> list[dict[str, Any]]:
    """The first clear questions on an image, or fewer where there are too few."""
    entries = []
    for question in example.questions:
        case = golden_cases.Case(name, question.text, "vicuna-v1")
        runs = {variant: golden_cases.run_var(runner, case, each, None) for variant, each in settings.items()}
        if all(map(clear, runs.values())):
            entry = {"image": name, "question": question.text, "category": question.kind, "right_answer": question.answer}
            entries.append(entry | {variant: run_document(run) for variant, run in runs.items()})
        if len(entries) == QUESTIONS:
            break
    return entries


def report(entries: list[dict[str, Any]], tried: int, output: Path) -> None:
    """Prints what to look at before the files are kept."""
    for variant in ("baseline", "var"):
        right = sum(entry[variant]["answer"] == entry["right_answer"] for entry in entries)
        print(f"{variant}: {right} of {len(entries)} answers right")
    selected = np.mean([bit == "1" for entry in entries for token in entry["var"]["head_selection"] for bit in token])
    changed = sum(entry["baseline"]["answer_token_ids"] != entry["var"]["answer_token_ids"] for entry in entries)
    sinks = Counter()
    for entry in entries:
        sinks.update({layer["layer"]: len(layer["image_positions"]) for layer in entry["baseline"]["sinks"]})
    print(f"{changed} answers changed, {selected:.2f} of all heads selected, image sinks by layer:",
          {layer: round(number / len(entries), 2) for layer, number in sinks.items()})  # fmt: skip
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    print(f"{dict(Counter(entry['category'] for entry in entries))} on {tried} images tried, {size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to fill; what it held is removed")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--preset", type=Path, default=PRESET)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    preset = yaml.safe_load(arguments.preset.read_text("utf-8"))
    dimensions, threshold = tuple(preset["sink-dimensions"]), float(preset["sink-threshold"])
    settings = {
        variant: var.VarSettings(variant, mode, dimensions, threshold, 0.5, 0.2, 0.6)
        for variant, mode in (("baseline", "observe"), ("var", "paper"))
    }
    images = arguments.output / "images"
    shutil.rmtree(arguments.output, ignore_errors=True)
    images.mkdir(parents=True)
    runner = Runner(arguments.checkpoint, images)
    entries: list[dict[str, Any]] = []
    for tried, example in enumerate(candidates(), 1):
        name = f"{example.index}.png"
        (images / name).write_bytes(scenes.encode(example.scene, example.image))
        found = ask(runner, example, name, settings)
        if len(found) == QUESTIONS:
            entries += found
        else:
            (images / name).unlink()
        if len(entries) == IMAGES * QUESTIONS:
            break
    document = {
        "checkpoint_sha256": hashlib.sha256((arguments.checkpoint / "model.safetensors").read_bytes()).hexdigest(),
        "seed": SEED,
        "max_new_tokens": runner.max_new_tokens,
        "settings": settings["var"].document(),
        "questions": entries,
    }
    tiny.write_json(arguments.output / "questions.json", document)
    report(entries, tried, arguments.output)


if __name__ == "__main__":
    main()
