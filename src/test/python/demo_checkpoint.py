"""Writes the demo checkpoint: a random LLaVA of the llava-hf layout, small enough to ship in the jar.

    python demo_checkpoint.py --output src/main/resources/io/sinklens/demo/checkpoint

It knows nothing, but behaves like a model: it answers with one to a few words about shapes and colours, depending on image and
question, and some image tokens are attention sinks from layer 2 on. Printed at the end is what a preset needs to know.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

import golden
import redistribution as var
import sample_images
import tiny_llava as tiny

SEED = 7
SINK_DIMENSIONS = (21, 90)
SINK_THRESHOLD = 4.0
SINK_TOKENS = (3, 18, 40, 61)
"""Image tokens that are made sinks in most images."""
COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "white"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond"]
PLACES = ["left", "right", "above", "below", "top left", "top right", "bottom left", "bottom right"]
NUMBERS = ["0", "1", "2", "3", "4", "5", "zero", "one", "two", "three", "four", "five", "six"]
ANSWERS = ["Yes", "No", "yes", "no", *COLOURS, *SHAPES, *NUMBERS[6:], *PLACES[:4], "top", "bottom"]

QUESTIONS = [
    "Is there a red circle in the image?",
    "What colour is the square?",
    "How many shapes are there?",
    "What is on the left?",
]

CORPUS = [
    *[golden.SYSTEM + "USER: ASSISTANT: Answer the question using a single word or phrase."] * 40,
    *[" ".join(ANSWERS)] * 80,
    *(f"Is there a {colour} {shape} in the image? Yes, there is. No, there is none. yes no"
      for colour in COLOURS for shape in SHAPES),
    *(f"What colour is the {shape}? The {shape} is {colour}." for colour in COLOURS for shape in SHAPES),
    *(f"How many {colour} shapes are there? There are {number} {shape}s."
      for number in NUMBERS for shape in SHAPES for colour in COLOURS[:3]),
    *(f"What shape is at the {place}? Is the {shape} {place} of the {other}?"
      for place in PLACES for shape in SHAPES for other in SHAPES[:3]),
    "Describe the image. What is on the left? Where is the star? Which shape is largest? How many shapes are there?",
    "abcdefghijklmnopqrstuvwxyz 0123456789 .,:;!?'\"-()/",
]  # fmt: skip


def demo() -> tiny.TinyLlava:
    tokenizer = tiny.train_tokenizer(CORPUS, pieces=300, legacy=False)
    image = tiny.image_token_id(tokenizer)
    text = {
        "attention_bias": False, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 32, "hidden_act": "silu", "hidden_size": 128,
        "intermediate_size": 176, "max_position_embeddings": 1024, "mlp_bias": False, "model_type": "llama",
        "num_attention_heads": 4, "num_hidden_layers": 6, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 576,
    }  # fmt: skip
    vision = {
        "hidden_act": "quick_gelu", "hidden_size": 64, "image_size": 64, "intermediate_size": 64, "layer_norm_eps": 1e-5,
        "model_type": "clip_vision_model", "num_attention_heads": 4, "num_channels": 3, "num_hidden_layers": 3, "patch_size": 8,
        "projection_dim": 64, "vocab_size": 1000,
    }  # fmt: skip
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_seq_length": 64,
        "image_token_index": image,
        "model_type": "llava",
        "multimodal_projector_bias": True,
        "pad_token_id": image + 1,
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.57.6",
        "vision_config": vision,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    return tiny.TinyLlava(
        "sinklens-demo", config, tokenizer, tiny.clip_preprocessor(64), tiny.llava_processor(8), torch.bfloat16,
        tiny.tokenizer_config(tokenizer), tiny.generation_config(image + 1), rename=tiny.old_names,
        special_tokens_map=tiny.SPECIAL_TOKENS_MAP,
    )  # fmt: skip


def shape_images(folder: Path) -> list[str]:
    """Pictures as the demo's questions expect them: a few coloured shapes on a plain or shaded background."""
    random = np.random.default_rng(SEED)
    colours, names = list(sample_images.PALETTE), []
    for number in range(16):
        background, shade, *rest = (colours[index] for index in random.permutation(len(colours)))
        canvas = sample_images.gradient(96, 80, background, background if number % 2 else shade)
        shapes = []
        for colour in rest[: 1 + number % 3]:
            kind = str(random.choice(["circle", "square", "triangle"]))
            x, y = random.uniform(0.2, 0.8, 2)
            shapes.append((kind, colour, x, y, random.uniform(0.1, 0.25)))
        names.append(f"{number}.png")
        sample_images.with_shapes(canvas, *shapes).save(folder / names[-1])
    return names


