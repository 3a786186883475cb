"""Writes a random checkpoint of a published model's true shape, to try memory and speed where the real one cannot be had.

    python random_checkpoint.py llava-1.5-7b FOLDER
    python random_checkpoint.py --header-only vila-13b FOLDER

Names, shapes, sharding and the JSON files are those of the published folder; numbers and tokenizer are not: the vocabulary is a
tiny one filled up to its true size with pieces that no text has. Weights are bfloat16 and streamed, so that little memory is
needed. `--header-only` leaves the data as a hole in a sparse file, which takes no disk: enough for `inspect`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import AutoConfig, CLIPVisionConfig, LlamaConfig, SiglipVisionConfig

import golden
import golden_sentencepiece
import tiny_llava as tiny
import tiny_qwen
import llava_files  # known through tiny_llava

SEED = 20265
SHARD_BYTES = 5_000_000_000
BLOCK = 1 << 24  # numbers drawn; longer tensors repeat them

Shapes = dict[str, list[int]]


# ---------------------------------------------------------------------------------------------------------- tensors


def of_model(config: Any, model_class: type, rename: Callable[[str], str] = lambda name: name) -> Shapes:
    """What transformers' own model holds, built without memory for its weights."""
    with torch.device("meta"):
        model = model_class(config)
    tied = set(getattr(model, "_tied_weights_keys", None) or []) if config.get_text_config().tie_word_embeddings else set()
    return {rename(name): list(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}


def renamed(*rules: tuple[str, str]) -> Callable[[str], str]:
    """The first rule whose pattern fits the start of a name."""

    def rename(name: str) -> str:
        for pattern, replacement in rules:
            changed, count = re.subn("^" + pattern, replacement, name)
            if count:
                return changed
        return name

    return rename


OLD_HF_NAMES = renamed(
    (r"model\.language_model\.", "language_model.model."), (r"lm_head\.", "language_model.lm_head."), (r"model\.", "")
)
"""The spelling of the published llava-hf folders, older than version 4.52."""


def llava_config(hidden: int, intermediate: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    text = {"model_type": "llama", "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": heads, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
            "vocab_size": 32064, "torch_dtype": "bfloat16"}  # fmt: skip
    return {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "ignore_index": -100,
            "image_token_index": 32000, "pad_token_id": 32001, "projector_hidden_act": "gelu", "text_config": text,
            "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vision_config": CLIP_LARGE, "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default", "vocab_size": 32064, **more}  # fmt: skip


CLIP_LARGE = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
              "num_attention_heads": 16, "image_size": 336, "patch_size": 14, "projection_dim": 768}  # fmt: skip
SIGLIP_SO400M = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
                 "num_attention_heads": 16, "image_size": 384, "patch_size": 14}  # fmt: skip
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
QWEN2_7B = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False}  # fmt: skip
QWEN2_1_5B = {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
              "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True}  # fmt: skip

QWEN2_5_3B = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
              "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True}  # fmt: skip


def qwen2_vl_config(sizes: dict[str, Any]) -> dict[str, Any]:
    return {"architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl", "attention_dropout": 0.0,
            "bos_token_id": 151643, "eos_token_id": 151645, "vision_start_token_id": 151652, "vision_end_token_id": 151653,
            "vision_token_id": 151654, "image_token_id": 151655, "video_token_id": 151656, "hidden_act": "silu",
            "initializer_range": 0.02, "max_position_embeddings": 32768, "max_window_layers": 28, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "sliding_window": 32768, "torch_dtype": "bfloat16", "use_cache": True,
            "use_sliding_window": False, **sizes,
            "vision_config": {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "in_chans": 3,
                              "hidden_size": sizes["hidden_size"], "patch_size": 14, "spatial_merge_size": 2,
                              "spatial_patch_size": 14, "temporal_patch_size": 2},
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}  # fmt: skip


def qwen2_5_vl_config(sizes: dict[str, Any]) -> dict[str, Any]:
    """`max_window_layers` as published by now; nothing reads it where no window slides."""
    vision = {"depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_chans": 3,
              "out_hidden_size": sizes["hidden_size"], "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
              "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2, "temporal_patch_size": 2}  # fmt: skip
    changed = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "vision_config": vision,
               "max_position_embeddings": 128000}  # fmt: skip
    return qwen2_vl_config(sizes) | changed


def internvl2_config() -> dict[str, Any]:
    llm = {"architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", "attn_implementation": "eager", "bias": False,
           "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
           "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
           "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_scaling": {"factor": 2.0, "type": "dynamic"},
           "rope_theta": 1000000, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 92553}  # fmt: skip
    vision = {"architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "hidden_size": 1024,
              "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 448, "patch_size": 14,
              "hidden_act": "gelu", "norm_type": "layer_norm", "layer_norm_eps": 1e-6, "num_channels": 3, "qkv_bias": True,
              "qk_normalization": False, "dropout": 0.0, "drop_path_rate": 0.0, "attention_dropout": 0.0}  # fmt: skip
    return {"architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "downsample_ratio": 0.5,
            "dynamic_image_size": True, "force_image_size": 448, "llm_config": llm, "max_dynamic_patch": 12,
            "min_dynamic_patch": 1, "ps_version": "v2", "select_layer": -1, "template": "internlm2-chat",
            "torch_dtype": "bfloat16", "use_thumbnail": True, "vision_config": vision}  # fmt: skip


def internvl2_tensors() -> Shapes:
    """Written out, since its code is not transformers'."""
    shapes: Shapes = {
        "vision_model.embeddings.class_embedding": [1, 1, 1024],
        "vision_model.embeddings.position_embedding": [1, 1025, 1024],
        "vision_model.embeddings.patch_embedding.weight": [1024, 3, 14, 14],
        "vision_model.embeddings.patch_embedding.bias": [1024],
    }
    for layer in range(24):
        prefix = f"vision_model.encoder.layers.{layer}."
        linears = {"attn.qkv": [3072, 1024], "attn.proj": [1024, 1024], "mlp.fc1": [4096, 1024], "mlp.fc2": [1024, 4096]}
        shapes |= {f"{prefix}{name}.weight": shape for name, shape in linears.items()}
        shapes |= {f"{prefix}{name}.bias": shape[:1] for name, shape in linears.items()}
        shapes |= {f"{prefix}norm{i}.{kind}": [1024] for i in (1, 2) for kind in ("weight", "bias")}
        shapes |= {f"{prefix}ls{i}": [1024] for i in (1, 2)}
    shapes |= {"mlp1.0.weight": [4096], "mlp1.0.bias": [4096]}
    for index in (1, 3):
        shapes |= {f"mlp1.{index}.weight": [4096, 4096], f"mlp1.{index}.bias": [4096]}
    shapes["language_model.model.tok_embeddings.weight"] = [92553, 4096]
    for layer in range(32):
        prefix = f"language_model.model.layers.{layer}."
        shapes |= {
            f"{prefix}attention.wqkv.weight": [6144, 4096],
            f"{prefix}attention.wo.weight": [4096, 4096],
            f"{prefix}feed_forward.w1.weight": [14336, 4096],
            f"{prefix}feed_forward.w3.weight": [14336, 4096],
            f"{prefix}feed_forward.w2.weight": [4096, 14336],
            f"{prefix}attention_norm.weight": [4096],
            f"{prefix}ffn_norm.weight": [4096],
        }
    return shapes | {"language_model.model.norm.weight": [4096], "language_model.output.weight": [92553, 4096]}


VICUNA_13B = {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40,
              "num_key_value_heads": 40, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "vocab_size": 32000,
              "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False}  # fmt: skip


def llama_13b() -> Shapes:
    return of_model(LlamaConfig(**VICUNA_13B), transformers.LlamaForCausalLM)


def vila_config() -> dict[str, Any]:
    return {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", **VICUNA_13B, "torch_dtype": "bfloat16",
            "image_aspect_ratio": "pad", "mm_hidden_size": 1024, "mm_projector_type": "mlp2x_gelu", "mm_use_im_patch_token": False,
            "mm_use_im_start_end": False, "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
            "mm_vision_tower": "openai/clip-vit-large-patch14-336", "rope_scaling": None, "pretraining_tp": 1,
            "tokenizer_model_max_length": 4096, "tokenizer_padding_side": "right", "use_mm_proj": True}  # fmt: skip


def vila_tensors() -> Shapes:
    tower = of_model(CLIPVisionConfig(**CLIP_LARGE), transformers.CLIPVisionModel)
    projector = {"0.weight": [5120, 1024], "0.bias": [5120], "2.weight": [5120, 5120], "2.bias": [5120]}
    return (
        llama_13b()
        | {f"model.mm_projector.{name}": shape for name, shape in projector.items()}
        | {f"model.vision_tower.vision_tower.{name}": shape for name, shape in tower.items()}
    )


# ------------------------------------------------------------------------------------------------------- tokenizers


def llama_json() -> dict[str, Any]:
    """A `tokenizer.json` of LLaMA's kind with 32000 pieces, `<image>` and `<pad>` behind them."""
    return filled(tiny.train_tokenizer(golden.CORPUS, pieces=212, legacy=False))


def filled(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The same `tokenizer.json` with 32000 pieces, the new ones in no text, and LLaVA's added tokens behind them."""
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"\ufdd2{index}": index for index in range(len(vocabulary), 32000)}
    for token in tokenizer["added_tokens"]:
        token["id"] = {tiny.IMAGE: 32000, tiny.PAD: 32001}.get(token["content"], token["id"])
    return tokenizer


def qwen_json() -> dict[str, Any]:
    """A `tokenizer.json` of Qwen2's kind with 151643 pieces and the special tokens behind them."""
    tokenizer = tiny_qwen.train_tokenizer(golden.CORPUS, 300)
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"\ufdd2{index}": index for index in range(len(vocabulary), 151643)}
    for number, token in enumerate(tokenizer["added_tokens"]):
        token["id"] = 151643 + number
    return tokenizer


def sentencepiece_file(model: Any, pieces: int) -> bytes:
    """A `tokenizer.model` filled up with pieces that are never used."""
    for index in range(len(model.pieces), pieces):
        model.pieces.add(piece=f"[FILLER_{index}]", score=0.0, type=5)
    model.trainer_spec.vocab_size = pieces
    return model.SerializeToString()


def internlm2_files() -> dict[str, Any]:
    reserved = ["<|plugin|>", "<|interpreter|>", "<|action_end|>", "<|action_start|>", "<|im_end|>", "<|im_start|>", "<img>",
                "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]  # fmt: skip
    added = {token: 92538 + number for number, token in enumerate(reserved)}
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    tokens = {"<unk>": 0, "<s>": 1, "</s>": 2} | added
    config = {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>",
              "unk_token": "<unk>", "clean_up_tokenization_spaces": False, "tokenizer_class": "InternLM2Tokenizer",
              "added_tokens_decoder": {str(index): {"content": token, **flags} for token, index in tokens.items()},
              "additional_special_tokens": reserved}  # fmt: skip
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>",
               "additional_special_tokens": reserved}  # fmt: skip
    model = golden_sentencepiece.internlm2_model()
    return {"tokenizer.model": sentencepiece_file(model, 92544), "added_tokens.json": added, "tokenizer_config.json": config,
            "special_tokens_map.json": special}  # fmt: skip


def llama_files() -> dict[str, Any]:
    config = {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
              "legacy": False, "tokenizer_class": "LlamaTokenizer", "model_max_length": 4096}  # fmt: skip
    return {"tokenizer.model": sentencepiece_file(golden_sentencepiece.llama_model(), 32000), "tokenizer_config.json": config,
            "special_tokens_map.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}}  # fmt: skip


def hf_llama_files() -> dict[str, Any]:
    tokenizer = llama_json()
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": tiny.tokenizer_config(tokenizer),
            "generation_config.json": tiny.generation_config(32001)}  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- models


@dataclass(frozen=True)
class Folder:
    """One folder with weights: what it holds, by file name, and its tensors."""

    files: dict[str, Any]
    tensors: Shapes
    folders: dict[str, Folder] = field(default_factory=dict)


def llava_hf(config: dict[str, Any]) -> Folder:
    parsed = AutoConfig.for_model(**config)
    model = transformers.LlavaNextForConditionalGeneration if "image_grid_pinpoints" in config else transformers.LlavaForConditionalGeneration
    next_files = {"preprocessor_config.json": tiny.clip_preprocessor(336)}
    if "image_grid_pinpoints" in config:
        changed = {"aspect_ratio_setting": "anyres", "do_pad": True, "image_grid_pinpoints": PINPOINTS}
        next_files = {"preprocessor_config.json": tiny.clip_preprocessor(336, "LlavaNextImageProcessor", **changed)}
    return Folder(
        {"config.json": config, "processor_config.json": tiny.llava_processor(14), **next_files, **hf_llama_files()},
        of_model(parsed, model, OLD_HF_NAMES),
    )


def llava_next_of_mistral() -> Folder:
    config = llava_config(4096, 14336, 32, 32, **NEXT)
    config["text_config"] |= {"model_type": "mistral", "num_key_value_heads": 8, "rope_theta": 1000000.0, "sliding_window": None,
                              "max_position_embeddings": 32768}  # fmt: skip
    return llava_hf(config)


def llava_next_of_the_authors() -> Folder:
    config = vila_config() | {"model_type": "llava", "image_aspect_ratio": "anyres", "image_grid_pinpoints": PINPOINTS,
                              "image_crop_resolution": 224, "image_split_resolution": 224, "mm_patch_merge_type": "spatial_unpad",
                              "mm_vision_tower_lr": 2e-6, "unfreeze_mm_vision_tower": True}  # fmt: skip
    return Folder({"config.json": config, **llama_files()}, vila_tensors() | {"model.image_newline": [5120]})


def llava_onevision() -> Folder:
    tokenizer = qwen_json()
    kept = tokenizer["added_tokens"][:3]
    tokenizer["added_tokens"] = kept + [kept[-1] | {"id": 151646 + n, "content": token} for n, token in enumerate(("<image>", "<video>"))]
    pinpoints = [[384 * down, 384 * across] for down in range(1, 7) for across in range(1, 7)]
    text = {"model_type": "qwen2", **QWEN2_7B, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "max_position_embeddings": 32768,
            "use_sliding_window": False, "vocab_size": 152000, "bos_token_id": 151643, "eos_token_id": 151645}  # fmt: skip
    config = {"architectures": ["LlavaOnevisionForConditionalGeneration"], "model_type": "llava_onevision",
              "image_grid_pinpoints": pinpoints, "image_token_index": 151646, "video_token_index": 151647,
              "projector_hidden_act": "gelu", "text_config": text, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
              "use_image_newline_parameter": True, "vision_aspect_ratio": "anyres_max_9", "vision_feature_layer": -1,
              "vision_feature_select_strategy": "full",
              "vision_config": SIGLIP_SO400M | {"num_hidden_layers": 26, "vision_use_head": False}}  # fmt: skip
    processor = {"do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True,
                 "image_grid_pinpoints": pinpoints, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3,
                 "image_processor_type": "LlavaOnevisionImageProcessor", "processor_class": "LlavaOnevisionProcessor",
                 "rescale_factor": 1 / 255, "size": {"height": 384, "width": 384}}  # fmt: skip
    generation = {"bos_token_id": 151643, "eos_token_id": 151645}
    files = {"config.json": config, "preprocessor_config.json": processor, "generation_config.json": generation,
             "tokenizer.json": tokenizer, "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"}}  # fmt: skip
    parsed = transformers.LlavaOnevisionConfig(**json.loads(json.dumps(config)))
    return Folder(files, of_model(parsed, transformers.LlavaOnevisionForConditionalGeneration, OLD_HF_NAMES))


