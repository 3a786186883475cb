"""Tiny random InternVL checkpoints with real file formats, in two layouts.

`internvl` is what transformers writes. `internvl_chat` is the layout of the models' authors, whose code transformers does not
hold: the same weights under other names, queries, keys and values joined. What such a folder means is computed a second time
in `original_logits`, in NumPy, from the names of that layout alone.
"""

from __future__ import annotations

import json
import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import InternVLConfig, InternVLForConditionalGeneration

import golden_sentencepiece
import tiny_llava as tiny
from llava_files import write_documents, write_tensors

END, START = "<|im_end|>", "<|im_start|>"
IMAGE_START, IMAGE_END, IMAGE = "<img>", "</img>", "<IMG_CONTEXT>"
MARKERS = [IMAGE_START, IMAGE_END, IMAGE, "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TILE, PATCH, TILE_TOKENS = 56, 14, 4
SYSTEM_2 = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
SYSTEM_2_5 = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"


# ------------------------------------------------------------------------------------------------------ tokenizers


def added_token(token: str, index: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": token, **flags}


def internlm2_tokenizer(corpus: Sequence[str], pieces: int) -> dict[str, Any]:
    """As in the converted checkpoints: LLaMA's kind, but no text begins with a mark of its own."""
    description = tiny.train_tokenizer(corpus, pieces, legacy=False)
    description["pre_tokenizer"]["prepend_scheme"] = "never"
    first = 3 + 256 + pieces
    special = ["<unk>", "<s>", "</s>"]
    description["added_tokens"] = [added_token(token, index) for index, token in enumerate(special)]
    description["added_tokens"] += [added_token(token, first + index) for index, token in enumerate([END, START, *MARKERS])]
    return description


def qwen2_tokenizer(corpus: Sequence[str], pieces: int) -> dict[str, Any]:
    """As Qwen2 has it: BPE over bytes, no beginning-of-text token."""
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=256 + pieces, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    description = json.loads(tokenizer.to_str())
    first = len(description["model"]["vocab"])
    special = ["<|endoftext|>", START, END, *MARKERS]
    description["added_tokens"] = [added_token(token, first + index) for index, token in enumerate(special)]
    return description


class Words(ABC):
    """A tokenizer of a checkpoint, and the files it comes as."""

    @abstractmethod
    def id(self, token: str) -> int:
        """The id of an added token."""

    @abstractmethod
    def encode(self, pieces: Sequence[str | None], question: str) -> list[int]:
        """Pieces that are special tokens stand for these, and `None` for the question, in which nothing is a special token."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Special tokens dropped."""

    @abstractmethod
    def write(self, folder: Path) -> None: ...


class JsonWords(Words):
    """A `tokenizer.json`."""

    def __init__(self, description: dict[str, Any], begin: str | None, end: str) -> None:
        self.description, self.begin, self.end = description, begin, end
        self._tokenizer = Tokenizer.from_str(json.dumps(description))
        renamed = json.loads(json.dumps(description))
        self._names = {token["content"]: f"\ue000{number}\ue001" for number, token in enumerate(renamed["added_tokens"])}
        for token in renamed["added_tokens"]:
            token["content"] = self._names[token["content"]]
        model = renamed["model"]
        model["vocab"] = {self._names.get(token, token): index for token, index in model["vocab"].items()}
        if model["unk_token"] is not None:
            model["unk_token"] = self._names[model["unk_token"]]
        self._guarded = Tokenizer.from_str(json.dumps(renamed))

    @property
    def first_special(self) -> int:
        """Where special tokens begin behind the others."""
        return min(added["id"] for added in self.description["added_tokens"] if added["id"] > 2)

    def id(self, token: str) -> int:
        return next(added["id"] for added in self.description["added_tokens"] if added["content"] == token)

    def encode(self, pieces: Sequence[str | None], question: str) -> list[int]:
        return self._guarded.encode("".join(question if piece is None else self._names.get(piece, piece) for piece in pieces)).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def write(self, folder: Path) -> None:
        write_documents(folder, {"tokenizer.json": self.description, "tokenizer_config.json": self._config()})

    def _config(self) -> dict[str, Any]:
        keys = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
        return {
            "added_tokens_decoder": {str(token["id"]): {key: token[key] for key in keys} for token in self.description["added_tokens"]},
            "additional_special_tokens": [START, END, *MARKERS],
            "bos_token": self.begin,
            "clean_up_tokenization_spaces": False,
            "context_image_token": IMAGE,
            "end_image_token": IMAGE_END,
            "eos_token": self.end,
            "extra_special_tokens": {"context_image_token": IMAGE, "end_image_token": IMAGE_END, "start_image_token": IMAGE_START},
            "model_max_length": 8192,
            "pad_token": self.end,
            "processor_class": "InternVLProcessor",
            "start_image_token": IMAGE_START,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }


class SentencePieceWords(Words):
    """InternLM2's `tokenizer.model`, with no `tokenizer.json` beside it."""

    def __init__(self) -> None:
        self._folder = golden_sentencepiece.internlm2()
        with tempfile.TemporaryDirectory() as temporary:
            self.write(Path(temporary))
            self._tokenizer, guarded = (self._folder.tokenizer.from_pretrained(temporary) for _ in range(2))
        self._guarded, self._names = golden_sentencepiece.made_private(guarded)

    def id(self, token: str) -> int:
        return self._tokenizer.added_tokens_encoder[token]

    def encode(self, pieces: Sequence[str | None], question: str) -> list[int]:
        return self._guarded("".join(question if piece is None else self._names.get(piece, piece) for piece in pieces)).input_ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def write(self, folder: Path) -> None:
        write_documents(folder, self._folder.files)
        (folder / "tokenizer.model").write_bytes(self._folder.model.SerializeToString(deterministic=True))


# ------------------------------------------------------------------------------------------------------ checkpoints


@dataclass(frozen=True)
class TinyInternVl:
    """Everything that defines one checkpoint apart from its weights.

    `config` is what its `config.json` holds, `model_config` what transformers' model is made of.
    """

    name: str
    config: dict[str, Any]
    model_config: dict[str, Any]
    words: Words
    generation_config: dict[str, Any] | None
    preprocessor: dict[str, Any]
    processor: dict[str, Any] | None
    stops: tuple[str, ...]
    template: str
    store: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]

    @property
    def transposed(self) -> bool:
        return self.config.get("ps_version") == "v1"


def build_model(config: dict[str, Any]) -> InternVLForConditionalGeneration:
    """A float32 model on explicit eager attention with weights yet to be drawn."""
    internvl = InternVLConfig(**json.loads(json.dumps(config)))
    internvl._attn_implementation = "eager"
    return InternVLForConditionalGeneration(internvl).float().eval()


def swap_back(model: InternVLForConditionalGeneration) -> None:
    """Makes the model shuffle pixels in the order of `ps_version` v1, which leaves rows and columns swapped."""
    shuffle = model.model.pixel_shuffle
    model.model.pixel_shuffle = lambda *args, **kwargs: shuffle(*args, **kwargs).permute(0, 2, 1, 3).contiguous()


@torch.no_grad()
def draw_weights(model: InternVLForConditionalGeneration, seed: int, stop: int, stop_gain: float, texts: int) -> None:
    """As `tiny_llava.draw_weights`; tokens from `texts` on are special and rarely answered, but for `stop`."""
    generator = torch.Generator().manual_seed(seed)
    gains = {"q_proj": 1.5, "k_proj": 1.5, "v_proj": 1.6, "o_proj": 1.6, "projection_layer": 1.6, "projection": 2.0,
             "fc1": 1.4, "fc2": 1.2, "gate_proj": 1.2, "up_proj": 1.2, "down_proj": 1.2,
             "linear_1": 1.6, "linear_2": 0.9, "lm_head": 2.5}  # fmt: skip
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        owner, kind = name.split(".")[-2:]
        if "norm" in owner:
            parameter.copy_(1 + 0.1 * noise if kind == "weight" else 0.1 * noise)
        elif kind == "bias":
            parameter.copy_(0.1 * noise)
        elif kind == "position_embeddings":
            parameter.copy_(0.8 * noise)
        elif kind.startswith("lambda_"):
            parameter.copy_(0.7 + 0.2 * noise)
        elif kind == "cls_token" or owner == "embed_tokens":
            parameter.copy_(noise)
        else:
            parameter.copy_(gains[owner] * parameter[0].numel() ** -0.5 * noise)
    head = model.lm_head.weight
    head[:259] *= 0.3
    head[texts:] *= 0.3
    head[stop] *= stop_gain / 0.3


def save_checkpoint(checkpoint: TinyInternVl, model: InternVLForConditionalGeneration, folder: Path) -> None:
    """Writes the folder; weights as bfloat16, whose values the model must have."""
    documents = {
        "config.json": checkpoint.config,
        "generation_config.json": checkpoint.generation_config,
        "preprocessor_config.json": checkpoint.preprocessor,
        "processor_config.json": checkpoint.processor,
    }
    write_documents(folder, documents)
    checkpoint.words.write(folder)
    tensors = checkpoint.store({name: tensor.detach() for name, tensor in model.state_dict().items()})
    write_tensors(
        folder / "model.safetensors",
        {name: tensor.to(torch.bfloat16).contiguous().clone() for name, tensor in tensors.items()},
        {"format": "pt"},
    )


# ----------------------------------------------------------------------------------------------------------- layouts


def published_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What files in the `internvl` layout hold: the names of transformers before 4.52, which later versions still write."""
    return {tiny.old_names(name): tensor for name, tensor in tensors.items()}


def original_names(decoder: str, heads: int, groups: int) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """The names of the `internvl_chat` layout, with the decoder called `internlm2` or `qwen2`."""

    def store(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        stored = {}
        for name, tensor in tensors.items():
            for pattern, replacement in _VISION if "vision_tower" in name else _PROJECTOR if "projector" in name else ():
                name = name.replace(pattern, replacement)
            stored[name] = tensor
        for name in [name for name in stored if ".attn.q_proj." in name]:
            parts = [stored.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
            stored[name.replace("q_proj", "qkv")] = torch.cat(parts)
        text = {name: stored.pop(name) for name in list(stored) if name.startswith(("model.language_model.", "lm_head."))}
        return stored | (_internlm2(text, heads, groups) if decoder == "internlm2" else _qwen2(text))

    return store


_VISION = (
    ("model.vision_tower.", "vision_model."),
    (".encoder.layer.", ".encoder.layers."),
    ("cls_token", "class_embedding"),
    ("position_embeddings", "position_embedding"),
    ("patch_embeddings.projection", "patch_embedding"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("lambda_", "ls"),
    ("attention.projection_layer", "attn.proj"),
    ("attention.", "attn."),
)
_PROJECTOR = (
    ("model.multi_modal_projector.layer_norm", "mlp1.0"),
    ("model.multi_modal_projector.linear_1", "mlp1.1"),
    ("model.multi_modal_projector.linear_2", "mlp1.3"),
)
_INTERNLM2 = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.output."),
    ("embed_tokens", "tok_embeddings"),
    ("self_attn.o_proj", "attention.wo"),
    ("mlp.gate_proj", "feed_forward.w1"),
    ("mlp.up_proj", "feed_forward.w3"),
    ("mlp.down_proj", "feed_forward.w2"),
    ("input_layernorm", "attention_norm"),
    ("post_attention_layernorm", "ffn_norm"),
)


def _internlm2(tensors: dict[str, torch.Tensor], heads: int, groups: int) -> dict[str, torch.Tensor]:
    stored = {}
    for name, tensor in tensors.items():
        if ".q_proj." in name:
            width = tensor.shape[-1]
            query = tensor.reshape(groups, heads // groups, -1, width)
            key, value = (tensors[name.replace("q_proj", part)].reshape(groups, 1, -1, width) for part in ("k_proj", "v_proj"))
            name, tensor = name.replace("self_attn.q_proj", "attention.wqkv"), torch.cat([query, key, value], 1).reshape(-1, width)
        elif ".k_proj." in name or ".v_proj." in name:
            continue
        for pattern, replacement in _INTERNLM2:
            name = name.replace(pattern, replacement)
        stored[name] = tensor
    return stored


def _qwen2(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.replace("model.language_model.", "language_model.model.").replace("lm_head.", "language_model.lm_head."): tensor
        for name, tensor in tensors.items()
    }


# ------------------------------------------------------------------------------------- the original layout, in NumPy


class Original:
    """The forward pass of an `internvl_chat` checkpoint in float64, from its tensors and its `config.json`.

    Written from the authors' published code (`modeling_intern_vit.py`, `modeling_internvl_chat.py` and
    `modeling_internlm2.py`), apart from transformers.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
        self.tensors = {name: tensor.double().numpy() for name, tensor in tensors.items()}
        self.config = config

    def logits(self, pixels: np.ndarray, ids: Sequence[int], image_id: int) -> np.ndarray:
        """`pixels` [view, channel, height, width]; logits of every token."""
        text = self.config["llm_config"]
        internlm2 = text["architectures"] == ["InternLM2ForCausalLM"]
        rows = self.tensors["language_model.model." + ("tok_embeddings" if internlm2 else "embed_tokens") + ".weight"]
        hidden = rows[np.asarray(ids)]
        hidden[np.asarray(ids) == image_id] = self.image(pixels.astype(np.float64))
        mask = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
        for number in range(text["num_hidden_layers"]):
            layer = f"language_model.model.layers.{number}."
            names = ("attention_norm", "ffn_norm") if internlm2 else ("input_layernorm", "post_attention_layernorm")
            normed = self.rms(hidden, layer + names[0], text["rms_norm_eps"])
            query, key, value = self.grouped(layer, normed) if internlm2 else self.apart(layer, normed)
            query, key = self.turned(query), self.turned(key)
            shared = query.shape[0] // key.shape[0]
            outputs = []
            for head in range(query.shape[0]):
                scores = query[head] @ key[head // shared].T / math.sqrt(query.shape[-1]) + mask
                outputs.append(softmax(scores) @ value[head // shared])
            output = "attention.wo" if internlm2 else "self_attn.o_proj"
            hidden = hidden + self.linear(np.concatenate(outputs, -1), layer + output)
            normed = self.rms(hidden, layer + names[1], text["rms_norm_eps"])
            gate, up, down = ("w1", "w3", "w2") if internlm2 else ("gate_proj", "up_proj", "down_proj")
            mlp = layer + ("feed_forward." if internlm2 else "mlp.")
            gated = self.linear(normed, mlp + gate)
            hidden = hidden + self.linear(gated / (1 + np.exp(-gated)) * self.linear(normed, mlp + up), mlp + down)
        head = "language_model.output" if internlm2 else "language_model.lm_head"
        return self.linear(self.rms(hidden, "language_model.model.norm", text["rms_norm_eps"]), head)

    def grouped(self, layer: str, normed: np.ndarray) -> list[np.ndarray]:
        """Row blocks of one head each; each group of them is its queries, its key, its value."""
        text = self.config["llm_config"]
        heads, groups = text["num_attention_heads"], text["num_key_value_heads"]
        blocks = self.linear(normed, layer + "attention.wqkv").reshape(len(normed), heads + 2 * groups, -1).swapaxes(0, 1)
        size = heads // groups + 2
        places = [list(range(group * size, group * size + size)) for group in range(groups)]
        query = [block for group in places for block in group[:-2]]
        return [blocks[query], blocks[[group[-2] for group in places]], blocks[[group[-1] for group in places]]]

    def apart(self, layer: str, normed: np.ndarray) -> list[np.ndarray]:
        text = self.config["llm_config"]
        counts = {"q": text["num_attention_heads"], "k": text["num_key_value_heads"], "v": text["num_key_value_heads"]}
        return [
            self.linear(normed, f"{layer}self_attn.{part}_proj").reshape(len(normed), count, -1).swapaxes(0, 1)
            for part, count in counts.items()
        ]

    def turned(self, heads: np.ndarray) -> np.ndarray:
        half = heads.shape[-1] // 2
        angles = np.outer(np.arange(heads.shape[1]), self.config["llm_config"]["rope_theta"] ** (-np.arange(half) / half))
        left, right = heads[..., :half], heads[..., half:]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([left * cos - right * sin, right * cos + left * sin], -1)

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """[view, channel, height, width] to [image token, hidden]."""
        vision = self.config["vision_config"]
        views, side, patch = len(pixels), vision["image_size"] // vision["patch_size"], vision["patch_size"]
        cut = pixels.reshape(views, 3, side, patch, side, patch).transpose(0, 2, 4, 1, 3, 5).reshape(views, side * side, -1)
        embeddings = "vision_model.embeddings."
        kernel = self.tensors[embeddings + "patch_embedding.weight"]
        patches = cut @ kernel.reshape(len(kernel), -1).T + self.tensors[embeddings + "patch_embedding.bias"]
        first = np.broadcast_to(self.tensors[embeddings + "class_embedding"], (views, 1, patches.shape[-1]))
        hidden = np.concatenate([first, patches], 1) + self.tensors[embeddings + "position_embedding"]
        for number in range(vision["num_hidden_layers"]):
            layer = f"vision_model.encoder.layers.{number}."
            attended = self.attended(layer + "attn.", self.vision_norm(hidden, layer + "norm1"))
            hidden = hidden + attended * self.tensors[layer + "ls1"]
            between = gelu(self.linear(self.vision_norm(hidden, layer + "norm2"), layer + "mlp.fc1"))
            hidden = hidden + self.linear(between, layer + "mlp.fc2") * self.tensors[layer + "ls2"]
        tokens = self.shuffled(hidden[:, 1:], side)
        normed = self.layer_norm(tokens, "mlp1.0", 1e-5)
        return self.linear(gelu(self.linear(normed, "mlp1.1")), "mlp1.3").reshape(-1, self.config["llm_config"]["hidden_size"])

    def attended(self, attention: str, normed: np.ndarray) -> np.ndarray:
        vision = self.config["vision_config"]
        heads = vision["num_attention_heads"]
        query, key, value = np.split(self.linear(normed, attention + "qkv"), 3, -1)
        if vision["qk_normalization"]:
            query = self.rms(query, attention + "q_norm", vision["layer_norm_eps"])
            key = self.rms(key, attention + "k_norm", vision["layer_norm_eps"])
        query, key, value = (
            part.reshape(*part.shape[:2], heads, -1).transpose(0, 2, 1, 3) for part in (query, key, value)
        )
        weights = softmax(query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1]))
        joined = (weights @ value).transpose(0, 2, 1, 3).reshape(normed.shape)
        return self.linear(joined, attention + "proj")

    def shuffled(self, patches: np.ndarray, side: int) -> np.ndarray:
        """Four neighbours side by side; token by token, so that nothing here depends on how arrays are laid out."""
        half = range(side // 2)
        places = [(row, column) for row in half for column in half]
        if self.config["ps_version"] == "v1":
            places = [(row, column) for column in half for row in half]
        return np.stack(
            [
                np.concatenate(
                    [patches[:, (2 * row + down) * side + 2 * column + right] for down in (0, 1) for right in (0, 1)], -1
                )
                for row, column in places
            ],
            1,
        )

    def vision_norm(self, x: np.ndarray, name: str) -> np.ndarray:
        vision = self.config["vision_config"]
        norm = self.rms if vision["norm_type"] == "rms_norm" else self.layer_norm
        return norm(x, name, vision["layer_norm_eps"])

    def rms(self, x: np.ndarray, name: str, eps: float) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * self.tensors[name + ".weight"]

    def layer_norm(self, x: np.ndarray, name: str, eps: float) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.tensors[name + ".weight"] + self.tensors[name + ".bias"]

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.tensors[name + ".weight"].T + self.tensors.get(name + ".bias", 0)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


# ------------------------------------------------------------------------------------------------------------- tiles


def grid(width: int, height: int, most: int) -> tuple[int, int]:
    """Columns and rows of tiles, as `dynamic_preprocess` of the original code chooses them."""
    candidates = {(columns, rows) for columns in range(1, most + 1) for rows in range(1, most + 1) if columns * rows <= most}
    best, smallest = (1, 1), math.inf
    for columns, rows in sorted(candidates, key=lambda candidate: candidate[0] * candidate[1]):
        difference = abs(width / height - columns / rows)
        if difference < smallest or (difference == smallest and width * height > 0.5 * TILE * TILE * columns * rows):
            best, smallest = (columns, rows), difference
    return best
