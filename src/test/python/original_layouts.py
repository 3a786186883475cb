"""Tiny random checkpoints in the layouts of the original LLaVA and VILA code, which transformers cannot read.

The weights belong to a `LlavaForConditionalGeneration` of transformers, under the names its authors' code gives them: a flat
LLaVA-1.5 folder whose vision tower is a folder of its own, a flat VILA folder that holds its tower, and a VILA1.5 folder of
three parts, whose tower is SigLIP and whose projector merges patches. The last is not in transformers: `MergingProjector`
is written here from what the code does, cell by cell.
"""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, LlamaForCausalLM, LlavaForConditionalGeneration, SiglipVisionConfig, SiglipVisionModel

import tiny_llava as tiny
from llava_files import CLIP_MEAN, CLIP_STD

IMAGE_INDEX = -200
"""What the original code puts between the pieces of a prompt for an image."""

PLACEHOLDER = 0
"""The token that stands for the image inside transformers: `<unk>`, which no text encodes to."""

TOWER = "clip-vit-tiny-patch14-56"


# --------------------------------------------------------------------------------------------------------- tokenizer


def train_sentencepiece(corpus: Iterable[str], pieces: int) -> bytes:
    """A `tokenizer.model` with the settings of LLaMA's, of `pieces` tokens, the special and byte tokens among them."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="bpe", vocab_size=pieces, byte_fallback=True,
        split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, character_coverage=1.0, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def tokenizer_config() -> dict[str, Any]:
    def token(content: str) -> dict[str, Any]:
        return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False}  # fmt: skip

    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": token(tiny.BOS),
        "clean_up_tokenization_spaces": False,
        "eos_token": token(tiny.EOS),
        "legacy": False,
        "model_max_length": 2048,
        "pad_token": None,
        "padding_side": "right",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": token(tiny.UNKNOWN),
    }


def write_tokenizer(folder: Path, model: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    special = {"bos_token": tiny.BOS, "eos_token": tiny.EOS, "pad_token": tiny.UNKNOWN, "unk_token": tiny.UNKNOWN}
    tiny.write_documents(folder, {"tokenizer_config.json": tokenizer_config(), "special_tokens_map.json": special})


# --------------------------------------------------------------------------------------------------------- projector


class MergingProjector(nn.Module):
    """`mlp_downsample`: four neighbouring patches become one token; layer norm, linear, GELU, linear.

    An odd grid gets a row of zeros below and a column of zeros at its right. Tokens come column by column.
    """

    def __init__(self, side: int, vision_hidden: int, hidden: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * vision_hidden)
        self.linear_1 = nn.Linear(4 * vision_hidden, hidden)
        self.linear_2 = nn.Linear(hidden, hidden)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        merged = self.linear_1(self.norm(self.merge(patches)))
        return self.linear_2(nn.functional.gelu(merged))

    def merge(self, patches: torch.Tensor) -> torch.Tensor:
        """[image, patch, hidden] to [image, token, 4 * hidden]."""
        outside = torch.zeros_like(patches[:, 0])

        def patch(row: int, column: int) -> torch.Tensor:
            return patches[:, row * self.side + column] if max(row, column) < self.side else outside

        tokens = [
            torch.cat([patch(row, column), patch(row, column + 1), patch(row + 1, column), patch(row + 1, column + 1)], -1)
            for column in range(0, self.side, 2)
            for row in range(0, self.side, 2)
        ]
        return torch.stack(tokens, 1)


def merge_in_numpy(projector: MergingProjector, patches: np.ndarray) -> np.ndarray:
    """The same once more in float64, from whole arrays: [patch, hidden] to [token, decoder hidden]."""
    weights = {name: tensor.detach().double().numpy() for name, tensor in projector.state_dict().items()}
    even = projector.side + projector.side % 2
    grid = np.zeros((even, even, patches.shape[-1]))
    grid[: projector.side, : projector.side] = patches.reshape(projector.side, projector.side, -1)
    quads = [grid[0::2, 0::2], grid[0::2, 1::2], grid[1::2, 0::2], grid[1::2, 1::2]]
    tokens = np.concatenate(quads, -1).transpose(1, 0, 2).reshape(-1, 4 * patches.shape[-1])
    centred = tokens - tokens.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    normed = normed * weights["norm.weight"] + weights["norm.bias"]
    between = normed @ weights["linear_1.weight"].T + weights["linear_1.bias"]
    between = 0.5 * between * (1 + np.vectorize(math.erf)(between / math.sqrt(2)))
    return between @ weights["linear_2.weight"].T + weights["linear_2.bias"]


# ----------------------------------------------------------------------------------------------------------- configs


def text_config(vocabulary: int, **more: Any) -> dict[str, Any]:
    return {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 5, "num_attention_heads": 4,
            "num_key_value_heads": 4, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "vocab_size": vocabulary, **more}  # fmt: skip


def llava_config(text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    """What the model in memory is made of."""
    clip = vision["model_type"] == "clip_vision_model"
    return {"model_type": "llava", "image_token_index": PLACEHOLDER, "text_config": text, "vision_config": vision,
            "vision_feature_layer": -2, "vision_feature_select_strategy": "default" if clip else "full"}  # fmt: skip


def flat_config(text: dict[str, Any], vision_hidden: int, **more: Any) -> dict[str, Any]:
    """The `config.json` of liuhaotian/llava-v1.5-7b, for a smaller model."""
    return {
        "_name_or_path": "llava-v1.5-tiny",
        "architectures": ["LlavaLlamaForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "freeze_mm_mlp_adapter": False,
        "freeze_mm_vision_resampler": False,
        "hidden_act": "silu",
        "hidden_size": text["hidden_size"],
        "image_aspect_ratio": "pad",
        "image_grid_pinpoints": None,
        "initializer_range": 0.02,
        "intermediate_size": text["intermediate_size"],
        "max_length": 512,
        "max_position_embeddings": text["max_position_embeddings"],
        "mm_hidden_size": vision_hidden,
        "mm_projector_type": "mlp2x_gelu",
        "mm_resampler_type": None,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": f"openai/{TOWER}",
        "model_type": "llava",
        "num_attention_heads": text["num_attention_heads"],
        "num_hidden_layers": text["num_hidden_layers"],
        "num_key_value_heads": text["num_key_value_heads"],
        "pad_token_id": 0,
        "pretraining_tp": 1,
        "rms_norm_eps": text["rms_norm_eps"],
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.31.0",
        "tune_mm_mlp_adapter": False,
        "tune_mm_vision_resampler": False,
        "unfreeze_mm_vision_tower": False,
        "use_cache": True,
        "use_mm_proj": True,
        "vocab_size": text["vocab_size"],
        **more,
    }


def three_part_config(llm: dict[str, Any], tower: dict[str, Any], projector: dict[str, Any]) -> dict[str, Any]:
    """The root `config.json` of Efficient-Large-Model/VILA1.5-3b, for a smaller model; it repeats those of the parts."""
    return {
        "_name_or_path": "./vlm",
        "architectures": ["LlavaLlamaModel"],
        "drop_path_rate": 0.0,
        "hidden_size": llm["hidden_size"],
        "image_aspect_ratio": "resize",
        "interpolate_mode": "linear",
        "llm_cfg": llm,
        "mm_hidden_size": tower["hidden_size"],
        "mm_projector_cfg": projector,
        "mm_projector_lr": None,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "cls_patch",
        "mm_vision_select_layer": -2,
        "model_dtype": "torch.bfloat16",
        "model_type": "llava_llama",
        "num_video_frames": 8,
        "resume_path": "./vlm",
        "s2": False,
        "s2_max_split_size": 336,
        "s2_scales": "336,672,1008",
        "transformers_version": "4.36.2",
        "tune_language_model": True,
        "tune_mm_projector": True,
        "tune_vision_tower": True,
        "vision_resolution": -1,
        "vision_tower_cfg": tower,
    }


# ------------------------------------------------------------------------------------------------------------ weights


def flat_name(name: str) -> str:
    """The name the original LLaVA code gives a tensor of the model in memory."""
    if name.startswith("model.language_model."):
        return "model." + name.removeprefix("model.language_model.")
    if name.startswith("model.multi_modal_projector.linear_"):
        number, kind = name.removeprefix("model.multi_modal_projector.linear_").split(".")
        return f"model.mm_projector.{2 * (int(number) - 1)}.{kind}"
    if name.startswith("model.vision_tower."):
        return "model.vision_tower." + name.removeprefix("model.")
    return name


def flat_tensors(model: LlavaForConditionalGeneration, dtype: torch.dtype, tower: bool) -> dict[str, torch.Tensor]:
    named = {flat_name(name): stored(tensor, dtype) for name, tensor in model.state_dict().items()}
    return {name: tensor for name, tensor in named.items() if tower or "vision_tower" not in name}


def stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.detach().to(dtype).contiguous().clone()


def save_flat(folder: Path, config: dict[str, Any], tokenizer: bytes) -> None:
    """All but the weights."""
    write_tokenizer(folder, tokenizer)
    tiny.write_documents(folder, {"config.json": config, "generation_config.json": tiny.generation_config(0)})


def save_pickles(folder: Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    """Weights as `torch.save` writes them, which is how the authors of LLaVA published theirs."""
    weight_map: dict[str, str] = {}
    names = list(tensors)
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05d}-of-{shards:05d}.bin"
        part = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        torch.save({name: tensors[name] for name in part}, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    tiny.write_json(folder / "pytorch_model.bin.index.json", index, indent=2)


def save_clip(folder: Path, model: LlavaForConditionalGeneration, seed: int) -> None:
    """A folder as openai/clip-vit-large-patch14-336: the whole of CLIP, of which LLaVA reads the vision model."""
    vision = model.config.vision_config
    text = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 99,
            "max_position_embeddings": 7, "projection_dim": vision.projection_dim}  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision.to_dict(), projection_dim=vision.projection_dim)
    torch.manual_seed(seed)
    clip = CLIPModel(config).float()
    clip.vision_model.load_state_dict(model.model.vision_tower.vision_model.state_dict())
    clip.save_pretrained(folder, safe_serialization=False)
    size = vision.image_size
    preprocessor = {"crop_size": size, "do_center_crop": True, "do_normalize": True, "do_resize": True,
                    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": CLIP_MEAN,
                    "image_std": CLIP_STD, "resample": 3, "size": size}  # fmt: skip
    tiny.write_documents(folder, {"preprocessor_config.json": preprocessor})


def save_three_parts(folder: Path, model: LlavaForConditionalGeneration, tokenizer: bytes, dtype: torch.dtype, seed: int) -> None:
    """`llm/`, `vision_tower/` and `mm_projector/`, the first two as transformers saves them."""
    llm = LlamaForCausalLM(copy.deepcopy(model.config.text_config))
    names = {name.replace("model.language_model.", "model."): tensor for name, tensor in model.state_dict().items()
             if name.startswith(("model.language_model.", "lm_head."))}  # fmt: skip
    llm.load_state_dict(names)
    llm.config.architectures = ["LlamaForCausalLM"]
    llm.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    llm.to(dtype).save_pretrained(folder / "llm")
    write_tokenizer(folder / "llm", tokenizer)

    torch.manual_seed(seed)
    vision = model.config.vision_config.to_dict()
    del vision["vision_use_head"]  # the published tower has its pooling head, which nothing reads
    tower = SiglipVisionModel(SiglipVisionConfig(**vision))
    missing = tower.load_state_dict(model.model.vision_tower.state_dict(), strict=False).missing_keys
    assert missing and all(name.startswith("vision_model.head.") for name in missing), missing
    tower.to(dtype).save_pretrained(folder / "vision_tower")
    size = {"height": vision["image_size"], "width": vision["image_size"]}
    preprocessor = {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
                    "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5],
                    "processor_class": "SiglipProcessor", "resample": 3, "rescale_factor": 0.00392156862745098, "size": size}  # fmt: skip
    tiny.write_documents(folder / "vision_tower", {"preprocessor_config.json": preprocessor})

    layers = {"norm": 1, "linear_1": 2, "linear_2": 4}
    projector = {f"layers.{layers[name.split('.')[0]]}.{name.split('.')[1]}": stored(tensor, dtype)
                 for name, tensor in model.model.multi_modal_projector.state_dict().items()}  # fmt: skip
    description = {"architectures": ["MultimodalProjector"], "mm_projector_type": "mlp_downsample", "model_type": "v2l_projector",
                   "torch_dtype": "bfloat16", "transformers_version": "4.36.2"}  # fmt: skip
    tiny.write_documents(folder / "mm_projector", {"config.json": description})
    tiny.write_tensors(folder / "mm_projector" / "model.safetensors", projector, {"format": "pt"})
    readable(folder / "llm")
    readable(folder / "vision_tower")
    parts = [json.loads((folder / part / "config.json").read_text("utf-8")) for part in ("llm", "vision_tower", "mm_projector")]
    tiny.write_documents(folder, {"config.json": three_part_config(*parts)})


def readable(folder: Path) -> None:
    """Safetensors leaves its files to their owner alone."""
    for file in folder.iterdir():
        file.chmod(0o644)
