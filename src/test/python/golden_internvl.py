"""Golden files of the InternVL family; see `golden.py`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import GotOcr2ImageProcessor, InternVLForConditionalGeneration

import golden
import redistribution as var
import sample_images
import tiny_internvl as tiny
import tiny_llava
from golden_cases import Answer, Case, Runner, VarRun, choose_cases, write_golden
from redistribution import VarSettings
from tiny_internvl import END, IMAGE, IMAGE_END, IMAGE_START, START, TinyInternVl

QUESTION = None
VISUAL = [IMAGE_START, IMAGE, IMAGE_END, "\n"]


def chat(system: str | None, separator: Sequence[str]) -> list[str | None]:
    """A prompt piece by piece."""
    before = [] if system is None else [START, "system\n" + system, *separator]
    return [*before, START, "user\n", *VISUAL, QUESTION, *separator, START, "assistant\n"]


TEMPLATES = {
    "internlm2-chat": chat(tiny.SYSTEM_2, [END]),
    "internvl2_5": chat(tiny.SYSTEM_2_5, [END, "\n"]),
    "plain": chat(None, [END, "\n"]),
}
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{'<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    *golden.CORPUS,
    *(["user\n", "assistant\n", "system\n", "\nWhat is in the image?", "\nIs there a red circle in the image?"] * 20),
    tiny.SYSTEM_2,
    tiny.SYSTEM_2_5,
    "图片里有什么？",
]
HEADS, GROUPS, LAYERS = 4, 2, 5


# ------------------------------------------------------------------------------------------------- the checkpoints


def text_config(kind: str, vocabulary: int, **more: Any) -> dict[str, Any]:
    return {"model_type": kind, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "hidden_act": "silu", "max_position_embeddings": 1024,
            "tie_word_embeddings": False, "use_cache": True, "vocab_size": vocabulary, **more}  # fmt: skip


def llama_text(vocabulary: int) -> dict[str, Any]:
    """InternLM2.5 as transformers calls it: a LLaMA whose rotary scaling begins beyond its context."""
    scaling = {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"}
    return text_config("llama", vocabulary, rms_norm_eps=1e-5, rope_theta=20000.0, rope_scaling=scaling, head_dim=12,
                       attention_bias=False, mlp_bias=False, bos_token_id=1, eos_token_id=2, pad_token_id=2)  # fmt: skip


def qwen2_text(vocabulary: int, end: int) -> dict[str, Any]:
    return text_config("qwen2", vocabulary, rms_norm_eps=1e-6, rope_theta=50000.0, rope_scaling=None, bos_token_id=end - 2,
                       eos_token_id=end, max_window_layers=LAYERS, sliding_window=None, use_sliding_window=False)  # fmt: skip


def vision_config(large: bool) -> dict[str, Any]:
    """InternViT-300M, or the way of InternViT-6B."""
    return {"model_type": "internvl_vision", "architectures": ["InternVisionModel"], "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_channels": 3, "image_size": [tiny.TILE] * 2,
            "patch_size": [tiny.PATCH] * 2, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "attention_bias": not large,
            "norm_type": "rms_norm" if large else "layer_norm", "use_qk_norm": large, "layer_scale_init_value": 0.1,
            "use_absolute_position_embeddings": True, "use_mask_token": False, "use_mean_pooling": True,
            "attention_dropout": 0.0, "hidden_dropout_prob": 0.0, "projection_dropout": 0.0,
            "initializer_range": 0.02}  # fmt: skip


def transformers_config(text: dict[str, Any], large: bool, image: int) -> dict[str, Any]:
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "downsample_ratio": 0.5,
        "image_seq_length": tiny.TILE_TOKENS,
        "image_token_id": image,
        "model_type": "internvl",
        "projector_hidden_act": "gelu",
        "text_config": text,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.57.6",
        "vision_config": vision_config(large),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }


def original_config(text: dict[str, Any], large: bool, template: str, shuffle: str) -> dict[str, Any]:
    """`config.json` of the authors' layout for the same model."""
    internlm2 = text["model_type"] == "llama"
    llm = {key: value for key, value in text.items() if key not in ("head_dim", "attention_bias", "mlp_bias", "model_type")}
    llm["architectures"] = ["InternLM2ForCausalLM" if internlm2 else "Qwen2ForCausalLM"]
    llm["model_type"] = "internlm2" if internlm2 else "qwen2"
    if internlm2:
        llm |= {"attn_implementation": "eager", "bias": False, "rope_scaling": {"factor": 2.0, "type": "dynamic"}}
    vision = vision_config(large)
    kept = ("architectures", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_channels",
            "hidden_act", "layer_norm_eps", "norm_type", "attention_dropout", "initializer_range")  # fmt: skip
    return {
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": tiny.TILE,
        "llm_config": llm,
        "max_dynamic_patch": 6,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "ps_version": shuffle,
        "select_layer": -1,
        "template": template,
        "torch_dtype": "bfloat16",
        "transformers_version": None,
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "vision_config": {key: vision[key] for key in kept}
        | {"model_type": "intern_vit_6b", "image_size": tiny.TILE, "patch_size": tiny.PATCH, "qkv_bias": not large,
           "qk_normalization": large, "drop_path_rate": 0.1, "dropout": 0.0, "use_flash_attn": True},
    }  # fmt: skip


