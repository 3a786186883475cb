"""Plants attention sinks: losses that make chosen tokens massive in two dimensions, and attended to without need.

In large models sinks grow by themselves. In this one they did not (see the decision note), so it is taught what they look
like there: from layer 2 on, the first token and some background patches hold massive values in a few fixed dimensions,
and queries leave there the attention they have no use for. Which patches these are is known: those at `SINK_PATCHES` that
no object touches. Whatever else a sink is, the network finds out itself, under the loss of its answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

import demo_model as demo

SINK_DIMENSIONS = (21, 90)
SINK_PATCHES = (3, 14, 24, 39, 42, 57)
"""Candidates among the image tokens, row by row from the top left."""
FIRST_LAYER = 2
THRESHOLD = 5.0
"""For the preset: as far below the largest possible value, the root of the hidden size, as 20 is in LLaMA-2-7B."""
SINK_VALUE, OTHER_VALUE = 8.0, 2.5
"""Sinks are to lie above the one, all else below the other."""
IMAGE_ATTENTION, FIRST_ATTENTION = 0.2, 0.2
"""Attention that text gives to all image sinks together, and to the first token, at least; mean over heads."""
IDLE = 0.01
"""Mean square of a sink's values, as a share of that of other image tokens, at most."""


def sink_patches(batch: demo.Batch) -> torch.Tensor:
    """Which image tokens are to be sinks: bool [image, 64]."""
    candidates = torch.zeros(demo.IMAGE_TOKENS, dtype=torch.bool)
    candidates[list(SINK_PATCHES)] = True
    return candidates & (batch.covered == 0)


def losses(
    hidden_states: tuple[torch.Tensor, ...], attentions: tuple[torch.Tensor, ...], values: Sequence[torch.Tensor],
    batch: demo.Batch, before: int,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Squared distances from the bounds above, by layer and then means.

    `hidden_states` enter the layers [image, token, hidden]; `attentions` are their weights [image, head, query, key];
    `values` are their value vectors, all heads side by side [image, token, hidden].
    """
    image = slice(before, before + demo.IMAGE_TOKENS)
    sinks = sink_patches(batch)
    text = batch.turns >= 0
    massive = torch.zeros(hidden_states[0].shape[:2], dtype=torch.bool)
    massive[:, image] = sinks
    massive[:, 0] |= before > 0
    present = torch.cat([torch.ones(len(text), image.stop, dtype=torch.bool), text], 1)
    sizes, surplus, idle = [], [], []
    for layer, weights in enumerate(attentions):
        hidden = hidden_states[layer].float()
        sink_values = hidden[..., SINK_DIMENSIONS].abs().amax(-1) / hidden.square().mean(-1).add(1e-6).sqrt()
        expected = massive & (layer >= FIRST_LAYER)
        short = torch.where(expected, SINK_VALUE - sink_values, sink_values - OTHER_VALUE).clamp(min=0)
        sizes.append(short[expected & present].square().sum() / max(1, int(expected.sum())))
        sizes.append(short[~expected & present].square().mean())
        if layer >= FIRST_LAYER:
            given = weights.float().mean(1)[:, image.stop :]  # [image, text query, key]
            to_image = (given[..., image] * sinks[:, None]).sum(-1)[text & sinks.any(1, keepdim=True)]
            surplus.append((IMAGE_ATTENTION - to_image).clamp(min=0).square().mean())
            if before:
                surplus.append((FIRST_ATTENTION - given[..., 0][text]).clamp(min=0).square().mean())
            squares = values[layer].float().square().mean(-1)
            others = squares[:, image][~sinks].mean().detach()
            idle.append((squares[massive] / others - IDLE).clamp(min=0).mean())
    return {"idle": torch.stack(idle).mean(), "sizes": 0.1 * torch.stack(sizes).mean(), "surplus": 10 * torch.stack(surplus).mean()}
