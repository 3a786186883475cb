"""The demo model before training: its tokenizer, its architecture, its prompts, and batches of scenes in its terms.

The model is a LLaVA of about 5 million parameters: a CLIP vision transformer on 8-pixel patches of 64-pixel images, a
two-layer projector, and a LLaMA decoder. transformers builds it from `config()`; nothing here computes a network.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import LlavaConfig, LlavaForConditionalGeneration

import llama_tokenizer as llama
import scenes
from llava_files import CLIP_MEAN, CLIP_STD

IMAGE_SIZE, PATCH = 64, 8
SIDE = IMAGE_SIZE // PATCH
IMAGE_TOKENS = SIDE * SIDE
PIECES = 373
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
IGNORED = -100

# ---------------------------------------------------------------------------------------------------- model


def corpus() -> list[str]:
    """Texts in which every word of the demo's world is frequent enough to become one token."""
    asked = [
        text
        for index in range(400)
        for question in scenes.example(0, index, scenes.MAX_QUESTIONS).questions
        for text in (question.text, f"ASSISTANT: {question.answer}")
    ]
    answers = ["yes", "no", "left", "right", "top", "bottom", "center", *scenes.COLOURS, *scenes.SHAPES]
    return [*asked, *[f" {answer}" for answer in answers] * 400, *[f"{SYSTEM}USER: \n ASSISTANT:"] * 400, "abcdefghijklmnopqrstuvwxyz 0123456789 .,:;!?'\"-()/"]


def config(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The `config.json`, in the layout of the published llava-hf checkpoints."""
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": IGNORED,
        "image_seq_length": IMAGE_TOKENS,
        "image_token_index": special[llama.IMAGE],
        "model_type": "llava",
        "multimodal_projector_bias": True,
        "pad_token_id": special[llama.PAD],
        "projector_hidden_act": "gelu",
        "text_config": {
            "attention_bias": False, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 32, "hidden_act": "silu", "hidden_size": 256,
            "intermediate_size": 512, "max_position_embeddings": 1024, "mlp_bias": False, "model_type": "llama",
            "num_attention_heads": 8, "num_hidden_layers": 6, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
            "vocab_size": 64 * math.ceil(max(special.values()) / 64 + 1e-9),
        },
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.57.6",
        "vision_config": {
            "hidden_act": "quick_gelu", "hidden_size": 160, "image_size": IMAGE_SIZE, "intermediate_size": 640,
            "layer_norm_eps": 1e-5, "model_type": "clip_vision_model", "num_attention_heads": 5, "num_channels": 3,
            "num_hidden_layers": 4, "patch_size": PATCH, "projection_dim": 160, "vocab_size": 1000,
        },
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }  # fmt: skip


def fresh(settings: dict[str, Any], seed: int) -> LlavaForConditionalGeneration:
    """The model with weights drawn at random, scaled by fan-in."""
    model = LlavaForConditionalGeneration(LlavaConfig(**settings)).float()
    generator = torch.Generator().manual_seed(seed)
    layers = settings["text_config"]["num_hidden_layers"]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            owner, kind = name.split(".")[-2:]
            if "norm" in owner or "layrnorm" in owner:
                parameter.fill_(float(kind == "weight"))
            elif kind == "bias":
                parameter.zero_()
            elif owner == "embed_tokens" or "position_embedding" in owner or "class_embedding" in name:
                parameter.normal_(0, 0.5, generator=generator)
            else:
                residual = (2 * layers) ** -0.5 if owner in ("o_proj", "down_proj", "out_proj", "fc2") else 1.0
                parameter.normal_(0, residual * parameter[0].numel() ** -0.5, generator=generator)
    return model


# ---------------------------------------------------------------------------------------------------- prompts


@dataclass(frozen=True)
class Prompts:
    """Encodes questions as the job does: the whole prompt at once, split at the image token."""

    tokenizer: Tokenizer
    image_token: int

    @classmethod
    def of(cls, tokenizer: dict[str, Any]) -> Prompts:
        special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        return cls(Tokenizer.from_str(json.dumps(tokenizer)), special[llama.IMAGE])

    def prefix(self, system: str) -> list[int]:
        """Ids before the image."""
        ids = self.encode(f"{system}USER: {llama.IMAGE}")
        assert ids[-1] == self.image_token
        return ids[:-1]

    def question(self, text: str) -> list[int]:
        """Ids from behind the image to where the answer begins."""
        ids = self.encode(f"USER: {llama.IMAGE}\n{text} ASSISTANT:")
        return ids[ids.index(self.image_token) + 1 :]

    def answer(self, text: str) -> list[int]:
        """Ids of an answer and its end."""
        prompt = "USER: ASSISTANT:"
        return [*self.encode(f"{prompt} {text}")[len(self.encode(prompt)) :], llama.EOS_ID]

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids


# ---------------------------------------------------------------------------------------------------- batches


@dataclass
class Batch:
    """Scenes with all their questions: a row holds one image, and every question sees the image and itself only.

    So a question is trained exactly as it will be asked, and its image is computed once for all of them.
    """

    pixels: torch.Tensor
    """Pixel values [image, 3, 64, 64], normalised."""
    tokens: torch.Tensor
    """Ids of questions and answers [image, text], padded."""
    turns: torch.Tensor
    """Which question a token belongs to [image, text]; -1 for padding."""
    offsets: torch.Tensor
    """Place of a token in its question [image, text]."""
    answers: torch.Tensor
    """Whether a token is part of an answer [image, text]."""
    kinds: list[list[str]]
    """Kind of every question, by image."""
    objects: torch.Tensor
    """What is at a patch [image, 64, 6]: colour and shape (0: background), row and column of the patch, and the
    eighths of the image that hold the middle of its object (8: background)."""
    covered: torch.Tensor
    """Share of a patch that objects cover [image, 64]."""


def patches(scene: scenes.Scene, mask: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """`Batch.objects` and `Batch.covered` of one scene."""
    resized = np.asarray(mask.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST))
    cells = resized.reshape(SIDE, PATCH, SIDE, PATCH).transpose(0, 2, 1, 3).reshape(IMAGE_TOKENS, -1)
    counts = np.stack([(cells == number).sum(1) for number in range(len(scene.shapes) + 1)], 1) / PATCH**2
    covered = 1 - counts[:, 0]
    owner = np.where(covered >= 0.25, counts[:, 1:].argmax(1) + 1, 0)
    colours, kinds = list(scenes.COLOURS), list(scenes.SHAPES)
    facts = [(0, 0, 8, 8)] + [
        (1 + colours.index(shape.colour), 1 + kinds.index(shape.kind), int(8 * shape.y / scene.height),
         int(8 * shape.x / scene.width))
        for shape in scene.shapes
    ]  # fmt: skip
    found = np.array(facts)[owner]
    index = np.arange(IMAGE_TOKENS)
    return np.stack([found[:, 0], found[:, 1], index // SIDE, index % SIDE, found[:, 2], found[:, 3]], 1), covered


PATCH_CLASSES = (1 + len(scenes.COLOURS), 1 + len(scenes.SHAPES), SIDE, SIDE, 9, 9)


def pixel_values(images: Sequence[Image.Image]) -> torch.Tensor:
    """What `preprocessor_config.json` says: both edges to 64 pixels, bicubic, then CLIP's normalisation."""
    resized = [np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)) for image in images]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]


