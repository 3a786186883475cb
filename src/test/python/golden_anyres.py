"""Golden files of the families that cut images into tiles: LLaVA-NeXT in both layouts, LLaVA-OneVision, and LLaVA-1.5 with tiles.

What the networks compute comes from transformers. The original code's reading of a list of sizes, its truncated window and its
prompts, and LLaVA-1.5's tiles, which transformers does not have, are written down here and in `anyres_reference.py`. Every packed
image is also packed once more in NumPy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
)
from transformers.models.llava_next import modeling_llava_next

import anyres_reference as reference
import original_layouts as original
import redistribution as var
import sample_images
import tiny_llava as tiny
import tiny_qwen as qwen
from anyres_reference import Layout, NextProcessor, OnevisionProcessor
from golden import CORPUS, QUESTIONS, SINK_STRENGTH, SYSTEM
from golden_cases import Answer, Case, Runner, VarRun, choose_cases, write_golden
from llava_files import CLIP_MEAN, CLIP_STD  # found by tiny_llava
from redistribution import Release, VarSettings

CELL, SIDE = 56, 4
PINPOINTS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
HD_CANVASES = [(CELL * across, CELL * down) for down in range(1, 7) for across in range(1, 7) if down * across <= 6]
SIGLIP_CELL = 60
"""Four patches of 14 pixels and four pixels more, which no patch looks at; published: 384 pixels, 27 patches, 6 pixels."""

EXTREMES = ["line.png", "column.png", "strip.png", "large.png", "brink.png"]
VICUNA, PLAIN = (SYSTEM + "USER: ", "\n{} ASSISTANT:"), ("USER: ", "\n{} ASSISTANT:")
IMAGE = tiny.IMAGE


# ------------------------------------------------------------------------------------------------- the checkpoints


@dataclass(frozen=True)
class AnyresCheckpoint:
    """Everything that defines one checkpoint apart from its weights. `config` is the model in memory's."""

    name: str
    config: dict[str, Any]
    templates: dict[str, tuple[str, str]]
    layout: Callable[[int, int], Layout]
    tokenizer: dict[str, Any] | None
    rule: str = "anyres"
    dtype: torch.dtype = torch.float16
    stored_config: dict[str, Any] = field(default_factory=dict)
    sentencepiece_model: bytes = b""


def text_config(model_type: str, vocabulary: int, **more: Any) -> dict[str, Any]:
    return {"model_type": model_type, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4,
            "num_key_value_heads": 4, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "vocab_size": vocabulary, **more}  # fmt: skip


def clip_config(**more: Any) -> dict[str, Any]:
    return {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
            "num_attention_heads": 4, "image_size": CELL, "patch_size": 14, "projection_dim": 16, **more}  # fmt: skip


def next_config(image: int, text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "ignore_index": -100,
        "image_grid_pinpoints": PINPOINTS,
        "image_token_index": image,
        "model_type": "llava_next",
        "pad_token_id": image + 1,
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "use_image_newline_parameter": True,
        "vision_config": clip_config(),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        **more,
    }


def of_vicuna() -> AnyresCheckpoint:
    """As the first llava-hf files: old tensor names, one file, legacy tokenizer."""
    tokenizer = tiny.train_tokenizer(CORPUS, pieces=240, legacy=True)
    config = next_config(tiny.image_token_id(tokenizer), text_config("llama", 512), transformers_version="4.39.0.dev0")
    layout = reference.transformers_layout(PINPOINTS, CELL, SIDE, None)
    return AnyresCheckpoint("llava-next", config, {"vicuna-v1": VICUNA, "plain": PLAIN}, layout, tokenizer)


def of_mistral() -> AnyresCheckpoint:
    """Of Mistral, with the names transformers has in memory since 4.52, and two shards."""
    corpus = [*CORPUS, *(["[INST] What is in the image? [/INST] A red circle."] * 40)]
    tokenizer = tiny.train_tokenizer(corpus, pieces=240, legacy=False)
    text = text_config("mistral", 512, num_key_value_heads=2, rope_theta=1000000.0, sliding_window=None)
    config = next_config(tiny.image_token_id(tokenizer), text, image_seq_length=576, transformers_version="4.57.6")
    layout = reference.transformers_layout(PINPOINTS, CELL, SIDE, None)
    return AnyresCheckpoint("llava-next-mistral", config, {"mistral": ("[INST] ", "\n{} [/INST]")}, layout, tokenizer)


