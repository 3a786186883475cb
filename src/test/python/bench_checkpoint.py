"""Writes a random LLaVA checkpoint with attention sinks, of a size that two cores can measure.

    python bench_checkpoint.py FOLDER
    python bench_checkpoint.py FOLDER --dtype float32
    python bench_checkpoint.py FOLDER --check
    python bench_checkpoint.py FOLDER --size large

The layout is llava-hf's, the vision tower CLIP-L/14-336, the decoder a LLaMA of 22 layers and 1.2 billion parameters. Both dtypes
hold the same numbers. Answers mean nothing and never stop early: the rows of special tokens in the output layer are 0, so that
some other token always has a larger logit. The size `large` is for measuring how long loading takes: 8.1 billion parameters,
16 GB in bfloat16, the same million numbers again and again within each tensor. `7b` and `13b` are LLaVA-1.5's true sizes, of a
million different numbers a tensor, for machines with a GPU.

Random weights make no sinks. These are put in, in numbers that `sinks.json` in the folder tells:

- the embedding of the first token is massive in two hidden dimensions;
- so are a few image tokens: the position embeddings of their patches are large in a dimension of the vision tower that nothing
  else writes to, and one hidden unit of the projector, silent elsewhere, makes massive values of it;
- some heads see the sinks larger than others do, so that some give them most of their attention and others hardly any.

No layer of the decoder could undo that: its output is small against a massive value. `--check` runs one prompt through
transformers and prints, layer by layer, sinks and the share of rows that VAR would change.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

import random_checkpoint as random
import redistribution as var
import tiny_llava as tiny
import workloads
from bench_inputs import BEFORE_IMAGE, BEHIND_QUESTION, Checkpoint
from random_checkpoint import Shapes

import llava_files  # known through tiny_llava

SEED = 48611
SCALE = 0.02
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
BEFORE, AFTER = 35, 30
"""Tokens of the prompt before and behind the image, as in LLaVA-1.5 with a question that asks for a short answer."""
BROKEN_WORDS = {"USER": ["US", "ER"], "ASSISTANT": ["A", "SS", "IST", "ANT"], "polite": ["pol", "ite"]}
"""The words of the template that are several tokens of LLaMA's; all others are one."""
SINK_PATCHES = (43, 130, 222, 307, 401, 533)
FIRST_VALUE = 400.0
"""Massive value of the first token; random layers write about 1 each."""
SECOND_SHARE = -0.6
KEY_GAINS = (4.0, 8.0, 16.0, 32.0)
"""How large the heads see the massive dimensions in keys, one after the other."""
SINK_THRESHOLD, MIN_IMAGE_ATTENTION = 20.0, 0.2


@dataclass(frozen=True)
class Size:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    vision: dict[str, Any]
    shard_bytes: int = 1_000_000_000
    different: int | None = None
    """How many different random numbers a tensor has; None where all are."""

    @property
    def sink_dimensions(self) -> tuple[int, int]:
        return self.hidden * 1415 // 2048, self.hidden * 1999 // 2048

    @property
    def flag(self) -> int:
        """Dimension of the vision tower, and hidden unit of the projector, that carries the mark of a sink."""
        return self.vision["hidden_size"] // 3

    def config(self) -> dict[str, Any]:
        config = random.llava_config(self.hidden, self.intermediate, self.layers, self.heads)
        return config | {"vision_config": self.vision}


SIZES = {
    "real": Size(2048, 5504, 22, 16, random.CLIP_LARGE),
    "tiny": Size(1024, 1024, 4, 8, random.CLIP_LARGE | {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3,
                                                        "num_attention_heads": 4}),
    "large": Size(4096, 11008, 37, 32, random.CLIP_LARGE, 3_000_000_000, 1 << 20),
    "7b": Size(4096, 11008, 32, 32, random.CLIP_LARGE, 5_000_000_000, (1 << 20) - 3),
    "13b": Size(5120, 13824, 40, 40, random.CLIP_LARGE, 5_000_000_000, (1 << 20) - 3),
}  # fmt: skip


# -------------------------------------------------------------------------------------------------------- tokenizer


def texts() -> list[str]:
    """All prompts of all workloads, in halves."""
    questions = [question for workload in workloads.read().values() for question in workload.questions]
    return [BEFORE_IMAGE, *(BEHIND_QUESTION.format(question) for question in dict.fromkeys(questions))]


def grown(piece: str) -> list[list[str]]:
    """The merges that make a piece, letter by letter."""
    return [[piece[:length], piece[length]] for length in range(1, len(piece))]


