"""Tiny random LLaVA checkpoints with real file formats.

Everything a llava-hf folder holds is made here: a byte-fallback BPE tokenizer trained on a small corpus, the JSON files,
and random weights. The weights are shaped so that the model is interesting to test although it knows nothing: attention is
uneven, answers depend on the image and on the question, and a few neurons of decoder layer 1 write large values into two
fixed hidden dimensions for some tokens, so that attention sinks exist from layer 2 on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlavaConfig, LlavaForConditionalGeneration

sys.path.append(str(Path(__file__).parents[2] / "main" / "python"))

from llama_tokenizer import (  # noqa: E402
    BOS,
    BOS_ID,
    BYTE_TOKENS,
    EOS,
    EOS_ID,
    IMAGE,
    NEWLINE_ID,
    PAD,
    UNKNOWN,
    UNKNOWN_ID,
    WORD_START,
    train_tokenizer,
)
from llava_files import (  # noqa: E402
    SPECIAL_TOKENS_MAP,
    clip_preprocessor,
    generation_config,
    llava_processor,
    old_names,
    tokenizer_config,
    write_documents,
    write_json,
    write_tensors,
)

def image_token_id(tokenizer: dict[str, Any]) -> int:
    return next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == IMAGE)


class PromptEncoder:
    """Encodes whole prompts in which only the template may hold special tokens.

    Works on a copy of the tokenizer whose special tokens are renamed to strings no user can type by accident. The image
    marker of the template is written with its new name; the same characters inside a question stay ordinary text.
    """

    def __init__(self, tokenizer: dict[str, Any]) -> None:
        renamed = json.loads(json.dumps(tokenizer))
        names = {token["content"]: self._private(token["content"]) for token in renamed["added_tokens"]}
        for token in renamed["added_tokens"]:
            token["content"] = names[token["content"]]
        model = renamed["model"]
        model["vocab"] = {names.get(token, token): index for token, index in model["vocab"].items()}
        model["unk_token"] = names[model["unk_token"]]
        self._tokenizer = Tokenizer.from_str(json.dumps(renamed))
        self._image = names[IMAGE]

    def encode(self, before: str, after: str) -> list[int]:
        """Ids of `before`, one image token, and `after`, encoded as one text; BOS as the tokenizer says."""
        return self._tokenizer.encode(before + self._image + after).ids

    @staticmethod
    def _private(token: str) -> str:
        return f"\ue000{token.strip('<>')}\ue001"


# ---------------------------------------------------------------------------------------------------- checkpoint


@dataclass(frozen=True)
class TinyLlava:
    """Everything that defines one checkpoint apart from its weights."""

    name: str
    config: dict[str, Any]
    tokenizer: dict[str, Any]
    preprocessor: dict[str, Any] | None
    processor: dict[str, Any]
    dtype: torch.dtype
    tokenizer_config: dict[str, Any]
    generation_config: dict[str, Any]
    rename: Callable[[str], str] = field(default=lambda name: name)
    shards: int = 1
    junk: dict[str, torch.Tensor] = field(default_factory=dict)
    special_tokens_map: dict[str, str] | None = None

    @property
    def image_tokens(self) -> int:
        vision = self.config["vision_config"]
        return (vision["image_size"] // vision["patch_size"]) ** 2


def tokenizer_config_5() -> dict[str, Any]:
    """The `tokenizer_config.json` of transformers 5."""
    return {
        "backend": "tokenizers",
        "bos_token": BOS,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "image_token": IMAGE,
        "is_local": False,
        "legacy": False,
        "model_max_length": 1000000000000000019884624838656,
        "model_specific_special_tokens": {"image_token": IMAGE},
        "pad_token": PAD,
        "padding_side": "left",
        "processor_class": "LlavaProcessor",
        "tokenizer_class": "TokenizersBackend",
        "unk_token": UNKNOWN,
        "use_default_system_prompt": False,
    }


def llava_processor_5(patch_size: int, size: int) -> dict[str, Any]:
    """The one processor file of transformers 5, with the image processor inside."""
    image_processor = clip_preprocessor(size)
    del image_processor["processor_class"]
    return {"image_processor": image_processor} | llava_processor(patch_size)


def build_model(config: dict[str, Any]) -> LlavaForConditionalGeneration:
    """A float32 model on explicit eager attention with weights yet to be drawn.

    transformers 4 does not know the `rope_parameters` of transformers 5; its rope base is handed over here.
    """
    llava = LlavaConfig(**json.loads(json.dumps(config)))
    text = llava.text_config
    text.rope_theta = config["text_config"].get("rope_parameters", {}).get("rope_theta", text.rope_theta)
    llava._attn_implementation = "eager"
    return LlavaForConditionalGeneration(llava).float().eval()


@torch.no_grad()
def draw_weights(model: LlavaForConditionalGeneration, seed: int, stop_gain: float = 1.0) -> None:
    """Draws all weights; byte tokens are rarely answered."""
    draw_parameters(model, seed)
    head = model.lm_head.weight
    first_piece, image = 3 + len(BYTE_TOKENS), model.config.image_token_index
    head[:first_piece] *= 0.3
    head[image:] *= 0.3
    head[EOS_ID] *= stop_gain / 0.3


@torch.no_grad()
def draw_parameters(model: torch.nn.Module, seed: int) -> None:
    """Draws all weights, scaled by fan-in; queries and keys are sharper than usual."""
    generator = torch.Generator().manual_seed(seed)
    gains = {"q_proj": 1.5, "k_proj": 1.5, "v_proj": 1.6, "o_proj": 1.6, "out_proj": 1.0, "patch_embedding": 2.0,
             "fc1": 1.4, "fc2": 1.2, "gate_proj": 1.2, "up_proj": 1.2, "down_proj": 1.2,
             "linear_1": 1.6, "linear_2": 0.9, "lm_head": 2.5}  # fmt: skip
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        owner, kind = name.split(".")[-2:]
        if "norm" in owner or "layrnorm" in owner:
            parameter.copy_(1 + 0.1 * noise if kind == "weight" else 0.1 * noise)
        elif kind == "bias":
            parameter.copy_(0.1 * noise)
        elif "position_embedding" in owner:
            parameter.copy_(0.8 * noise)
        elif "embed" in owner and owner != "patch_embedding" or "class_embedding" in name or "image_newline" in name:
            parameter.copy_(noise)
        else:
            fan_in = parameter[0].numel()
            parameter.copy_(gains[owner] * fan_in**-0.5 * noise)


@torch.no_grad()
def plant_sinks(
    model: torch.nn.Module,
    decoder: torch.nn.Module,
    projection: torch.Tensor,
    prompts: Sequence[dict[str, torch.Tensor]],
    spans: Sequence[tuple[int, int]],
    dimensions: tuple[int, int],
    image_tokens: Sequence[tuple[Sequence[int], int]],
    text_tokens: Sequence[int],
    strength: float,
) -> None:
    """Makes some tokens attention sinks: neurons of layer 1 that fire on them write into the sink dimensions.

    One neuron looks for the first token, one for each (prompts, image token) given, one for each of the positions
    `text_tokens` of the first prompt. What it looks for is how the input that the layer's MLP sees at that token differs from
    the mean, so tokens that look alike become weaker sinks. Everything else writes little into the sink dimensions.

    `decoder` is the part of `model` with `layers`, `projection` the weight that makes the image's embeddings, and `spans` say
    where the image tokens of each prompt are.
    """
    decoder.embed_tokens.weight[:, dimensions] *= 0.3
    projection[dimensions, :] *= 0.3
    for layer in decoder.layers:
        layer.self_attn.o_proj.weight[dimensions, :] *= 0.3
        layer.mlp.down_proj.weight[dimensions, :] *= 0.3
    mlp = decoder.layers[1].mlp
    seen: list[torch.Tensor] = []
    handle = mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].clone()))
    for prompt in prompts:
        model(**prompt)
    handle.remove()
    patterns = [seen[0][0]]
    for probed, token in image_tokens:
        patterns.append(torch.stack([seen[prompt][spans[prompt][0] + token] for prompt in probed]).mean(0))
    patterns.extend(seen[0][position] for position in text_tokens)
    everywhere = torch.cat(seen)
    images = torch.cat([states[start:end] for states, (start, end) in zip(seen, spans, strict=True)])
    for neuron, pattern in enumerate(patterns):
        contrast = pattern - (images if 0 < neuron <= len(image_tokens) else everywhere).mean(0)
        direction = contrast / contrast.norm()
        mlp.gate_proj.weight[neuron] = direction
        mlp.up_proj.weight[neuron] = direction
        response = direction @ pattern
        written = strength / (torch.nn.functional.silu(response) * response)
        mlp.down_proj.weight[:, neuron] *= 0.1
        mlp.down_proj.weight[dimensions[0], neuron] = written if neuron % 2 == 0 else 0.4 * written
        mlp.down_proj.weight[dimensions[1], neuron] = -0.6 * written if neuron % 2 == 0 else written


def to_dtype(model: LlavaForConditionalGeneration, dtype: torch.dtype) -> None:
    """Converts the parameters only: `model.to(dtype)` would round the rotary frequencies, too, which no loader does."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def save_checkpoint(checkpoint: TinyLlava, model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Writes the folder. Tensor names and sharding are the checkpoint's, whatever transformers itself would write."""
    documents = {
        "config.json": checkpoint.config,
        "generation_config.json": checkpoint.generation_config,
        "preprocessor_config.json": checkpoint.preprocessor,
        "processor_config.json": checkpoint.processor,
        "tokenizer.json": checkpoint.tokenizer,
        "tokenizer_config.json": checkpoint.tokenizer_config,
        "special_tokens_map.json": checkpoint.special_tokens_map,
    }
    write_documents(folder, documents)
    tensors = {checkpoint.rename(name): tensor.detach().to(checkpoint.dtype).contiguous().clone()
               for name, tensor in model.state_dict().items()}  # fmt: skip
    tensors.update(checkpoint.junk)
    metadata = {"format": "pt"}
    if checkpoint.shards == 1:
        write_tensors(folder / "model.safetensors", tensors, metadata)
        return
    weight_map: dict[str, str] = {}
    names = list(tensors)
    for shard in range(checkpoint.shards):
        file = f"model-{shard + 1:05d}-of-{checkpoint.shards:05d}.safetensors"
        part = names[shard * len(names) // checkpoint.shards : (shard + 1) * len(names) // checkpoint.shards]
        write_tensors(folder / file, {name: tensors[name] for name in part}, metadata)
        weight_map.update(dict.fromkeys(part, file))
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index, indent=2)


# ---------------------------------------------------------------------------------------------------- tensor names


def names_without_vision_model(name: str) -> str:
    """`model.vision_tower.embeddings…`: the module tree of transformers 5, which has no wrapper in the vision tower."""
    return name.replace("model.vision_tower.vision_model.", "model.vision_tower.")
