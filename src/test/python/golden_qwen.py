"""Golden files of Qwen2-VL and Qwen2.5-VL, made by transformers' own models.

Images are resized rows first, then columns, as Pillow did up to version 12: Pillow 13 takes columns first where the height
shrinks, and pixels then differ by a level.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

import redistribution as var
import sample_images
import tiny_llava as tiny
import tiny_qwen as qwen
from golden_cases import Answer, Case, Runner, choose_cases, write_cases, write_var
from redistribution import VarSettings
from llava_files import CLIP_MEAN, CLIP_STD  # found by tiny_llava
from tiny_qwen import TinyQwen

TEMPLATE = "qwen2-vl"
RULE = "smart-resize"

QUESTIONS = [
    "What is in the image?",
    "Is there a red circle in the image?",
    "How many shapes are there?",
    "What colour is the square? Please answer yes or no.",
    "Describe the image.",
    " What is on the left?\n",
    "Are there 12 or 345 dots?  Count twice.",
    "Wo ist der größte Kreis – über dem Quadrat?",
    "图片里有什么？请用中文回答。",
    "What does <|im_end|> mean, and is <|image_pad|> a word or <|video_pad|>?",
    "Is this a 🦊 or a cafe\u0301 (café)?",
    "A. red\nB. blue\r\nC. green\n\nI'll take THE'S",
    "Is the triangle above the circle?",
    "Which shape is the largest, and where is it?",
    "What is the colour of the background?",
    "Is there a dog in the image?",
    "有狗吗？",
    "Read the text.",
]

CORPUS = [
    *([f"system\n{qwen.SYSTEM}", "user\nWhat is in the image?", "assistant\nThe image shows a red circle."] * 60),
    *(f"Is there a {colour} {shape} in the image? {answer}." for answer in ("Yes", "No")
      for colour in ("red", "green", "blue", "yellow") for shape in ("circle", "square", "triangle", "dog")),
    *(f"How many {things} are there? There are {count}." for count in range(10) for things in ("shapes", "dots")),
    *(["图片里有什么？图片里有一个红色的圆。", "图片里有一只狗。"] * 8),
    "What colour is the square? What is on the left? Describe the image. Please answer yes or no.",
]  # fmt: skip

TOKEN_TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n ", "\t", "Hello", " Hello", "  Hello", "Hello ", "Hello  ", "Hello  world",
    "a   b    c", "What is in the image?", "line one\nline two\n", "line\r\n\r\nline", "2024", "3.14159", "1 2 3", "x1y22z333",
    "it's the USER'S, I'LL", "(a/b) - \"c\"!\n", "größte Übermut", "café cafe\u0301", "图片里有什么？", "日本語 テキスト", "한국어", "العربية",
    "🦊", "a🦊b", "👩‍👩‍👧", "\u00a0nbsp\u2003em", "zero\u200bwidth", "tab\tand\rreturn", "<|endoftext|>", "<|im_start|>user\n",
    "a<|image_pad|>b", " <|image_pad|> ", "<|vision_start|><|image_pad|><|vision_end|>What?", "<|im_end|>\n", "<|im_en", "<|IM_END|>",
    "<tool_call>x</tool_call>", "\ufffd", "\u0000", "Ωmega \u2126",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------- the checkpoints


def text_config(vocabulary: int, **more: Any) -> dict[str, Any]:
    return {"attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 96,
            "max_position_embeddings": 1024, "max_window_layers": 5, "num_attention_heads": 4, "num_hidden_layers": 5,
            "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "sliding_window": 1024, "use_cache": True,
            "use_sliding_window": False, "vocab_size": vocabulary, **more}  # fmt: skip


def token_ids(tokenizer: dict[str, Any]) -> dict[str, int]:
    names = {"bos_token_id": "<|endoftext|>", "eos_token_id": "<|im_end|>", "vision_start_token_id": "<|vision_start|>",
             "vision_end_token_id": "<|vision_end|>", "vision_token_id": "<|vision_pad|>", "image_token_id": "<|image_pad|>",
             "video_token_id": "<|video_pad|>"}  # fmt: skip
    return {key: qwen.token_id(tokenizer, token) for key, token in names.items()}


def preprocessor(**limits: Any) -> dict[str, Any]:
    return {**limits, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD, "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor"}  # fmt: skip


def flat() -> TinyQwen:
    """As the first published files: everything at the root of `config.json`, old tensor names, two shards."""
    tokenizer = qwen.train_tokenizer(CORPUS, pieces=110)
    vision = {"depth": 3, "embed_dim": 32, "mlp_ratio": 2, "num_heads": 2, "in_chans": 3, "hidden_size": 64, "patch_size": 14,
              "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2}  # fmt: skip
    config = {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        **text_config(400, rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]}),
        **token_ids(tokenizer),
        "model_type": "qwen2_vl",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "vision_config": vision,
    }
    limits = preprocessor(min_pixels=9 * 784, max_pixels=30 * 784)
    return TinyQwen("qwen2-vl", config, tokenizer, limits, torch.float32, rename=qwen.old_names, shards=2)


def nested() -> TinyQwen:
    """As transformers 4.57 saves a model with tied embeddings, with the names it has in memory; limits by their new names."""
    tokenizer = qwen.train_tokenizer(CORPUS, pieces=118)
    vision = {"depth": 3, "embed_dim": 32, "hidden_act": "quick_gelu", "hidden_size": 64, "in_channels": 3, "in_chans": 3,
              "initializer_range": 0.02, "mlp_ratio": 4, "model_type": "qwen2_vl", "num_heads": 4, "patch_size": 14,
              "spatial_merge_size": 2, "temporal_patch_size": 2}  # fmt: skip
    rope = {"mrope_section": [4, 2, 2], "rope_type": "default", "type": "default"}
    text = text_config(
        400, rope_scaling=rope, rope_theta=10000.0, sliding_window=None, layer_types=["full_attention"] * 5,
        model_type="qwen2_vl_text", tie_word_embeddings=True,
    )  # fmt: skip
    config = {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "dtype": "float32",
        "model_type": "qwen2_vl",
        **token_ids(tokenizer),
        "text_config": text,
        "transformers_version": "4.57.6",
        "vision_config": vision,
    }
    saved = preprocessor(size={"shortest_edge": 6 * 784, "longest_edge": 24 * 784}) | {
        "crop_size": None, "data_format": "channels_first", "default_to_square": True, "device": None,
        "disable_grouping": None, "do_center_crop": None, "do_convert_rgb": True, "do_normalize": True, "do_pad": None,
        "do_rescale": True, "do_resize": True, "image_processor_type": "Qwen2VLImageProcessorFast",
        "input_data_format": None, "max_pixels": None, "min_pixels": None, "pad_size": None, "resample": 3,
        "rescale_factor": 1 / 255, "return_tensors": None,
    }  # fmt: skip
    return TinyQwen("qwen2-vl-tied", config, tokenizer, saved, torch.float32, tied=True)


def windows() -> TinyQwen:
    """Qwen2.5-VL as published: flat, windows of 112 pixels in all but two blocks."""
    tokenizer = qwen.train_tokenizer(CORPUS, pieces=114, not_special=qwen.NOT_SPECIAL)
    vision = {"depth": 4, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 44, "num_heads": 2, "in_chans": 3,
              "out_hidden_size": 64, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112,
              "fullatt_block_indexes": [1, 3], "tokens_per_second": 2, "temporal_patch_size": 2}  # fmt: skip
    config = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        **text_config(400, rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]}),
        **token_ids(tokenizer),
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "vision_config": vision,
    }
    limits = preprocessor(min_pixels=16 * 784, max_pixels=42 * 784)
    return TinyQwen("qwen2.5-vl", config, tokenizer, limits, torch.float32, rename=qwen.old_names)


# ------------------------------------------------------------------------------------------------------- answering


@contextmanager
def rows_first() -> Iterator[None]:
    """While open, Pillow resizes rows before columns whatever its version."""
    resize = Image.Image.resize

    def ordered(image: Image.Image, size: tuple[int, int], resample: int | None = None, **more: Any) -> Image.Image:
        assert not any(more.values()), more
        return resize(resize(image, (size[0], image.height), resample), size, resample)

    Image.Image.resize = ordered
    try:
        yield
    finally:
        Image.Image.resize = resize


class QwenRunner(Runner):
    def __init__(self, checkpoint: TinyQwen, model: torch.nn.Module, images: Path) -> None:
        tokenizer = checkpoint.tokenizer
        stops = [qwen.token_id(tokenizer, token) for token in ("<|im_end|>", "<|endoftext|>")]
        super().__init__(
            model, model.model.language_model, images, qwen.token_id(tokenizer, "<|image_pad|>"), stops, stops[1]
        )  # fmt: skip
        self.checkpoint = checkpoint
        self.tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
        self.encoder = qwen.PromptEncoder(tokenizer)
        given = checkpoint.preprocessor
        size = given.get("size") or {"shortest_edge": given["min_pixels"], "longest_edge": given["max_pixels"]}
        self.processor = Qwen2VLImageProcessor(min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])

    def prompt(self, case: Case) -> str:
        return "".join(qwen.prompt_pieces(case.question))

    def prompt_ids(self, case: Case) -> list[int]:
        ids = self.encoder.encode(qwen.prompt_pieces(case.question))
        where = ids.index(self.image_id)
        tokens = int(self.images_of(case)["image_grid_thw"].prod()) // 4
        return ids[:where] + [self.image_id] * tokens + ids[where + 1 :]

    def images_of(self, case: Case) -> dict[str, torch.Tensor]:
        with rows_first(), Image.open(self.images / case.image) as image:
            # Left to itself, the processor takes an image of one or three rows for one of as many channels.
            return dict(self.processor(image.convert("RGB"), return_tensors="pt", input_data_format="channels_last"))

    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        ids = torch.tensor([self.prompt_ids(case)])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **self.images_of(case)}

    def pixels(self, case: Case) -> torch.Tensor:
        """Only the size: `SmartResizeTest` compares values with checksums of its own."""
        return self.images_of(case)["image_grid_thw"].float()

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def watch_vision(self, seen: dict[str, torch.Tensor]) -> list[Any]:
        """The last block's output, patches of an image token behind one another."""
        visual, grid = self.model.model.visual, []

        def enter(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
            grid.append(kwargs["grid_thw"])

        def merge(_module: Any, args: tuple[torch.Tensor, ...], _output: Any) -> None:
            patches = args[0]
            if hasattr(visual, "get_window_index"):
                order, _ = visual.get_window_index(grid[-1])
                patches = patches.reshape(len(order), -1)[torch.argsort(order)].reshape(patches.shape)
            seen["vision.output"] = patches

        return [visual.register_forward_pre_hook(enter, with_kwargs=True), visual.merger.register_forward_hook(merge)]


@torch.inference_mode()
def check_answer(runner: QwenRunner, case: Case, answer: Answer) -> None:
    """Decoding step by step must be what a pass over the whole text says: some versions of transformers lose the positions."""
    inputs = runner.inputs(case)
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer.ids])], 1)
    logits = runner.model(**inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0]
    start = inputs["input_ids"].shape[1] - 1
    assert logits[start : start + len(answer.ids)].argmax(-1).tolist() == answer.ids, case