def preprocessor() -> dict[str, Any]:
    return {"crop_to_patches": False, "data_format": "channels_first", "default_to_square": True, "do_convert_rgb": True,
            "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": tiny.MEAN,
            "image_processor_type": "GotOcr2ImageProcessor", "image_std": tiny.STD, "max_patches": 6, "min_patches": 1,
            "processor_class": "InternVLProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
            "size": {"height": tiny.TILE, "width": tiny.TILE}}  # fmt: skip


def original_preprocessor() -> dict[str, Any]:
    """Beside the original weights; their code does not read it."""
    return {"crop_size": tiny.TILE, "do_center_crop": True, "do_normalize": True, "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": tiny.MEAN, "image_std": tiny.STD, "resample": 3,
            "size": tiny.TILE}  # fmt: skip


def of_transformers(
    name: str, words: tiny.Words, text: dict[str, Any], large: bool, generation: dict[str, Any] | None
) -> TinyInternVl:
    config = transformers_config(text, large, words.id(IMAGE))
    return TinyInternVl(
        name, config, config, words, generation, preprocessor(),
        {"image_seq_length": tiny.TILE_TOKENS, "processor_class": "InternVLProcessor"}, (END,), "plain", tiny.published_names,
    )  # fmt: skip


def relabelled(
    of: TinyInternVl, name: str, words: tiny.Words, template: str, shuffle: str, stops: tuple[str, ...]
) -> TinyInternVl:
    """The same weights as their authors would publish them."""
    text, large = of.config["text_config"], of.config["vision_config"]["use_qk_norm"]
    decoder = "internlm2" if text["model_type"] == "llama" else "qwen2"
    ids = [words.id(stop) for stop in stops]
    return replace(
        of, name=name, config=original_config(text, large, template, shuffle), words=words, preprocessor=original_preprocessor(),
        processor=None, generation_config={"_from_model_config": True, "eos_token_id": ids, "transformers_version": "4.37.2"},
        stops=stops, template=template, store=tiny.original_names(decoder, HEADS, GROUPS),
    )  # fmt: skip


def checkpoints() -> list[TinyInternVl]:
    sentencepiece = tiny.SentencePieceWords()
    # As many pieces as give the special tokens the ids they have there.
    llama_words = tiny.JsonWords(tiny.internlm2_tokenizer(CORPUS, sentencepiece.id(END) - 259), "<s>", "</s>")
    assert all(llama_words.id(token) == sentencepiece.id(token) for token in (END, START, *tiny.MARKERS))
    llama = of_transformers(
        "internvl-llama", llama_words, llama_text(616), False,
        {"_from_model_config": True, "eos_token_id": llama_words.id(END), "transformers_version": "4.57.6"},
    )  # fmt: skip
    qwen2_words = tiny.JsonWords(tiny.qwen2_tokenizer(CORPUS, 260), None, END)
    qwen2 = of_transformers("internvl-qwen2", qwen2_words, qwen2_text(544, qwen2_words.id(END)), True, None)
    return [
        llama,
        qwen2,
        relabelled(llama, "internvl-chat-internlm2", sentencepiece, "internlm2-chat", "v2", (END, START)),
        relabelled(qwen2, "internvl-chat-qwen2", qwen2_words, "internvl2_5", "v1", (END, "<|endoftext|>")),
    ]