def of_the_authors() -> AnyresCheckpoint:
    """The flat layout: the same list of sizes means width and height, and the window is truncated."""
    pieces = 470
    text = text_config("llama", pieces)
    swapped = [[second, first] for first, second in PINPOINTS]
    # Heads of the tower are 64 wide, as in all towers the original code names, since nothing else tells their number.
    vision = clip_config(hidden_size=64, num_attention_heads=1)
    config = next_config(original.PLACEHOLDER, text, image_grid_pinpoints=swapped, vision_config=vision)
    stored = original.flat_config(
        text, 64, image_aspect_ratio="anyres", image_grid_pinpoints=PINPOINTS, mm_patch_merge_type="spatial_unpad",
        image_crop_resolution=224, image_split_resolution=224, mm_vision_tower_lr=2e-6, unfreeze_mm_vision_tower=True,
        tokenizer_model_max_length=512, tokenizer_padding_side="right", model_type="llava_llama",
    )  # fmt: skip
    layout = reference.written_down_layout([tuple(pair) for pair in PINPOINTS], CELL, SIDE)
    return AnyresCheckpoint(
        "llava-next-original", config, {"vicuna-v1": VICUNA, "plain": PLAIN}, layout, None, stored_config=stored,
        sentencepiece_model=original.train_sentencepiece(CORPUS, pieces),
    )  # fmt: skip


def one_vision() -> AnyresCheckpoint:
    """SigLIP and Qwen2; windows of more than two tiles' worth of tokens are resized."""
    parts = [["<|im_start|>", "system\nYou are a helpful assistant.", "<|im_end|>", "\n", "<|im_start|>", "user\n"],
             ["\n{}", "<|im_end|>", "\n", "<|im_start|>", "assistant\n"]]  # fmt: skip
    corpus = [*(["system\nYou are a helpful assistant.", "user\nWhat is in the image?", "assistant\nA red circle."] * 60), *CORPUS]
    tokenizer = qwen.train_tokenizer(corpus, pieces=140)
    kept = tokenizer["added_tokens"][:3]
    more = [kept[-1] | {"id": kept[-1]["id"] + number, "content": token} for number, token in ((1, IMAGE), (2, "<video>"))]
    tokenizer["added_tokens"] = kept + more
    pinpoints = [[SIGLIP_CELL * down, SIGLIP_CELL * across] for down in range(1, 4) for across in range(1, 4)]
    text = text_config("qwen2", 440, num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=1000000.0, use_sliding_window=False,
                       sliding_window=None, hidden_act="silu", bos_token_id=kept[0]["id"], eos_token_id=kept[2]["id"])  # fmt: skip
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
              "num_attention_heads": 4, "image_size": SIGLIP_CELL, "patch_size": 14, "vision_use_head": False}  # fmt: skip
    config = {
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "image_grid_pinpoints": pinpoints,
        "image_token_index": more[0]["id"],
        "model_type": "llava_onevision",
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.45.0.dev0",
        "use_image_newline_parameter": True,
        "video_token_index": more[1]["id"],
        "vision_aspect_ratio": "anyres_max_2",
        "vision_config": vision,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    }
    templates = {
        "qwen-1-5": ("".join(parts[0]), "".join(parts[1])),
        "plain": ("<|im_start|>user ", "\n{}<|im_end|><|im_start|>assistant\n"),
    }
    layout = reference.transformers_layout(pinpoints, SIGLIP_CELL, SIDE, 2)
    return AnyresCheckpoint("llava-onevision", config, templates, layout, tokenizer)


def high_definition() -> AnyresCheckpoint:
    """LLaVA-1.5 in the layout of llava-hf that also holds a row end, asked with up to six tiles."""
    tokenizer = tiny.train_tokenizer(CORPUS, pieces=240, legacy=False)
    image = tiny.image_token_id(tokenizer)
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": image,
        "model_type": "llava",
        "pad_token_id": image + 1,
        "projector_hidden_act": "gelu",
        "text_config": text_config("llama", 512),
        "torch_dtype": "float32",
        "vision_config": clip_config(),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    pinpoints = [[height, width] for width, height in HD_CANVASES]
    layout = reference.transformers_layout(pinpoints, CELL, SIDE, None)
    return AnyresCheckpoint("llava-hd", config, {"vicuna-v1": VICUNA, "plain": PLAIN}, layout, tokenizer, rule="hd",
                            dtype=torch.float32)  # fmt: skip