def qwen2_vl(config: dict[str, Any]) -> Folder:
    names = renamed((r"model\.language_model\.", "model."), (r"model\.visual\.", "visual."))
    tokenizer = qwen_json()
    processor = {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
                 "image_mean": llava_files.CLIP_MEAN, "image_std": llava_files.CLIP_STD, "image_processor_type": "Qwen2VLImageProcessor",
                 "processor_class": "Qwen2VLProcessor"}  # fmt: skip
    generation = {"bos_token_id": 151643, "pad_token_id": 151643, "do_sample": True, "eos_token_id": [151645, 151643],
                  "temperature": 0.01, "top_k": 1, "top_p": 0.001}  # fmt: skip
    files = {"config.json": config, "preprocessor_config.json": processor, "generation_config.json": generation,
             "tokenizer.json": tokenizer, "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"}}  # fmt: skip
    config_class, model_class = tiny_qwen.MODELS[config["model_type"]]
    return Folder(files, of_model(config_class(**config), model_class, names))


def internvl2() -> Folder:
    generation = {"eos_token_id": [92542, 92543]}
    files = {"config.json": internvl2_config(), "generation_config.json": generation, **internlm2_files()}
    return Folder(files, internvl2_tensors())


def vila1_5() -> Folder:
    llm = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **VICUNA_13B, "tokenizer_model_max_length": 4096,
           "torch_dtype": "bfloat16"}  # fmt: skip
    tower = {"architectures": ["SiglipVisionModel"], **SIGLIP_SO400M, "torch_dtype": "bfloat16"}
    projector = {"architectures": ["MultimodalProjector"], "mm_projector_type": "mlp_downsample", "model_type": "v2l_projector"}
    root = {"architectures": ["LlavaLlamaModel"], "model_type": "llava_llama", "hidden_size": 5120, "mm_hidden_size": 1152,
            "image_aspect_ratio": "resize", "mm_vision_select_layer": -2, "mm_vision_select_feature": "cls_patch",
            "mm_use_im_start_end": False, "mm_use_im_patch_token": False, "mm_projector_lr": None, "resume_path": "./vlm",
            "llm_cfg": llm, "vision_tower_cfg": tower, "mm_projector_cfg": projector}  # fmt: skip
    merger = {"layers.1.weight": [4608], "layers.1.bias": [4608], "layers.2.weight": [5120, 4608], "layers.2.bias": [5120],
              "layers.4.weight": [5120, 5120], "layers.4.bias": [5120]}  # fmt: skip
    processor = {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
                 "image_processor_type": "SiglipImageProcessor", "resample": 3, "rescale_factor": 1 / 255,
                 "size": {"height": 384, "width": 384}}  # fmt: skip
    vision = of_model(SiglipVisionConfig(**SIGLIP_SO400M), transformers.SiglipVisionModel)
    return Folder({"config.json": root}, {}, {
        "llm": Folder({"config.json": llm, **llama_files()}, llama_13b()),
        "vision_tower": Folder({"config.json": tower, "preprocessor_config.json": processor}, vision),
        "mm_projector": Folder({"config.json": projector}, merger),
    })  # fmt: skip


