"""Measures the demo model while it is trained: how much it knows, and whether it has sinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, LlavaForConditionalGeneration

import demo_model as demo
import llama_tokenizer as llama

ATTENTION = "explicit"


def explicit_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    scaling: float, dropout: float = 0.0, **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Attention of [row, head, token, channel] written out: on a CPU and at this size faster than the fused kernel's
    backward pass, and the weights can be looked at. The mask is True where a query sees a key."""
    value_type = value.dtype
    scores = query.to(value_type) @ key.to(value_type).transpose(-1, -2) * scaling
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(ATTENTION, explicit_attention)


@torch.no_grad()
def patch_accuracy(
    model: LlavaForConditionalGeneration, reader: torch.nn.Module, prompts: demo.Prompts, seed: int
) -> dict[str, float]:
    """How often the right fact about a patch can be read from the vision encoder; all but row and column on objects only."""
    batch = next(demo.batches(seed, 0, 128, 1, prompts, workers=0))
    features = model.model.vision_tower(batch.pixels).last_hidden_state[:, 1:]
    parts = reader.classes(reader.norm(features)).split(demo.PATCH_CLASSES, -1)
    right = torch.stack([part.argmax(-1) == batch.objects[..., fact] for fact, part in enumerate(parts)], -1).float()
    objects = batch.objects[..., 0] > 0
    names = ("colour", "shape", "row", "column", "object row", "object column")
    return {name: round(right[..., fact][objects].mean().item(), 4) for fact, name in enumerate(names)}


@torch.no_grad()
def everything(model: LlavaForConditionalGeneration, prompts: demo.Prompts, seed: int, images: int = 128) -> dict[str, Any]:
    """Exactly right answers by kind, and by layer how large the first token and image tokens are and how much they are attended."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    sinks: list[dict[str, np.ndarray]] = []
    for start in range(0, images, 32):
        batch = next(demo.batches(seed, start, 32, 12, prompts, workers=0))
        before = prompts.prefix(demo.SYSTEM)
        with torch.autocast("cpu", torch.bfloat16):
            result = model(
                **demo.inputs(batch, before, prompts.image_token), output_hidden_states=True, output_attentions=True,
                logits_to_keep=batch.tokens.shape[1],
            )  # fmt: skip
        wrong = (result.logits[:, :-1].argmax(-1) != batch.tokens[:, 1:]) & batch.answers[:, 1:]
        for row, kinds in enumerate(batch.kinds):
            bad = set(batch.turns[row, 1:][wrong[row]].tolist())
            for turn, kind in enumerate(kinds):
                asked[kind] += 1
                right[kind] += turn not in bad
        sinks.append(_sinks(result, batch, len(before)))
    accuracy = {kind: round(right[kind] / asked[kind], 4) for kind in sorted(asked)}
    return {"accuracy": accuracy, "sinks": _by_layer(sinks)}


def _sinks(result: Any, batch: demo.Batch, before: int) -> dict[str, np.ndarray]:
    """Per layer: |x|max/RMS of the first token and of every image token, and the attention text pays to each of them."""
    image = slice(before, before + demo.IMAGE_TOKENS)
    first, tokens, dimensions, first_mass, mass = [], [], [], [], []
    text = batch.turns >= 0
    for hidden, weights in zip(result.hidden_states, result.attentions):
        scaled = hidden.float().abs() / hidden.float().square().mean(-1, keepdim=True).sqrt()
        first.append(scaled[:, 0].amax(-1))
        tokens.append(scaled[:, image].amax(-1))
        dimensions.append(scaled[:, image].argmax(-1))
        received = weights.float()[:, :, before + demo.IMAGE_TOKENS :].mean(1)[text]  # [question token, key]
        first_mass.append(received[:, 0].mean())
        by_image = weights.float()[:, :, before + demo.IMAGE_TOKENS :, image].mean(1)
        mass.append((by_image * text[..., None]).sum(1) / text.sum(1, keepdim=True))
    return {
        "first": torch.stack(first).numpy(),
        "tokens": torch.stack(tokens).numpy(),
        "dimensions": torch.stack(dimensions).numpy(),
        "first_mass": torch.stack(first_mass)[:, None].numpy(),
        "mass": torch.stack(mass).numpy(),
        "background": np.broadcast_to(batch.covered.numpy() == 0, (len(mass), *batch.covered.shape)),
    }


def _by_layer(parts: list[dict[str, np.ndarray]]) -> list[dict[str, float]]:
    joined = {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}
    found = []
    for layer in range(len(joined["first"])):
        tokens, mass, background = joined["tokens"][layer], joined["mass"][layer], joined["background"][layer]
        largest = tokens.argmax(-1)
        rows = np.arange(len(tokens))
        found.append({
            "first": _round(np.median(joined["first"][layer])),
            "first_attention": _round(joined["first_mass"][layer].mean()),
            "largest_image": _round(np.median(tokens.max(-1))),
            "median_image": _round(np.median(tokens)),
            "most_common_dimension": int(np.bincount(joined["dimensions"][layer][rows, largest]).argmax()),
            "largest_image_attention": _round(mass[rows, largest].mean()),
            "image_attention": _round(mass.sum(-1).mean()),
            "most_attended_image": _round(mass.max(-1).mean()),
            "largest_on_background": _round(background[rows, largest].mean()),
            "background": _round(background.mean()),
        })  # fmt: skip
    return found


def _round(value: Any) -> float:
    return round(float(value), 4)