MODELS = {
    "llava": (LlavaConfig, LlavaForConditionalGeneration),
    "llava_next": (LlavaNextConfig, LlavaNextForConditionalGeneration),
    "llava_onevision": (LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration),
}


def build_model(checkpoint: AnyresCheckpoint, seed: int, stop_gain: float) -> torch.nn.Module:
    """A float32 model on explicit eager attention, its weights drawn."""
    config_class, model_class = MODELS[checkpoint.config["model_type"]]
    config = config_class(**json.loads(json.dumps(checkpoint.config)))
    config._attn_implementation = "eager"
    model = model_class(config).float().eval()
    if checkpoint.rule == "hd":
        model.model.image_newline = torch.nn.Parameter(torch.zeros(config.text_config.hidden_size))
    tiny.draw_parameters(model, seed)
    dampen(model.lm_head.weight, checkpoint, stop_gain)
    return model


@torch.no_grad()
def dampen(head: torch.Tensor, checkpoint: AnyresCheckpoint, stop_gain: float) -> None:
    """Makes bytes and special tokens rare in answers, and the stop token as frequent as asked."""
    if checkpoint.config["model_type"] == "llava_onevision":
        bytes_end, added, stop = 256, stop_ids(checkpoint)[0] - 2, stop_ids(checkpoint)[0]
    else:
        bytes_end, stop = 3 + len(tiny.BYTE_TOKENS), tiny.EOS_ID
        added = checkpoint.config["image_token_index"] or head.shape[0]
    head[:bytes_end] *= 0.3
    head[added:] *= 0.3
    head[stop] *= stop_gain / 0.3


def stop_ids(checkpoint: AnyresCheckpoint) -> list[int]:
    if checkpoint.config["model_type"] == "llava_onevision":
        return [qwen.token_id(checkpoint.tokenizer, "<|im_end|>")]
    return [tiny.EOS_ID]


# --------------------------------------------------------------------------------------------------------- packing


def pack_in_numpy(features: np.ndarray, newline: np.ndarray, layout: Layout) -> np.ndarray:
    """[view, token, hidden] to [image token, hidden], token by token."""
    image_tokens = list(features[0])
    window = np.zeros((layout.rows, layout.columns, features.shape[-1]))
    for row in range(layout.rows):
        for column in range(layout.columns):
            (tile_row, inside_row), (tile_column, inside_column) = divmod(layout.top + row, SIDE), divmod(layout.left + column, SIDE)
            tile = 1 + tile_row * layout.tile_columns + tile_column
            window[row, column] = features[tile, inside_row * SIDE + inside_column]
    if (layout.packed_rows, layout.packed_columns) != (layout.rows, layout.columns):
        window = interpolate(interpolate(window, layout.packed_rows, 0), layout.packed_columns, 1)
    for row in window:
        image_tokens.extend([*row, newline])
    return np.array(image_tokens)