# ------------------------------------------------------------------------------------------------------- answering


@contextmanager
def rows_first() -> Iterator[None]:
    """While open, Pillow resizes as it did up to version 12: first every row, then every column."""
    resize = Image.Image.resize

    def in_two_steps(self: Image.Image, size: tuple[int, int], *args: Any, **kwargs: Any) -> Image.Image:
        return resize(resize(self, (size[0], self.height), *args, **kwargs), size, *args, **kwargs)

    Image.Image.resize = in_two_steps
    try:
        yield
    finally:
        Image.Image.resize = resize


class InternVlRunner(Runner):
    """An InternVL checkpoint of either layout."""

    def __init__(self, checkpoint: TinyInternVl, model: InternVLForConditionalGeneration, images: Path) -> None:
        stops = [checkpoint.words.id(stop) for stop in checkpoint.stops]
        super().__init__(model, model.model.language_model, images, checkpoint.words.id(IMAGE), stops, stops[0])
        self.checkpoint = checkpoint

    def prompt(self, case: Case) -> str:
        return "".join(case.question if piece is QUESTION else piece for piece in TEMPLATES[case.template])

    def prompt_ids(self, case: Case) -> list[int]:
        ids = self.checkpoint.words.encode(TEMPLATES[case.template], case.question)
        where = ids.index(self.image_id)
        tokens = tiny.TILE_TOKENS * len(self.tiles(case))
        return ids[:where] + [self.image_id] * tokens + ids[where + 1 :]

    def tiles(self, case: Case) -> torch.Tensor:
        """[view, channel, height, width]"""
        most = int(case.image_rule.removeprefix("tiles-"))
        processor = GotOcr2ImageProcessor(
            size={"height": tiny.TILE, "width": tiny.TILE}, crop_to_patches=True, max_patches=most, image_mean=tiny.MEAN,
            image_std=tiny.STD,
        )  # fmt: skip
        with Image.open(self.images / case.image) as image, rows_first():
            views = processor(image, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
            columns, rows = tiny.grid(*image.size, most)
        assert len(views) == columns * rows + (columns * rows > 1), case
        return views

    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        ids = torch.tensor([self.prompt_ids(case)])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": self.tiles(case).to(self.model.dtype)}

    def watch_vision(self, seen: dict[str, torch.Tensor]) -> list[Any]:
        def keep(_module: torch.nn.Module, _args: Any, output: Any) -> None:
            seen["vision.output"] = output.last_hidden_state[:, 1:]

        return [self.model.model.vision_tower.register_forward_hook(keep)]

    def decode(self, ids: Sequence[int]) -> str:
        return self.checkpoint.words.decode(ids).strip()

    def case_document(self, case: Case) -> dict[str, Any]:
        views = self.tiles(case)
        crc = zlib.crc32(views.numpy().astype("<f4").tobytes())
        return super().case_document(case) | {"views": len(views), "pixel_crc": f"{crc:08x}"}


def pool(template: str) -> list[Case]:
    other = "internvl2_5" if template == "plain" else "plain"
    images = [*sample_images.case_images(), *EXTREMES]
    return [
        Case(image, question, name, "tiles-6")
        for name, questions in ((template, golden.QUESTIONS), (other, golden.QUESTIONS[:8]))
        for question in questions
        for image in images
    ]


def choose(runner: InternVlRunner, smallest_gap: float) -> list[tuple[Case, Answer]]:
    """Those of `choose_cases`, all extreme images, and some cases with another number of tiles."""
    chosen = choose_cases(runner, pool(runner.checkpoint.template), smallest_gap, 3)
    used = {case.image for case, _ in chosen}
    more = [Case(image, question, "plain", "tiles-6") for image in EXTREMES if image not in used for question in golden.QUESTIONS[:8]]
    for case, _ in chosen[:4]:
        more.extend([replace(case, image_rule="tiles-12"), replace(case, image_rule="tiles-1")])
    answered: set[str] = set()
    for case in more:
        answer = runner.answer(case)
        if min(answer.gaps) >= smallest_gap and (case.image_rule != "tiles-6" or case.image not in answered):
            chosen.append((case, answer))
            answered.add(case.image)
    missing = set(EXTREMES) - {case.image for case, _ in chosen}
    assert not missing, missing
    return chosen


EXTREMES = {"internvl-line.png": (64, 1), "internvl-column.png": (3, 200), "internvl-large.png": (420, 300)}
"""Beside the shared images: one pixel high, many times higher than wide, and larger than any number of tiles."""


def write_extremes(folder: Path) -> None:
    for name, (width, height) in EXTREMES.items():
        image = sample_images.gradient(width, height, "purple", "yellow")
        shapes = [("circle", "green", 0.3, 0.4, 0.3), ("square", "red", 0.8, 0.7, 0.2)] if min(width, height) > 1 else []
        sample_images.with_shapes(image, *shapes).save(folder / name, optimize=True)


# ------------------------------------------------------------------------------------------------------------ files


@torch.no_grad()
def make_model(checkpoint: TinyInternVl, images: Path, seed: int) -> InternVLForConditionalGeneration:
    """Draws the weights, plants the sinks, and rounds everything to bfloat16 values, held as float32."""
    model, words = tiny.build_model(checkpoint.model_config), checkpoint.words
    assert isinstance(words, tiny.JsonWords)
    tiny.draw_weights(model, seed, words.id(END), STOP_GAIN[checkpoint.name], words.first_special)
    runner = InternVlRunner(checkpoint, model, images)
    looks = [("shapes.png", 5), ("tall.png", 2), ("gray.png", 1), ("noise.png", 9), ("internvl-large.png", 25)]  # image, and a token of it
    probes = [Case(image, golden.QUESTIONS[0], name, "tiles-6") for name in TEMPLATES for image, _ in looks]
    tiny_llava.plant_sinks(
        model, runner.decoder, model.model.multi_modal_projector.linear_2.weight, [runner.inputs(probe) for probe in probes],
        [runner.span(probe) for probe in probes], SINK_DIMENSIONS,
        image_tokens=[((probe,), looks[probe % len(looks)][1]) for probe in range(len(probes))],
        text_tokens=[8, -6], strength=24.0,
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).float())
    return model