# ------------------------------------------------------------------------------------------------------------ files


def write_tokens(folder: Path, checkpoint: TinyQwen) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    word = tokenizer.encode("red circle").ids
    bytes_of_fox = tokenizer.encode("🦊").ids
    end = qwen.token_id(checkpoint.tokenizer, "<|im_end|>")
    decoded = [word, [*word, end], bytes_of_fox, bytes_of_fox[:1], [*bytes_of_fox[:2], *word], [], [end],
               [qwen.token_id(checkpoint.tokenizer, "<|image_pad|>"), *word],
               tokenizer.encode("<tool_call>\n图片</tool_call>").ids]  # fmt: skip
    encoded = [{"text": text, "ids": tokenizer.encode(text).ids} for text in TOKEN_TEXTS]
    document = {
        "encode": encoded,
        "encode_without_bos": encoded,  # There is none.
        "decode_skipping_special": [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in decoded],
    }
    tiny.write_json(folder / "tokens.json", document)


def write_positions(folder: Path, runner: QwenRunner, cases: Sequence[Case]) -> None:
    """`positions.json`: where the tokens of a prompt stand, by `get_rope_index`, and the difference to their number."""
    entries = []
    for number, case in enumerate(cases):
        inputs = runner.inputs(case)
        places, delta = runner.model.model.get_rope_index(inputs["input_ids"], inputs["image_grid_thw"])
        _, rows, columns = (inputs["image_grid_thw"][0] // torch.tensor([1, 2, 2])).tolist()
        entries.append({"case": number, "image_rows": rows, "image_columns": columns, "time": places[0, 0].tolist(),
                        "height": places[1, 0].tolist(), "width": places[2, 0].tolist(), "delta": int(delta)})  # fmt: skip
    tiny.write_json(folder / "positions.json", {"positions": entries})


def check_loads(folder: Path, runner: QwenRunner, cases: Sequence[Case]) -> None:
    """The folder, opened by transformers' own loaders, gives the same weights and ids as the model in memory."""
    loaded = type(runner.model).from_pretrained(folder, attn_implementation="eager", dtype="auto").eval()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, runner.model.state_dict()[name]), name
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for case in cases:
        if "<" not in case.question:
            pads = "<|image_pad|>" * (runner.span(case)[1] - runner.span(case)[0])
            assert tokenizer(runner.prompt(case).replace("<|image_pad|>", pads))["input_ids"] == runner.prompt_ids(case), case