LLAVA_13B = (5120, 13824, 40, 40)
NEXT = {"architectures": ["LlavaNextForConditionalGeneration"], "model_type": "llava_next", "image_grid_pinpoints": PINPOINTS,
        "use_image_newline_parameter": True}  # fmt: skip
MODELS: dict[str, Callable[[], Folder]] = {
    "llava-1.5-7b": lambda: llava_hf(llava_config(4096, 11008, 32, 32)),
    "llava-1.5-13b": lambda: llava_hf(llava_config(*LLAVA_13B)),
    "llava-v1.6-vicuna-13b": lambda: llava_hf(llava_config(*LLAVA_13B, **NEXT)),
    "llava-v1.6-vicuna-13b-original": llava_next_of_the_authors,
    "llava-v1.6-mistral-7b": llava_next_of_mistral,
    "llava-onevision-7b": llava_onevision,
    "vila-13b": lambda: Folder({"config.json": vila_config(), **llama_files()}, vila_tensors()),
    "vila1.5-13b": vila1_5,
    "qwen2-vl-7b": lambda: qwen2_vl(qwen2_vl_config(QWEN2_7B)),
    "qwen2-vl-2b": lambda: qwen2_vl(qwen2_vl_config(QWEN2_1_5B)),
    "qwen2.5-vl-7b": lambda: qwen2_vl(qwen2_5_vl_config(QWEN2_7B)),
    "qwen2.5-vl-3b": lambda: qwen2_vl(qwen2_5_vl_config(QWEN2_5_3B)),
    "internvl2-8b": internvl2,
}


