"""What a llava-hf checkpoint folder holds beside its weights, as Python values, and how its files are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from llama_tokenizer import BOS, BOS_ID, EOS, EOS_ID, IMAGE, PAD, UNKNOWN

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
SPECIAL_TOKENS_MAP = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD, "unk_token": UNKNOWN}


def tokenizer_config(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The `tokenizer_config.json` that belongs to a `tokenizer.json`; like the published one it claims not to be legacy."""
    keys = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": {
            str(token["id"]): {key: token[key] for key in keys} for token in tokenizer["added_tokens"]
        },
        "bos_token": BOS,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "extra_special_tokens": {"image_token": IMAGE},
        "image_token": IMAGE,
        "legacy": False,
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": PAD,
        "padding_side": "left",
        "processor_class": "LlavaProcessor",
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": UNKNOWN,
        "use_default_system_prompt": False,
    }


def generation_config(pad: int) -> dict[str, Any]:
    return {"_from_model_config": True, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "pad_token_id": pad,
            "transformers_version": "4.57.6"}  # fmt: skip


def clip_preprocessor(size: int, image_processor: str = "CLIPImageProcessor", /, **changed: Any) -> dict[str, Any]:
    """The `preprocessor_config.json`: the shortest edge to `size`, then a centre crop, unless `changed` says otherwise."""
    return {
        "crop_size": {"height": size, "width": size},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": CLIP_MEAN,
        "image_processor_type": image_processor,
        "image_std": CLIP_STD,
        "processor_class": "LlavaProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": size},
        **changed,
    }


def llava_processor(patch_size: int) -> dict[str, Any]:
    return {
        "image_token": IMAGE,
        "num_additional_image_tokens": 1,
        "patch_size": patch_size,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "default",
    }


def old_names(name: str) -> str:
    """`language_model.model.…`, `vision_tower.…`: what llava-hf files hold. Since transformers 4.52 the model in memory has
    other names, but 4.57 still writes these."""
    if name.startswith("model.language_model."):
        return "language_model.model." + name.removeprefix("model.language_model.")
    return "language_model." + name if name.startswith("lm_head.") else name.removeprefix("model.")


def write_documents(folder: Path, documents: dict[str, dict[str, Any] | None]) -> None:
    """Writes JSON files by name; those without content are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        if document is not None:
            write_json(folder / name, document, indent=None if name == "tokenizer.json" else 2)


def write_tensors(file: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    save_file(tensors, file, metadata)
    file.chmod(0o644)  # safetensors leaves its files to their owner alone


def write_json(file: Path, document: Any, indent: int | None = None) -> None:
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(document, ensure_ascii=False, indent=indent, separators=separators)
    file.write_text(text + "\n", encoding="utf-8")