def collate(examples: Sequence[scenes.Example], prompts: Prompts) -> Batch:
    """Examples as a batch; images went through their file format."""
    rows: list[list[tuple[int, int, int, bool]]] = []
    for example in examples:
        row = []
        for turn, question in enumerate(example.questions):
            asked, answer = prompts.question(question.text), prompts.answer(question.answer)
            row += [
                (token, turn, offset, offset >= len(asked)) for offset, token in enumerate([*asked, *answer])
            ]
        rows.append(row)
    width = max(map(len, rows))
    padded = torch.tensor([row + [(llama.UNKNOWN_ID, -1, 0, False)] * (width - len(row)) for row in rows])
    files = [Image.open(io.BytesIO(scenes.encode(each.scene, each.image))) if each.scene.format == "JPEG" else each.image
             for each in examples]  # fmt: skip
    targets = [patches(each.scene, each.mask) for each in examples]
    return Batch(
        pixels=pixel_values(files),
        tokens=padded[..., 0],
        turns=padded[..., 1],
        offsets=padded[..., 2],
        answers=padded[..., 3].bool(),
        kinds=[[question.kind for question in example.questions] for example in examples],
        objects=torch.from_numpy(np.stack([target[0] for target in targets])),
        covered=torch.from_numpy(np.stack([target[1] for target in targets])).float(),
    )


class Stream(IterableDataset):  # type: ignore[misc]
    """Batches without end, of fresh scenes; every worker renders every n-th batch."""

    def __init__(self, seed: int, start: int, size: int, questions: int, prompts: Prompts) -> None:
        self._seed, self._start, self._size, self._questions, self._prompts = seed, start, size, questions, prompts

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in itertools.count(first, step):
            begin = self._start + number * self._size
            yield collate(
                [scenes.example(self._seed, begin + k, self._questions) for k in range(self._size)], self._prompts
            )


def batches(seed: int, start: int, size: int, questions: int, prompts: Prompts, workers: int = 1) -> Iterator[Batch]:
    """Batches of scenes from `start` on, rendered ahead by other processes."""
    stream = Stream(seed, start, size, questions, prompts)
    return iter(DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None))


def inputs(batch: Batch, prefix: Sequence[int], image_token: int) -> dict[str, torch.Tensor]:
    """Arguments of the model's forward pass: prefix, image and all questions of an image in one row.

    Positions of every question go on where the image ends; the mask lets a token see the prefix, the image and what
    precedes it in its own question.
    """
    images, text = batch.tokens.shape
    before = torch.tensor([*prefix, *[image_token] * IMAGE_TOKENS])
    shared = len(before)
    ids = torch.cat([before.expand(images, -1), batch.tokens], 1)
    positions = torch.cat([torch.arange(shared).expand(images, -1), shared + batch.offsets], 1)
    length = shared + text
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = batch.turns[:, :, None] == batch.turns[:, None, :]
    mask = causal.expand(images, -1, -1).clone()
    mask[:, shared:, shared:] &= same
    return {
        "input_ids": ids,
        "pixel_values": batch.pixels,
        "attention_mask": mask[:, None],
        "position_ids": positions,
    }