# ---------------------------------------------------------------------------------------------------------- writing


def count(shape: Iterable[int]) -> int:
    elements = 1
    for size in shape:
        elements *= size
    return elements


class Numbers:
    """Numbers of a tensor, cheap and the same every time: slices of one block of normal numbers."""

    def __init__(self) -> None:
        self.block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(SEED))

    def parts(self, name: str, shape: list[int], start: int) -> Iterator[bytes]:
        """Norm weights are 1 and biases 0; the rest is scaled by the fan-in, embeddings are small."""
        elements = count(shape)
        if len(shape) == 1 or "class_embedding" in name:
            value = 0.0 if name.endswith("bias") else 0.1 if name.split(".")[-1].startswith("ls") else 1.0
            yield raw(torch.full((elements,), value))
            return
        scale = 0.02 if "embed" in name and "patch" not in name else count(shape[1:]) ** -0.5
        scaled = (self.block * scale).to(torch.bfloat16)
        at = start * 7919 % BLOCK
        while elements > 0:
            part = scaled[at : at + elements]
            yield raw(part)
            elements, at = elements - len(part), 0


def raw(numbers: torch.Tensor) -> bytes:
    return numbers.to(torch.bfloat16).view(torch.int16).numpy().tobytes()


def write_shard(path: Path, tensors: Shapes, numbers: Numbers | None) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * count(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    document = json.dumps(header).encode()
    document += b" " * (-len(document) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(document)) + document)
        if numbers is None:
            file.truncate(8 + len(document) + end)
            return
        for number, (name, shape) in enumerate(tensors.items()):
            for part in numbers.parts(name, shape, number):
                file.write(part)