def write_tokens(folder: Path, words: tiny.JsonWords) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [*golden.TOKEN_TEXTS, "<|im_start|>user\n<img><IMG_CONTEXT></img>\nWhat?<|im_end|>", "<|im_end|> \n", tiny.SYSTEM_2]
    word = tokenizer.encode("red circle", add_special_tokens=False).ids
    marks = [token["id"] for token in words.description["added_tokens"]]
    animals = tokenizer.encode("é🦊", add_special_tokens=False).ids
    decoded = [word, [*marks, *word], animals, animals[:1], [*word, *animals], [*word, marks[0], *word], []]
    document = {
        "encode": [{"text": text, "ids": tokenizer.encode(text).ids} for text in texts],
        "encode_without_bos": [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in texts],
        "decode_skipping_special": [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in decoded],
    }
    tiny_llava.write_json(folder / "tokens.json", document)


def check_original(checkpoint: TinyInternVl, runner: InternVlRunner, cases: Sequence[Case]) -> None:
    """The tensors under the authors' names, computed by their formulas, give the logits of transformers' model."""
    tensors = checkpoint.store({name: tensor.detach() for name, tensor in runner.model.state_dict().items()})
    original = tiny.Original(tensors, checkpoint.config)
    largest = 0.0
    for case in cases:
        inputs = runner.inputs(case)
        with torch.inference_mode():
            expected = runner.model(**inputs).logits[0].numpy()
        ids = inputs["input_ids"][0].tolist()
        largest = max(largest, np.abs(original.logits(inputs["pixel_values"].numpy(), ids, runner.image_id) - expected).max())
    print(f"  {checkpoint.name} in NumPy: logits differ by at most {largest:.1e}")
    assert largest < 1e-4, largest


