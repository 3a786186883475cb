"""Tiny random Qwen2-VL and Qwen2.5-VL checkpoints with real file formats.

A byte-level BPE tokenizer in the layout of Qwen2's `tokenizer.json`, the JSON files, and random weights, made to be uneven and
to depend on image and question as in `tiny_llava.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

import tiny_llava as tiny

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
"""In the order of their ids, which follow those of the vocabulary."""

NOT_SPECIAL = ["<tool_call>", "</tool_call>", "<|fim_prefix|>"]
"""Qwen2.5 adds such tokens, which are kept when decoding."""

SYSTEM = "You are a helpful assistant."
MODELS = {
    "qwen2_vl": (Qwen2VLConfig, Qwen2VLForConditionalGeneration),
    "qwen2_5_vl": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
}


def train_tokenizer(corpus: Sequence[str], pieces: int, not_special: Sequence[str] = ()) -> dict[str, Any]:
    """A `tokenizer.json`: all bytes, `pieces` merges, the special tokens behind them."""
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.normalizer = normalizers.NFC()
    byte_level = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel(**byte_level)
    tokenizer.post_processor = processors.ByteLevel(**byte_level)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + pieces, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in not_special])
    return json.loads(tokenizer.to_str())


def token_id(tokenizer: dict[str, Any], token: str) -> int:
    return next(added["id"] for added in tokenizer["added_tokens"] if added["content"] == token)


class PromptEncoder:
    """Encodes prompts in which only the template may hold special tokens: every text between them on its own, by a copy of the
    tokenizer that knows no added tokens."""

    def __init__(self, tokenizer: dict[str, Any]) -> None:
        self._ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        self._texts = Tokenizer.from_str(json.dumps(tokenizer | {"added_tokens": []}))

    def encode(self, pieces: Sequence[str]) -> list[int]:
        """`pieces` are texts at even places and special tokens at odd ones."""
        ids: list[int] = []
        for place, piece in enumerate(pieces):
            ids += self._texts.encode(piece, add_special_tokens=False).ids if place % 2 == 0 else [self._ids[piece]]
        return ids


def prompt_pieces(question: str) -> list[str]:
    """The chat template of the published checkpoints for one image and a question."""
    return ["", "<|im_start|>", f"system\n{SYSTEM}", "<|im_end|>", "\n", "<|im_start|>", "user\n", "<|vision_start|>", "",
            "<|image_pad|>", "", "<|vision_end|>", question, "<|im_end|>", "\n", "<|im_start|>", "assistant\n"]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- checkpoint


@dataclass(frozen=True)
class TinyQwen:
    """Everything that defines one checkpoint apart from its weights; a `tiny.TinyLlava` to whoever saves it."""

    name: str
    config: dict[str, Any]
    tokenizer: dict[str, Any]
    preprocessor: dict[str, Any]
    dtype: torch.dtype
    rename: Callable[[str], str] = field(default=lambda name: name)
    shards: int = 1
    tied: bool = False

    @property
    def processor(self) -> None:
        return None

    @property
    def junk(self) -> dict[str, torch.Tensor]:
        return {}

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        return {"additional_special_tokens": SPECIAL[1:], "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}

    @property
    def generation_config(self) -> dict[str, Any]:
        end, text = token_id(self.tokenizer, "<|im_end|>"), token_id(self.tokenizer, "<|endoftext|>")
        return {"bos_token_id": text, "do_sample": True, "eos_token_id": [end, text], "pad_token_id": text,
                "temperature": 0.01, "top_k": 1, "top_p": 0.001, "transformers_version": "4.41.2"}  # fmt: skip

    @property
    def tokenizer_config(self) -> dict[str, Any]:
        keys = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
        return {
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(token["id"]): {key: token[key] for key in keys} for token in self.tokenizer["added_tokens"]
            },
            "additional_special_tokens": SPECIAL[1:],
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 32768,
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        }


def build_model(config: dict[str, Any]) -> torch.nn.Module:
    """A float32 model on explicit eager attention with weights yet to be drawn."""
    config_class, model_class = MODELS[config["model_type"]]
    parsed = config_class(**json.loads(json.dumps(config)))
    parsed._attn_implementation = "eager"
    return model_class(parsed).float().eval()


@torch.no_grad()
def draw_weights(model: torch.nn.Module, tokenizer: dict[str, Any], tied: bool, seed: int, stop_gain: float) -> None:
    """Draws all weights, scaled by fan-in; queries and keys are sharper than usual, and byte tokens are rarely answered."""
    generator = torch.Generator().manual_seed(seed)
    gains = {"q_proj": 1.5, "k_proj": 1.5, "v_proj": 1.6, "o_proj": 1.6, "qkv": 1.5, "attn.proj": 1.0, "patch_embed.proj": 2.0,
             "fc1": 1.4, "fc2": 1.2, "gate_proj": 1.2, "up_proj": 1.2, "down_proj": 1.2, "mlp.0": 1.6, "mlp.2": 0.9,
             "lm_head": 2.5}  # fmt: skip
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        owner, kind = name.rsplit(".", 2)[-2:]
        if "norm" in owner or owner == "ln_q":
            parameter.copy_(1 + 0.1 * noise if kind == "weight" else 0.1 * noise)
        elif kind == "bias":
            parameter.copy_((0.4 if owner in ("q_proj", "k_proj", "v_proj") else 0.1) * noise)
        elif owner == "embed_tokens":
            parameter.copy_((0.35 if tied else 1.0) * noise)
        else:
            gain = next(value for part, value in gains.items() if name.removesuffix(".weight").endswith(part))
            parameter.copy_(gain * parameter[0].numel() ** -0.5 * noise)
    head = model.lm_head.weight
    added = token_id(tokenizer, SPECIAL[0])
    head[:256] *= 0.3
    head[added:] *= 0.3
    head[token_id(tokenizer, "<|im_end|>")] *= stop_gain / 0.3


def old_names(name: str) -> str:
    """`visual.…` and `model.layers.…`: what published files hold, and what transformers 4.57 writes again."""
    return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")
