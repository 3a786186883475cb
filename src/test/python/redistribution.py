"""Visual attention redistribution inside transformers' own decoder, twice.

`PaperVar` is written from the paper's formulas, in float64 and apart from any other code. `ReleasedVar` calls the functions of
the authors' release from a checkout the caller names. Both are driven by `tapped`, which lets them see the hidden states
that enter every decoder layer and see and replace the attention weights after the softmax.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask
from transformers.models.llama.modeling_llama import repeat_kv

FIRST_SINK_LAYER = 2


@dataclass(frozen=True)
class VarSettings:
    name: str
    mode: str
    sink_dimensions: tuple[int, ...]
    sink_threshold: float
    min_nonsink_ratio: float
    min_image_attention: float
    moved_share: float

    def document(self) -> dict[str, Any]:
        values = {key.replace("_", "-"): value for key, value in vars(self).items()}
        return values | {"sink-dimensions": list(self.sink_dimensions)}


@dataclass(frozen=True)
class Prompt:
    """What redistribution must know of a prompt: where the image is, and the size of the decoder."""

    span: tuple[int, int]
    layers: int
    heads: int


# ---------------------------------------------------------------------------------------------- the paper's formulas


def sink_values(hidden: np.ndarray, dimensions: tuple[int, ...]) -> np.ndarray:
    """Per token of `hidden` [token, hidden]: the largest magnitude in the sink dimensions over the token's RMS."""
    hidden = hidden.astype(np.float64)
    rms = np.sqrt((hidden**2).mean(-1) + 1e-6)
    return np.abs(hidden[:, list(dimensions)]).max(-1) / rms


@dataclass(frozen=True)
class GroupSums:
    """Attention of every row of [head, query, key] on groups of keys."""

    image: np.ndarray
    visual_nonsinks: np.ndarray
    sinks: np.ndarray

    @property
    def nonsink_ratio(self) -> np.ndarray:
        return np.divide(self.visual_nonsinks, self.image, out=np.zeros_like(self.image), where=self.image > 0)


def group_sums(weights: np.ndarray, sinks: np.ndarray, span: tuple[int, int]) -> GroupSums:
    """`sinks` is a mask over keys; `span` the image's keys."""
    image = np.zeros(weights.shape[-1], bool)
    image[span[0] : span[1]] = True
    weights = weights.astype(np.float64)
    return GroupSums(weights[..., image].sum(-1), weights[..., image & ~sinks].sum(-1), weights[..., sinks].sum(-1))