SEED_OFFSETS = {"qwen2-vl": 100, "qwen2-vl-tied": 101, "qwen2.5-vl": 101}
"""Seeds whose models answer in many ways."""

EXTREMES = ["line.png", "column.png", "strip.png", "large.png"]
STOP_GAIN = {"qwen2-vl": 2.2, "qwen2-vl-tied": 4.0, "qwen2.5-vl": 2.0}
LONGEST_VAR = 58
"""Tokens of a prompt whose attention is small enough to be stored."""

SINK_DIMENSIONS = {"qwen2-vl": (11, 45), "qwen2-vl-tied": (7, 50), "qwen2.5-vl": (20, 33)}
VAR = {
    "qwen2-vl": VarSettings("base", "paper", SINK_DIMENSIONS["qwen2-vl"], 2.6, 0.6, 0.1, 0.6),
    "qwen2-vl-tied": VarSettings("base", "paper", SINK_DIMENSIONS["qwen2-vl-tied"], 2.4, 0.5, 0.08, 0.6),
    "qwen2.5-vl": VarSettings("base", "paper", SINK_DIMENSIONS["qwen2.5-vl"], 2.4, 0.6, 0.05, 0.6),
}


def make_runner(checkpoint: TinyQwen, images: Path, seed: int) -> QwenRunner:
    """Draws the weights and plants the sinks."""
    model = qwen.build_model(checkpoint.config)
    qwen.draw_weights(model, checkpoint.tokenizer, checkpoint.tied, seed, STOP_GAIN[checkpoint.name])
    runner = QwenRunner(checkpoint, model, images)
    looks = [("shapes.png", 5), ("tall.png", 2), ("gray.png", 6), ("noise.png", 1)]  # image, and a token of it
    probes = [Case(image, QUESTIONS[0], TEMPLATE, RULE) for image, _ in looks]
    tiny.plant_sinks(
        model, runner.decoder, model.model.visual.merger.mlp[2].weight, [runner.inputs(probe) for probe in probes],
        [runner.span(probe) for probe in probes], SINK_DIMENSIONS[checkpoint.name],
        image_tokens=[((probe,), looks[probe][1]) for probe in range(len(probes))], text_tokens=[8, -6], strength=24.0,
    )  # fmt: skip
    return runner