def merges(texts: list[str]) -> list[list[str]]:
    """Merges that make one token of every word, but for `BROKEN_WORDS`.

    Those that begin at a blank come first: each can only follow on the one before it in its word, so that words with blanks
    before them never come apart.
    """
    words = tiny.WORD_START.join(["", *(text.strip(" ") for text in texts)]).replace(" ", tiny.WORD_START)
    for mark in "\n.,:?'":
        words = words.replace(mark, f" {mark} ")
    behind_blank, bare = [], []
    for word in words.replace(tiny.WORD_START, f" {tiny.WORD_START}").split():
        start = tiny.WORD_START if word.startswith(tiny.WORD_START) else ""
        first, *others = BROKEN_WORDS.get(word.removeprefix(start), [word.removeprefix(start)])
        (behind_blank if start else bare).extend(grown(start + first))
        bare.extend(merge for other in others for merge in grown(other))
    return [list(merge) for merge in dict.fromkeys(map(tuple, behind_blank + bare))]


def tokenizer() -> dict[str, Any]:
    """A `tokenizer.json` of LLaMA's kind and size with the words of the workloads."""
    made = tiny.train_tokenizer(texts(), pieces=64, legacy=False)
    model = made["model"]
    model["merges"] = merges(texts())
    letters = sorted({letter for merge in model["merges"] for letter in "".join(merge)} | set(".,:?'"))
    pieces = [*map("".join, model["merges"]), *letters]
    model["vocab"] = {token: index for index, token in enumerate(dict.fromkeys(list(model["vocab"])[:259] + pieces))}
    return random.filled(made)


def check_lengths(tokenizer: dict[str, Any], image: int) -> None:
    encoder = tiny.PromptEncoder(tokenizer)
    for text in texts()[1:]:
        ids = encoder.encode(BEFORE_IMAGE, text)
        before = ids.index(image)
        assert (before, len(ids) - before - 1) == (BEFORE, AFTER), (before, len(ids) - before - 1, text)


# ---------------------------------------------------------------------------------------------------------- weights