def redistribute(
    weights: np.ndarray, sinks: np.ndarray, span: tuple[int, int], settings: VarSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the new [head, query, key] weights and the [head, query] mask of rows that were changed.

    Three rows worked by hand, over the keys [text sink, visual sink, image, image, text, text], so `span` is (1, 4), with a
    min-nonsink-ratio of 0.5, a min-image-attention of 0.2 and a moved-share of 0.6:

        a = [.2, .1, .3, .1, .2, .1]     image .5, non-sinks .4, ratio .8: changed. Moved: .6 * (.2 + .1) = .18, of which
                                         3/4 and 1/4 go to the two image tokens that are no sinks:
                                         [.08, .04, .435, .145, .2, .1]
        b = [.5, .2, .04, .06, .1, .1]   image .3, non-sinks .1, ratio .333 < .5: unchanged
        c = [.6, .02, .05, .05, .18, .1] image .12 < .2: unchanged

    And one that meets both limits exactly, with a min-image-attention of .25 and a moved-share of 1:

        d = [.25, .125, .0625, .0625, .25, .25]   ratio .5. Moved: .375: [0, 0, .25, .25, .25, .25]
    """
    sums = group_sums(weights, sinks, span)
    visual_sinks = sinks[span[0] : span[1]]
    selected = (
        visual_sinks.any()
        & (sums.visual_nonsinks > 0)
        & (sums.image >= settings.min_image_attention)
        & (sums.nonsink_ratio >= settings.min_nonsink_ratio)
    )
    used = weights.astype(np.float64)
    for head, query in zip(*np.nonzero(selected), strict=True):
        row = used[head, query]
        moved = settings.moved_share * sums.sinks[head, query]
        row[sinks] *= 1 - settings.moved_share
        image = row[span[0] : span[1]]
        image[~visual_sinks] += moved * image[~visual_sinks] / sums.visual_nonsinks[head, query]
    return used, selected


def check_worked_rows() -> None:
    """Asserts the rows worked by hand in `redistribute`."""
    sinks = np.array([True, True, False, False, False, False])
    settings = VarSettings("worked", "paper", (0,), 1.0, 0.5, 0.2, 0.6)
    a, b, c = [.2, .1, .3, .1, .2, .1], [.5, .2, .04, .06, .1, .1], [.6, .02, .05, .05, .18, .1]  # fmt: skip
    used, selected = redistribute(np.array([[a, b, c]]), sinks, (1, 4), settings)
    np.testing.assert_array_equal(selected, [[True, False, False]])
    np.testing.assert_allclose(used[0], [[.08, .04, .435, .145, .2, .1], b, c], rtol=0, atol=1e-12)  # fmt: skip
    exact = VarSettings("worked", "paper", (0,), 1.0, 0.5, 0.25, 1.0)
    d = np.array([[[.25, .125, .0625, .0625, .25, .25]]])  # fmt: skip
    used, selected = redistribute(d, sinks, (1, 4), exact)
    assert selected.all()
    np.testing.assert_array_equal(used[0, 0], [0, 0, .25, .25, .25, .25])  # fmt: skip


# ------------------------------------------------------------------------------------------------- what is recorded


@dataclass
class Step:
    """What one forward pass showed: one list entry a decoder layer."""

    hidden: list[np.ndarray] = field(default_factory=list)  # [token, hidden]
    weights: list[np.ndarray] = field(default_factory=list)  # [head, query, key]
    used: list[np.ndarray] = field(default_factory=list)
    selected: list[np.ndarray] = field(default_factory=list)  # [head, query], queries behind the image only


class Observer:
    """Records hidden states and attention of every pass, and sinks where settings are given; changes nothing.

    Made for one prompt and thrown away.
    """

    def __init__(self, prompt: Prompt, settings: VarSettings | None = None) -> None:
        self.prompt, self.settings = prompt, settings
        self.steps: list[Step] = []
        self.sinks: dict[int, np.ndarray] = {}  # by layer, a mask over the prompt's tokens

    def layer_input(self, layer: int, hidden: torch.Tensor) -> None:
        if layer == 0:
            self.steps.append(Step())
        self.steps[-1].hidden.append(hidden[0].float().numpy().copy())
        if self.settings is not None and self.in_prompt() and layer >= FIRST_SINK_LAYER:
            self.sinks[layer] = self.find_sinks(layer, hidden)

    def find_sinks(self, layer: int, hidden: torch.Tensor) -> np.ndarray:
        """By the paper's rule: at or above the threshold."""
        return sink_values(self.steps[0].hidden[layer], self.settings.sink_dimensions) >= self.settings.sink_threshold

    def attention(self, layer: int, weights: torch.Tensor) -> torch.Tensor:
        used, selected = self.change(layer, weights)
        step = self.steps[-1]
        step.weights.append(weights[0].float().numpy().copy())
        step.used.append(used[0].float().numpy().copy())
        step.selected.append(selected)
        return used

    def change(self, layer: int, weights: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        return weights, np.zeros(weights.shape[1:3], bool)

    def in_prompt(self) -> bool:
        return len(self.steps) == 1


class PaperVar(Observer):
    """The paper's formulas: prompt tokens may be sinks, queries behind the image are changed, the last layer is left alone."""

    def change(self, layer: int, weights: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        if layer < FIRST_SINK_LAYER or layer == self.prompt.layers - 1:
            return super().change(layer, weights)
        keys = weights.shape[-1]
        sinks = np.zeros(keys, bool)
        sinks[: len(self.sinks[layer])] = self.sinks[layer]
        before = weights[0].double().numpy()
        used, selected = redistribute(before, sinks, self.prompt.span, self.settings)
        if self.in_prompt():
            selected[:, : self.prompt.span[1]] = False
        used = np.where(selected[..., None], used, before)
        return torch.from_numpy(used)[None].to(weights.dtype), selected


class Release:
    """The modules of the authors' release that hold the method, imported from a checkout without its model code."""

    def __init__(self, checkout: Path) -> None:
        package = types.ModuleType("src")  # the real one imports the release's own model, made for other versions
        package.__path__ = [str(checkout / "src")]
        sys.modules["src"] = package
        self.logic = importlib.import_module("src.logic")
        self.stash = importlib.import_module("src.stash")


class ReleasedVar(Observer):
    """Drives the release's functions as its model does, with the state of a freshly started process."""

    def __init__(self, prompt: Prompt, settings: VarSettings, release: Release) -> None:
        super().__init__(prompt, settings)
        self.logic, station = release.logic, release.stash.MetadataStation
        station.model_config.update(num_hidden_layers=prompt.layers, num_attention_heads=prompt.heads)
        station.segments["begin_pos"]["image"] = prompt.span[0]
        station.metadata.update(vis_len=prompt.span[1] - prompt.span[0], output_token_count=-1)
        self.station = station
        engine = self.logic.LogicEngine
        engine.indices, engine.forked_head = defaultdict(list), {}
        engine.forked_head_per_token = defaultdict(dict)
        engine.dim_sink = torch.tensor(settings.sink_dimensions)
        engine.activate(
            tau=settings.sink_threshold,
            rho=1 - settings.min_nonsink_ratio,
            summ=settings.min_image_attention,
            p=1 - settings.moved_share,
        )

    def layer_input(self, layer: int, hidden: torch.Tensor) -> None:
        super().layer_input(layer, hidden)
        self.station.metadata["output_token_count"] = len(self.steps) - 2

    def find_sinks(self, layer: int, hidden: torch.Tensor) -> np.ndarray:
        assert layer in self.logic.DimProspector.sink_select_layers
        self.logic.DimProspector.run_logic(hidden, layer=layer)
        found = np.zeros(hidden.shape[1], bool)
        found[self.logic.LogicEngine.indices[layer].numpy()] = True
        return found

    def change(self, layer: int, weights: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        self.logic.HeadFork.run_logic(weights, layer)
        used = self.logic.VARProcessor.attn_redist(weights.clone(), layer)
        selected = np.zeros(weights.shape[1:3], bool)
        for _, head, query in torch.as_tensor(self.logic.HeadFork.forked_head[layer]).reshape(-1, 3).tolist():
            selected[head, query] = not self.in_prompt() or query >= self.prompt.span[1]
        return used, selected


# ------------------------------------------------------------------------------------------------ inside the decoder

_observer: Observer | None = None


def _tapped_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, scaling: float, dropout: float = 0.0, **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Eager attention, operation for operation, with the observer between softmax and values."""
    scores = torch.matmul(query, repeat_kv(key, module.num_key_value_groups).transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    weights = torch.nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = _observer.attention(module.layer_idx, weights)
    output = torch.matmul(weights, repeat_kv(value, module.num_key_value_groups))
    return output.transpose(1, 2).contiguous(), weights


AttentionInterface.register("tapped", _tapped_attention)
AttentionMaskInterface.register("tapped", eager_mask)


@contextmanager
def tapped(decoder: torch.nn.Module, observer: Observer) -> Iterator[None]:
    """While open, `observer` sits in every layer of the decoder, a model of transformers with `layers` and `config`."""
    global _observer

    def hook(layer: int) -> Any:
        def enter(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            observer.layer_input(layer, args[0] if args else kwargs["hidden_states"])

        return enter

    handles = [layer.register_forward_pre_hook(hook(index), with_kwargs=True) for index, layer in enumerate(decoder.layers)]
    _observer, decoder.config._attn_implementation = observer, "tapped"
    try:
        yield
    finally:
        _observer, decoder.config._attn_implementation = None, "eager"
        for handle in handles:
            handle.remove()