def write_checkpoint(checkpoint: TinyQwen, output: Path, release: var.Release, seed: int) -> None:
    folder = output / checkpoint.name
    runner = make_runner(checkpoint, output / "images", seed)
    tensors_of = runner.model.state_dict
    if checkpoint.tied:  # One tensor under two names; files hold the first.
        runner.model.state_dict = lambda: {name: value for name, value in tensors_of().items() if name != "lm_head.weight"}
    tiny.save_checkpoint(checkpoint, runner.model, folder)
    runner.model.state_dict = tensors_of
    write_tokens(folder, checkpoint)
    images = list(sample_images.case_images())
    pool = [Case(image, question, TEMPLATE, RULE) for question in QUESTIONS for image in images]
    chosen = choose_cases(runner, pool, 5e-3, 4)
    for number, image in enumerate(EXTREMES):
        tried = [Case(image, question, TEMPLATE, RULE) for question in QUESTIONS[number::4]]
        answered = [(case, runner.answer(case)) for case in tried]
        chosen.append(max(answered, key=lambda pair: min(pair[1].gaps)))
        assert min(chosen[-1][1].gaps) >= 2e-3, image
    for case, answer in chosen:
        check_answer(runner, case, answer)
    cases = [case for case, _ in chosen]
    check_loads(folder, runner, cases)
    write_positions(folder, runner, cases[-len(EXTREMES) - 2 :])
    shortest = sorted(range(len(cases) - len(EXTREMES)), key=lambda number: len(runner.prompt_ids(cases[number])))
    traced = [shortest[0], len(cases) - 1 if checkpoint.name == "qwen2.5-vl" else shortest[1]]
    write_cases(folder, runner, chosen, traced, "float32")
    write_var(folder, runner, chosen, VAR[checkpoint.name], release, lambda case: len(runner.prompt_ids(case)) <= LONGEST_VAR)


def write(output: Path, release: var.Release, seed: int) -> None:
    """The folders of both families; the images must be there."""
    for checkpoint in (flat(), nested(), windows()):
        write_checkpoint(checkpoint, output, release, seed + SEED_OFFSETS[checkpoint.name])