def shards(tensors: Shapes, limit: int = SHARD_BYTES) -> list[Shapes]:
    """In the order given, each as full as it may be: `limit` counts bytes of bfloat16."""
    filled: list[Shapes] = [{}]
    size = 0
    for name, shape in tensors.items():
        if filled[-1] and size + 2 * count(shape) > limit:
            filled.append({})
            size = 0
        filled[-1][name] = shape
        size += 2 * count(shape)
    return filled


def write_folder(folder: Path, content: Folder, numbers: Numbers | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in content.files.items():
        if isinstance(value, bytes):
            (folder / name).write_bytes(value)
        else:
            (folder / name).write_text(json.dumps(value, indent=2, ensure_ascii=False), "utf-8")
    for name, inner in content.folders.items():
        write_folder(folder / name, inner, numbers)
    if not content.tensors:
        return
    parts = shards(content.tensors)
    if len(parts) == 1:
        write_shard(folder / "model.safetensors", parts[0], numbers)
        return
    weight_map: dict[str, str] = {}
    for number, part in enumerate(parts):
        file = f"model-{number + 1:05d}-of-{len(parts):05d}.safetensors"
        write_shard(folder / file, part, numbers)
        weight_map |= dict.fromkeys(part, file)
    size = 2 * sum(count(shape) for shape in content.tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), "utf-8")


def parameters(content: Folder) -> int:
    return sum(map(count, content.tensors.values())) + sum(map(parameters, content.folders.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--header-only", action="store_true", help="leave the weights' data out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    content = MODELS[arguments.model]()
    write_folder(arguments.folder, content, None if arguments.header_only else Numbers())
    print(f"{arguments.model}: {parameters(content):,} parameters in {arguments.folder}")


if __name__ == "__main__":
    main()