@torch.no_grad()
def prefer_answers(model: transformers.LlavaForConditionalGeneration, tokenizer: Tokenizer) -> None:
    """Scales the output rows so that whole words of the demo's world are answered, and makes an answer word be followed by the
    end: all of them share a direction that the end's output row looks for."""
    head, embeddings = model.lm_head.weight, model.model.language_model.embed_tokens.weight
    found = [tokenizer.token_to_id(tiny.WORD_START + answer) for answer in ANSWERS]
    words = [word for word in found if word is not None]
    rows = torch.full((len(head), 1), 0.4)
    rows[words] = 1.0
    head *= rows
    direction = torch.nn.functional.normalize(torch.randn(len(head[0]), generator=torch.Generator().manual_seed(SEED)), dim=0)
    embeddings[words] += 8.0 * direction
    head -= torch.outer(head @ direction, direction)
    head[tiny.EOS_ID] = 6.0 * direction


@torch.no_grad()
def spread_answers(model: transformers.LlavaForConditionalGeneration, prompts: list[dict[str, torch.Tensor]]) -> None:
    """Takes what all prompts have in common out of the output rows, so that no one word is the answer to everything."""
    last = torch.stack([model.model(**prompt).last_hidden_state[0, -1] for prompt in prompts])
    common = torch.nn.functional.normalize(last.mean(0), dim=0)
    head = model.lm_head.weight
    rows = torch.arange(len(head)) != tiny.EOS_ID
    head[rows] -= torch.outer(head[rows] @ common, common)


def make(folder: Path, images: Path) -> golden.Runner:
    checkpoint = demo()
    model = tiny.build_model(checkpoint.config)
    tiny.draw_weights(model, SEED)
    runner = golden.Runner(checkpoint, model, images)
    prefer_answers(model, runner.tokenizer)
    names = shape_images(images)
    with torch.no_grad():  # so that image tokens at one place look alike in all images
        model.model.vision_tower.vision_model.embeddings.position_embedding.weight *= 6.0
    probes = [golden.Case(name, "How many shapes are there?", template) for template in golden.TEMPLATES for name in names[:4]]
    tiny.plant_sinks(
        model, [runner.inputs(probe) for probe in probes], SINK_DIMENSIONS,
        image_tokens=[((probe,), SINK_TOKENS[probe % 4]) for probe in range(8)], text_tokens=[8, -6], strength=40.0,
    )  # fmt: skip
    asked = [golden.Case(name, question, "vicuna-v1") for name in names for question in QUESTIONS]
    spread_answers(model, [runner.inputs(case) for case in asked])
    tiny.to_dtype(model, checkpoint.dtype)
    tiny.save_checkpoint(checkpoint, model, folder)
    golden.check_loads(folder, runner, probes)
    return runner


def describe(runner: golden.Runner, names: list[str]) -> None:
    """Prints what the sinks look like and how VAR with the usual settings changes the answers."""
    settings = golden.VarSettings("demo", "paper", SINK_DIMENSIONS, SINK_THRESHOLD, 0.5, 0.2, 0.6)
    counts: dict[int, list[int]] = {}
    share: list[Any] = []
    changed = 0
    for name in names:
        for question in QUESTIONS:
            case = golden.Case(name, question, "vicuna-v1")
            run = golden.run_var(runner, case, settings, None)
            answer = runner.answer(case)
            changed += answer.ids != run.answer.ids
            share.append(run.selection()[:, 2:].mean())
            for layer in run.sinks_document():
                counts.setdefault(layer["layer"], []).append(len(layer["image_positions"]))
            print(f"{name} {question} {answer.text!r} -> {run.answer.text!r}, {len(answer.ids)} tokens")
    print("prompt tokens", len(runner.prompt_ids(case)), "span", runner.span(case))
    print("visual sinks by layer (min, median, max):", {k: (min(v), float(np.median(v)), max(v)) for k, v in counts.items()})
    print("text sinks of the last prompt:", run.sinks_document()[0]["text_positions"])
    print(f"selected {np.mean(share):.2f} of layers 2+, {changed} of {len(share)} answers changed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to fill; what it held is removed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    shutil.rmtree(arguments.output, ignore_errors=True)
    with TemporaryDirectory() as images:
        runner = make(arguments.output, Path(images))
        describe(runner, [f"{number}.png" for number in range(16)])
    size = sum(file.stat().st_size for file in arguments.output.iterdir())
    print("sink-dimensions", list(SINK_DIMENSIONS), "sink-threshold", SINK_THRESHOLD, "bytes", size)


if __name__ == "__main__":
    main()