def drawn(name: str, shape: list[int], number: int, different: int | None) -> torch.Tensor:
    """Norm weights are 1 and biases 0; the rest is normal."""
    if len(shape) == 1 and "class_embedding" not in name:
        return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)
    generator = torch.Generator().manual_seed(SEED + number)
    if different is None:
        return torch.randn(shape, generator=generator) * SCALE
    count = random.count(shape)
    block = (torch.randn(different, generator=generator) * SCALE).to(torch.bfloat16)  # Early: large tensors are much to move.
    return block.repeat(count // different + 1)[:count].view(shape)


def plant(name: str, weight: torch.Tensor, size: Size) -> None:
    """Changes one tensor so that there are sinks."""
    flag, dimensions = size.flag, list(size.sink_dimensions)
    massive = torch.tensor([1.0, SECOND_SHARE], dtype=weight.dtype)
    root = size.vision["hidden_size"] ** 0.5
    mark = root  # what a patch has in the flag's dimension where nearly all of its norm is there
    match name.split(".")[-3:]:
        case [*_, "position_embedding", "weight"]:
            weight[:, flag] = 0
            weight[[1 + patch for patch in SINK_PATCHES], flag] = 2 * root
        case [*_, "patch_embedding", "weight"] | [*_, "out_proj", "weight"] | [*_, "fc2", "weight"]:
            weight[flag] = 0
        case [*_, "class_embedding"]:
            weight[flag] = 0
        case [*_, "linear_1", "weight"]:
            weight[flag] = 0
            weight[flag, flag] = 1
        case [*_, "linear_1", "bias"]:
            weight[flag] = -mark / 2
        case [*_, "linear_2", "weight"]:
            weight[:, flag] = 0
            weight[dimensions, flag] = massive * FIRST_VALUE / (mark / 2)
        case [*_, "embed_tokens", "weight"]:
            weight[tiny.BOS_ID, dimensions] = massive * FIRST_VALUE
        case [*_, "k_proj", "weight"] if name.startswith("language_model."):
            gains = torch.tensor(KEY_GAINS, dtype=weight.dtype).repeat(size.heads)[: size.heads].repeat_interleave(len(weight) // size.heads)
            weight[:, dimensions] *= gains[:, None]
        case [*_, "lm_head", "weight"]:
            weight[: 3 + len(tiny.BYTE_TOKENS)] = 0
            weight[32000:] = 0


def write_weights(folder: Path, shapes: Shapes, size: Size, dtype: torch.dtype) -> None:
    numbers = {name: number for number, name in enumerate(shapes)}
    parts = random.shards(shapes, size.shard_bytes)
    weight_map: dict[str, str] = {}
    for index, part in enumerate(parts):
        tensors: dict[str, torch.Tensor] = {}
        for name, shape in part.items():
            weight = drawn(name, shape, numbers[name], size.different)
            plant(name, weight, size)
            tensors[name] = weight.to(torch.bfloat16).to(dtype)
        file = f"model-{index + 1:05d}-of-{len(parts):05d}.safetensors"
        llava_files.write_tensors(folder / file, tensors, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(map(random.count, shapes.values())) * dtype.itemsize
    document = {"metadata": {"total_size": total}, "weight_map": weight_map}
    llava_files.write_json(folder / "model.safetensors.index.json", document, indent=2)


def write(folder: Path, size: Size, dtype: torch.dtype) -> None:
    config = size.config()
    config["torch_dtype"] = config["text_config"]["torch_dtype"] = str(dtype).removeprefix("torch.")
    content = random.llava_hf(config)
    json_tokenizer = tokenizer()
    check_lengths(json_tokenizer, config["image_token_index"])
    sinks = {"dimensions": list(size.sink_dimensions), "threshold": SINK_THRESHOLD, "image_positions": list(SINK_PATCHES),
             "text_positions": [0], "first_layer": 0}  # fmt: skip
    llava_files.write_documents(folder, content.files | {
        "tokenizer.json": json_tokenizer, "tokenizer_config.json": tiny.tokenizer_config(json_tokenizer),
        "special_tokens_map.json": llava_files.SPECIAL_TOKENS_MAP, "sinks.json": sinks,
    })  # fmt: skip
    write_weights(folder, content.tensors, size, dtype)
    print(f"{random.parameters(content):,} parameters in {folder}")


# ------------------------------------------------------------------------------------------------------------ check


class LayerSums(var.Observer):
    """Prints, for every layer, sinks and the share of rows behind the image that VAR would change; keeps no tensors."""

    def __init__(self, prompt: var.Prompt, sinks: dict[str, Any]) -> None:
        super().__init__(prompt)
        self.dimensions, self.expected = tuple(sinks["dimensions"]), sinks["image_positions"]
        self.mask = np.zeros(0, bool)

    def layer_input(self, layer: int, hidden: torch.Tensor) -> None:
        values = var.sink_values(hidden[0].float().numpy(), self.dimensions)
        start, end = self.prompt.span
        self.mask = values >= SINK_THRESHOLD
        planted = np.zeros(len(values), bool)
        planted[[0, *(start + position for position in self.expected)]] = True
        assert (self.mask == planted).all() or layer < var.FIRST_SINK_LAYER, np.nonzero(self.mask)
        smallest, largest = values[start:end][self.mask[start:end]].min(), values[~planted].max()
        print(f"layer {layer:2}: first {values[0]:4.1f}, {int(self.mask[start:end].sum())} in the image from {smallest:4.1f},"
              f" others up to {largest:4.1f};", end="")  # fmt: skip

    def attention(self, layer: int, weights: torch.Tensor) -> torch.Tensor:
        end = self.prompt.span[1]
        sums = var.group_sums(weights[0, :, end:].float().numpy(), self.mask, self.prompt.span)
        enough = sums.image >= MIN_IMAGE_ATTENTION
        shares = [(enough & (sums.nonsink_ratio >= ratio)).mean() for ratio in (0.5, 0.8)]
        print(f" attention on image {sums.image.mean():.2f}, sinks {sums.sinks.mean():.2f};"
              f" selected {shares[0]:.0%} at 0.5, {shares[1]:.0%} at 0.8")  # fmt: skip
        return weights


@torch.inference_mode()
def check(folder: Path) -> None:
    """Fails where sinks are not just those planted."""
    checkpoint = Checkpoint(folder)
    model = checkpoint.model("eager")
    ids = checkpoint.prompt_ids(workloads.read()["single"].questions[0])
    text = model.config.text_config
    prompt = var.Prompt((BEFORE, BEFORE + checkpoint.image_tokens), text.num_hidden_layers, text.num_attention_heads)
    observer = LayerSums(prompt, checkpoint.sinks)
    with var.tapped(model.model.language_model, observer):
        model(input_ids=torch.tensor([ids]), pixel_values=checkpoint.pixels(1, model.dtype), logits_to_keep=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--size", choices=SIZES, default="real", help="tiny is for trying the scripts, large for loading, 7b and 13b for GPUs")
    parser.add_argument("--check", action="store_true", help="try a folder written before")
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.folder)
    else:
        write(arguments.folder, SIZES[arguments.size], DTYPES[arguments.dtype])


if __name__ == "__main__":
    main()