def interpolate(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linearly between the centres of cells, along one axis."""
    length = values.shape[axis]
    places = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, length - 1)
    shape = [1] * values.ndim
    shape[axis] = size
    share = (places - low).reshape(shape)
    return np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share


@contextmanager
def truncating() -> Iterator[None]:
    """While open, LLaVA-NeXT of transformers keeps the window of the original code."""
    rounding = modeling_llava_next.unpad_image

    def truncated(tensor: torch.Tensor, size: torch.Tensor | Sequence[int]) -> torch.Tensor:
        height, width = size.tolist() if isinstance(size, torch.Tensor) else size
        rows, columns = tensor.shape[1:]
        if width / height > columns / rows:
            cut = (rows - math.floor(height * (columns / width))) // 2
            return tensor[:, cut : rows - cut]
        cut = (columns - math.floor(width * (rows / height))) // 2
        return tensor[:, :, cut : columns - cut]

    modeling_llava_next.unpad_image = truncated
    try:
        yield
    finally:
        modeling_llava_next.unpad_image = rounding


# ------------------------------------------------------------------------------------------------------- answering


class AnyresRunner(Runner):
    """A checkpoint of transformers."""

    def __init__(self, checkpoint: AnyresCheckpoint, model: torch.nn.Module, images: Path) -> None:
        config = checkpoint.config
        super().__init__(
            model, model.model.language_model, images, config["image_token_index"], stop_ids(checkpoint),
            config.get("pad_token_id", stop_ids(checkpoint)[0] - 2),
        )  # fmt: skip
        self.checkpoint = checkpoint
        self.projector = model.model.multi_modal_projector
        self.tokenizer = Tokenizer.from_str(json.dumps(checkpoint.tokenizer)) if checkpoint.tokenizer else None
        self.processor = make_processor(preprocessor(checkpoint))

    def parts(self, case: Case) -> tuple[str, str]:
        before, after = self.checkpoint.templates[case.template]
        return before, after.format(case.question)

    def prompt(self, case: Case) -> str:
        return IMAGE.join(self.parts(case))

    def text_ids(self, case: Case) -> list[int]:
        """With one image token."""
        before, after = self.checkpoint.templates[case.template]
        if self.checkpoint.config["model_type"] != "llava_onevision":
            return tiny.PromptEncoder(self.checkpoint.tokenizer).encode(before, after.format(case.question))
        pieces = []
        for piece in [*split_special(before), IMAGE, *split_special(after)]:
            pieces.append(piece.format(case.question) if "{}" in piece else piece)
        return qwen.PromptEncoder(self.checkpoint.tokenizer).encode(pieces)

    def layout(self, case: Case) -> Layout:
        with Image.open(self.images / case.image) as image:
            return self.checkpoint.layout(image.width, image.height)

    def prompt_ids(self, case: Case) -> list[int]:
        ids = self.text_ids(case)
        where = ids.index(self.image_id)
        return ids[:where] + [self.image_id] * self.layout(case).image_tokens(SIDE, 1) + ids[where + 1 :]

    def image_inputs(self, case: Case) -> dict[str, torch.Tensor]:
        with reference.rows_first(), Image.open(self.images / case.image) as image:
            return dict(self.processor(image.convert("RGB"), return_tensors="pt", input_data_format="channels_last"))

    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        ids = torch.tensor([self.prompt_ids(case)])
        inputs = self.image_inputs(case)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": inputs["pixel_values"],
                "image_sizes": inputs["image_sizes"]}  # fmt: skip

    def pixels(self, case: Case) -> torch.Tensor:
        """Only the size: `AnyResolutionTest` compares values with checksums of its own."""
        return self.image_inputs(case)["image_sizes"].float()

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    @torch.inference_mode()
    def check_packing(self, case: Case) -> None:
        """What transformers puts in the place of the image's tokens is what NumPy does."""
        inputs = self.inputs(case)
        seen: list[torch.Tensor] = []
        handle = self.projector.register_forward_hook(lambda _module, _args, output: seen.append(output))
        packed = self.model.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])[0]
        handle.remove()
        ours = pack_in_numpy(seen[0].double().numpy(), self.model.model.image_newline.double().numpy(), self.layout(case))
        np.testing.assert_allclose(packed.numpy(), ours, rtol=0, atol=1e-5)


def split_special(text: str) -> list[str]:
    """Texts at even places, special tokens at odd ones."""
    parts = [""]
    while text:
        found = next((token for token in ("<|im_start|>", "<|im_end|>") if text.startswith(token)), None)
        if found:
            parts.extend([found, ""])
        else:
            parts[-1] += text[0]
        text = text.removeprefix(found) if found else text[1:]
    return parts


def preprocessor(checkpoint: AnyresCheckpoint) -> dict[str, Any]:
    """The `preprocessor_config.json`."""
    usual = {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
             "rescale_factor": 0.00392156862745098}  # fmt: skip
    pinpoints = checkpoint.config.get("image_grid_pinpoints")
    if checkpoint.config["model_type"] == "llava_onevision":
        half = [0.5, 0.5, 0.5]
        return {"do_pad": True, "image_grid_pinpoints": pinpoints, "image_mean": half, "image_processor_type":
                "LlavaOnevisionImageProcessor", "image_std": half, "processor_class": "LlavaOnevisionProcessor",
                "size": {"height": SIGLIP_CELL, "width": SIGLIP_CELL}, **usual}  # fmt: skip
    sizes = {"crop_size": {"height": CELL, "width": CELL}, "do_center_crop": True, "image_mean": CLIP_MEAN, "image_std": CLIP_STD,
             "size": {"shortest_edge": CELL}}  # fmt: skip
    if checkpoint.config["model_type"] == "llava":
        return {"image_processor_type": "CLIPImageProcessor", "processor_class": "LlavaProcessor", **sizes, **usual}
    return {"aspect_ratio_setting": "anyres", "do_pad": True, "image_grid_pinpoints": pinpoints, "image_processor_type":
            "LlavaNextImageProcessor", "processor_class": "LlavaNextProcessor", **sizes, **usual}  # fmt: skip