def check_loads(folder: Path, runner: InternVlRunner, cases: Sequence[Case]) -> None:
    """The folder, opened by transformers' own loaders, gives the same weights, ids and pixels as the model in memory."""
    from transformers import AutoImageProcessor, AutoTokenizer, InternVLProcessor

    loaded = InternVLForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype="auto").eval()
    assert loaded.dtype == torch.bfloat16
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor.float(), runner.model.state_dict()[name]), name
    images = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    processor = InternVLProcessor.__new__(InternVLProcessor)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for case in cases:
        if case.template != "plain" or case.image_rule != "tiles-6" or "<" in case.question:
            continue
        content = [{"type": "image"}, {"type": "text", "text": case.question}]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], chat_template=CHAT_TEMPLATE, add_generation_prompt=True, tokenize=False
        )
        with Image.open(runner.images / case.image) as image, rows_first():
            pixels = images(image, crop_to_patches=True, return_tensors="pt", input_data_format="channels_last")
        assert torch.equal(pixels["pixel_values"], runner.tiles(case)), case
        count = [len(pixels["pixel_values"])]
        processor.image_token, processor.video_token = tokenizer.context_image_token, "<video>"
        processor.start_image_token, processor.end_image_token = tokenizer.start_image_token, tokenizer.end_image_token
        processor.image_seq_length = json.loads((folder / "processor_config.json").read_text())["image_seq_length"]
        expanded, *_ = processor._insert_media_placeholders(
            [text], pixels["pixel_values"], None, count, None, np.cumsum(count), None, None
        )
        assert tokenizer(expanded[0])["input_ids"] == runner.prompt_ids(case), case


def shortest_busy(runs: Sequence[VarRun]) -> Sequence[VarRun]:
    """Of those with several tiles, sinks and heads to change the one with the shortest prompt."""

    def worth(run: VarRun) -> tuple[bool, int]:
        start, end = run.observer.prompt.span
        sinks = [layer["image_positions"] for layer in run.sinks_document()]
        busy = any(sinks) and run.selection().any() and end - start > tiny.TILE_TOKENS
        return bool(busy), -len(run.observer.steps[0].hidden[0])

    return sorted(runs, key=worth)[-1:]


STOP_GAIN = {"internvl-llama": -0.8, "internvl-qwen2": 1.7}
SINK_DIMENSIONS = (9, 37)
SMALLEST_GAP = 5e-3
VAR = {
    "internvl-llama": VarSettings("base", "paper", SINK_DIMENSIONS, 3.0, 0.5, 0.1, 0.6),
    "internvl-qwen2": VarSettings("base", "paper", SINK_DIMENSIONS, 3.6, 0.6, 0.1, 0.6),
    "internvl-chat-internlm2": VarSettings("base", "paper", SINK_DIMENSIONS, 3.0, 0.5, 0.1, 0.6),
    "internvl-chat-qwen2": VarSettings("base", "paper", SINK_DIMENSIONS, 3.0, 0.5, 0.1, 0.6),
}


def write(output: Path, release: var.Release, seed: int) -> None:
    images = output / "images"
    write_extremes(images)
    models: dict[str, InternVLForConditionalGeneration] = {}
    for checkpoint in checkpoints():
        kind = checkpoint.model_config["text_config"]["model_type"]
        if kind not in models:
            models[kind] = make_model(checkpoint, images, seed + len(models))
        model = models[kind]
        if checkpoint.transposed:
            tiny.swap_back(model)
        folder = output / checkpoint.name
        runner = InternVlRunner(checkpoint, model, images)
        tiny.save_checkpoint(checkpoint, model, folder)
        if isinstance(checkpoint.words, tiny.JsonWords):
            write_tokens(folder, checkpoint.words)
        chosen = choose(runner, SMALLEST_GAP)
        if checkpoint.config["model_type"] == "internvl":
            check_loads(folder, runner, [case for case, _ in chosen])
        else:
            check_original(checkpoint, runner, [case for case, _ in chosen[::8]])
        short = sorted(range(len(chosen)), key=lambda number: len(runner.prompt_ids(chosen[number][0])))
        traced = [number for number in short if len(runner.tiles(chosen[number][0])) > 1][:1] + short[:1]
        write_golden(folder, runner, chosen, traced, VAR[checkpoint.name], release, shortest_busy)