def make_processor(settings: dict[str, Any]) -> Any:
    taken = {key: value for key, value in settings.items() if not key.endswith(("_type", "_class", "_setting"))}
    if "CLIP" in settings["image_processor_type"]:
        return NextProcessor(**taken, image_grid_pinpoints=[[height, width] for width, height in HD_CANVASES])
    return OnevisionProcessor(**taken) if "Onevision" in settings["image_processor_type"] else NextProcessor(**taken)


class OriginalRunner(AnyresRunner):
    """Encodes around the image, cuts tiles and keeps windows as the original code does."""

    def __init__(self, checkpoint: AnyresCheckpoint, model: torch.nn.Module, images: Path) -> None:
        super().__init__(checkpoint, model, images)
        self.image_id, self.pad_id = original.IMAGE_INDEX, original.PLACEHOLDER
        self.pieces = sentencepiece.SentencePieceProcessor(model_proto=checkpoint.sentencepiece_model)
        self.cut = reference.written_down_pixels([tuple(pair) for pair in PINPOINTS], CELL)

    def text_ids(self, case: Case) -> list[int]:
        before, after = (self.pieces.encode(part) for part in self.parts(case))
        return [tiny.BOS_ID, *before, original.IMAGE_INDEX, *after]

    def image_inputs(self, case: Case) -> dict[str, torch.Tensor]:
        with reference.rows_first(), Image.open(self.images / case.image) as image:
            pixels = self.cut(np.asarray(image.convert("RGB")))
            return {"pixel_values": torch.from_numpy(pixels)[None], "image_sizes": torch.tensor([[image.height, image.width]])}

    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        inputs = super().inputs(case)
        ids = inputs["input_ids"]
        return inputs | {"input_ids": torch.where(ids == original.IMAGE_INDEX, original.PLACEHOLDER, ids)}

    def decode(self, ids: Sequence[int]) -> str:
        return self.pieces.decode([token for token in ids if token > tiny.EOS_ID]).strip()

    def answer(self, case: Case) -> Answer:
        with truncating():
            return super().answer(case)

    def check_packing(self, case: Case) -> None:
        with truncating():
            super().check_packing(case)


class HighDefinitionRunner(AnyresRunner):
    """LLaVA-1.5 of transformers, which gets the image packed here as embeddings."""

    @torch.inference_mode()
    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        model = self.model.model
        ids = torch.tensor([self.prompt_ids(case)])
        views = self.image_inputs(case)["pixel_values"][0]
        self.features = model.vision_tower(views, output_hidden_states=True).hidden_states[-2][:, 1:]
        packed = pack_in_numpy(self.projector(self.features).numpy(), model.image_newline.detach().numpy(), self.layout(case))
        embeddings = model.language_model.embed_tokens(ids)
        start, end = self.span(case)
        embeddings[0, start:end] = torch.from_numpy(packed)
        return {"inputs_embeds": embeddings, "attention_mask": torch.ones_like(ids)}

    def watch_vision(self, seen: dict[str, torch.Tensor]) -> list[Any]:
        seen["vision.output"] = self.features
        return []

    def check_packing(self, case: Case) -> None:
        """Nothing to compare with."""


# ------------------------------------------------------------------------------------------------------------ files


def save(checkpoint: AnyresCheckpoint, model: torch.nn.Module, folder: Path) -> None:
    if checkpoint.stored_config:
        original.save_flat(folder, checkpoint.stored_config, checkpoint.sentencepiece_model)
        tensors = original.flat_tensors(model, checkpoint.dtype, tower=True)
        tiny.write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
        return
    one_vision_model = checkpoint.config["model_type"] == "llava_onevision"
    documents = {
        "config.json": checkpoint.config,
        "generation_config.json": generation_config(checkpoint),
        "preprocessor_config.json": preprocessor(checkpoint),
        "processor_config.json": processor(checkpoint),
        "tokenizer.json": checkpoint.tokenizer,
        "tokenizer_config.json": qwen_tokenizer_config(checkpoint) if one_vision_model else tiny.tokenizer_config(checkpoint.tokenizer),
    }
    tiny.write_documents(folder, documents)
    old = checkpoint.name in ("llava-next", "llava-onevision")
    tensors = {tiny.old_names(name) if old else name: original.stored(tensor, checkpoint.dtype)
               for name, tensor in model.state_dict().items()}  # fmt: skip
    if checkpoint.name == "llava-next-mistral":
        write_two_shards(folder, tensors)
    else:
        tiny.write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def write_two_shards(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    names = list(tensors)
    half = len(names) // 2
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[:half], names[half:]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        tiny.write_tensors(folder / file, {name: tensors[name] for name in part}, {"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    tiny.write_json(folder / "model.safetensors.index.json", index, indent=2)


def generation_config(checkpoint: AnyresCheckpoint) -> dict[str, Any]:
    if checkpoint.config["model_type"] != "llava_onevision":
        return tiny.generation_config(checkpoint.config["pad_token_id"])
    return {"_from_model_config": True, "bos_token_id": stop_ids(checkpoint)[0] - 2, "eos_token_id": stop_ids(checkpoint)[0],
            "transformers_version": "4.45.0.dev0"}  # fmt: skip


def processor(checkpoint: AnyresCheckpoint) -> dict[str, Any]:
    kind = checkpoint.config["model_type"]
    if kind == "llava_onevision":
        return {"image_token": IMAGE, "num_image_tokens": SIDE**2, "processor_class": "LlavaOnevisionProcessor",
                "video_token": "<video>", "vision_aspect_ratio": checkpoint.config["vision_aspect_ratio"],
                "vision_feature_select_strategy": "full"}  # fmt: skip
    return tiny.llava_processor(14) | {"processor_class": "LlavaNextProcessor" if kind == "llava_next" else "LlavaProcessor"}


def qwen_tokenizer_config(checkpoint: AnyresCheckpoint) -> dict[str, Any]:
    keys = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    tokens = checkpoint.tokenizer["added_tokens"]
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(token["id"]): {key: token[key] for key in keys} for token in tokens},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "processor_class": "LlavaOnevisionProcessor",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def check_loads(folder: Path, runner: AnyresRunner, cases: Iterable[Case]) -> None:
    """The folder, opened by transformers' own loaders, gives the same weights and ids as the model in memory."""
    checkpoint = runner.checkpoint
    if checkpoint.stored_config or checkpoint.rule == "hd":
        return
    loaded = type(runner.model).from_pretrained(folder, attn_implementation="eager", dtype="auto").eval()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor.float(), runner.model.state_dict()[name]), name
    tokenizer = AutoTokenizer.from_pretrained(folder)
    images = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    for case in cases:
        with Image.open(runner.images / case.image) as image:
            plain = min(image.size) > 30  # transformers takes some very narrow images for others
            if plain and "<" not in case.question:
                with reference.rows_first():
                    pixels = images(image.convert("RGB"), return_tensors="pt")["pixel_values"]
                assert torch.equal(pixels, runner.inputs(case)["pixel_values"]), case
                start, end = runner.span(case)
                text = runner.prompt(case).replace(IMAGE, IMAGE * (end - start))
                assert tokenizer(text)["input_ids"] == runner.prompt_ids(case), case


STOP_GAIN = {"llava-next": 1.2, "llava-next-mistral": 1.5, "llava-next-original": 1.2, "llava-onevision": 1.6, "llava-hd": 1.5}
SINK_DIMENSIONS = {"llava-next": (11, 40), "llava-next-mistral": (7, 33), "llava-next-original": (5, 38), "llava-onevision": (20, 45),
                   "llava-hd": (3, 29)}  # fmt: skip
SMALLEST_GAP = 5e-3


def make_runner(checkpoint: AnyresCheckpoint, images: Path, seed: int) -> AnyresRunner:
    """Draws the weights, plants the sinks, and rounds to what the files hold; everything is computed in float32."""
    model = build_model(checkpoint, seed, STOP_GAIN[checkpoint.name])
    kind = OriginalRunner if checkpoint.stored_config else HighDefinitionRunner if checkpoint.rule == "hd" else AnyresRunner
    runner = kind(checkpoint, model, images)
    looks = [("shapes.png", 5), ("tall.png", 2), ("gray.png", 20), ("noise.png", 9)]  # image, and a token of it
    probes = [Case(image, QUESTIONS[0], template, checkpoint.rule) for template in checkpoint.templates for image, _ in looks]
    tiny.plant_sinks(
        model, runner.decoder, model.model.multi_modal_projector.linear_2.weight,
        [runner.inputs(probe) for probe in probes], [runner.span(probe) for probe in probes], SINK_DIMENSIONS[checkpoint.name],
        image_tokens=[((probe,), looks[probe % len(looks)][1]) for probe in range(len(probes))],
        text_tokens=[8, -6], strength=SINK_STRENGTH,
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data = parameter.data.to(checkpoint.dtype).float()
    return runner


def pool(checkpoint: AnyresCheckpoint) -> list[Case]:
    """Every question on the usual images, the long template's questions mostly; then the extreme ones."""
    images = list(sample_images.case_images())
    first, *others = checkpoint.templates
    usual = [Case(image, question, template, checkpoint.rule)
             for template, questions in ((first, QUESTIONS), *((other, QUESTIONS[:8]) for other in others))
             for question in questions for image in images]  # fmt: skip
    return usual


def extreme_cases(runner: AnyresRunner) -> list[tuple[Case, Answer]]:
    """Each extreme image with the question whose answer is clearest."""
    chosen = []
    last = list(runner.checkpoint.templates)[-1]
    for image in EXTREMES:
        cases = [Case(image, question, last, runner.checkpoint.rule) for question in QUESTIONS[:4]]
        answered = [(case, runner.answer(case)) for case in cases]
        best = max(answered, key=lambda pair: min(pair[1].gaps))
        assert min(best[1].gaps) >= SMALLEST_GAP, (runner.checkpoint.name, image)
        chosen.append(best)
    return chosen


CHECKPOINTS = (of_vicuna, of_mistral, of_the_authors, one_vision, high_definition)


def write(output: Path, release: Release, seed: int) -> None:
    reference.write(output / "anyres.json")
    for number, make in enumerate(CHECKPOINTS):
        checkpoint = make()
        folder = output / checkpoint.name
        runner = make_runner(checkpoint, output / "images", seed + 40 + number)
        save(checkpoint, runner.model, folder)
        chosen = choose_cases(runner, pool(checkpoint), SMALLEST_GAP, 4) + extreme_cases(runner)
        check_loads(folder, runner, [case for case, _ in chosen])
        for case, _ in chosen:
            runner.check_packing(case)
        settings = VarSettings("base", "paper", SINK_DIMENSIONS[checkpoint.name], SINK_THRESHOLD[checkpoint.name], 0.65, 0.1, 0.6)
        write_golden(folder, runner, chosen, traced(runner, chosen), settings, release, shortest)


SINK_THRESHOLD = {"llava-next": 3.2, "llava-next-mistral": 2.4, "llava-next-original": 3.2, "llava-onevision": 2.8, "llava-hd": 3.2}


def shortest(runs: Sequence[VarRun]) -> list[VarRun]:
    """The run whose attention takes least room, of those with tiles in which heads are selected."""
    tiled = [run for run in runs if run.observer.prompt.span[1] - run.observer.prompt.span[0] > SIDE**2 and run.selection().any()]
    return sorted(tiled, key=lambda run: run.observer.steps[0].weights[0].shape[-1])[:1]


def traced(runner: AnyresRunner, chosen: Sequence[tuple[Case, Answer]]) -> list[int]:
    """The two shortest prompts whose images have a window of tiles, of different layouts; attention is written out."""
    lengths = {number: len(runner.prompt_ids(case)) for number, (case, _) in enumerate(chosen)}
    layouts = {number: runner.layout(case) for number, (case, _) in enumerate(chosen)}
    tiled = [number for number in sorted(lengths, key=lengths.get) if layouts[number].packed_rows * layouts[number].packed_columns]
    if runner.checkpoint.name == "llava-onevision":  # one of them resized
        tiled.sort(key=lambda number: layouts[number].packed_rows == layouts[number].rows)
        resized = tiled[0]
        return [next(number for number in tiled if layouts[number].packed_rows == layouts[number].rows), resized]
    return [tiled[0], next(number for number in tiled if layouts[number] != layouts[tiled[0]])]
