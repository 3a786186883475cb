"""Makes the golden files of the Java tests with Hugging Face transformers.

    python golden.py --output src/test/resources/golden --reference-checkout DIR

`DIR` is a checkout of the authors' release of the method (seilk/VisAttnSink at 98e62d6); its functions are called, never copied.
Every number comes from transformers on explicit eager attention with the slow, Pillow-based image processors, on one CPU
thread. The output is a function of this folder's scripts and of the versions in `requirements.txt`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import PIL
import safetensors
import tokenizers
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer
from transformers import AutoImageProcessor, AutoProcessor, LlavaForConditionalGeneration
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

import redistribution as var
from golden_cases import Answer, Case, Runner, choose_cases, write_cases, write_var
import sample_images
import tiny_llava as tiny
from redistribution import VarSettings

SEED = 20240229
FAMILIES: list[str] = ["pickles", "golden_qwen", "golden_internvl", "golden_original", "golden_sentencepiece", "golden_anyres"]
"""Modules of this folder with `write(output: Path, release: redistribution.Release, seed: int)`: the other families' checkpoints."""
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
TEMPLATES = {"vicuna-v1": (SYSTEM + "USER: ", "\n{} ASSISTANT:"), "plain": ("USER: ", "\n{} ASSISTANT:")}

QUESTIONS = [
    "What is in the image?",
    "Is there a red circle in the image?",
    "How many shapes are there?",
    "What colour is the square?\nAnswer the question using a single word or phrase.",
    "Is the triangle above the circle?",
    "What is on the left?",
    "Describe the image.",
    "Which shape is the largest, and where is it?",
    "Are there 12 or 345 dots?  Count twice.",
    "Wo ist der größte Kreis – über dem Quadrat?",
    "图片里有什么？",
    "What does </s> mean, and is <image> a word or <pad>?",
    "Is this a 🦊 or a café?",
    "A. red\nB. blue\nC. green\nAnswer with the option's letter from the given choices directly.",
    "Is there a dog in the image?",
    "What is the colour of the background?",
]
"""Asked with `vicuna-v1` and with `plain`; see `choose_cases`."""

CORPUS = [
    *([SYSTEM + "USER: What is in the image? ASSISTANT: The image shows a red circle and a blue square."] * 60),
    *(f"Is there a {colour} {shape} in the image? ASSISTANT: {answer}." for answer in ("Yes", "No")
      for colour in ("red", "green", "blue", "yellow", "white", "black")
      for shape in ("circle", "square", "triangle", "star", "dog", "cat")),
    *(f"How many {things} are there? There are {count}." for count in range(10) for things in ("shapes", "dots", "dogs")),
    *(f"The {shape} is {place} the {other}." for place in ("above", "below", "left of", "right of", "near")
      for shape in ("circle", "square", "triangle") for other in ("dog", "star", "image")),
    "What colour is the square? What is on the left? Describe the image. Which shape is the largest, and where is it?",
    "Answer the question using a single word or phrase. Answer with the option's letter from the given choices directly.",
    "What does this mean? Is it a word? JKLMNOPQRUVXYZ jqvxz -/()'\"!;:",
]  # fmt: skip

TOKEN_TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n ", "\t", "Hello", " Hello", "  Hello", "Hello ", "Hello  ", "Hello  world",
    "a   b    c", "What is in the image?", "line one\nline two\n", "2024", "3.14159", "1 2 3", "x1y22z333",
    "it's the user's", "(a/b) - \"c\"!", "größte Übermut", "café cafe\u0301", "图片里有什么？", "日本語 テキスト", "한국어", "العربية",
    "🦊", "a🦊b", "👩‍👩‍👧", "\u00a0nbsp\u2003em", "\u2581", "a\u2581b", "zero\u200bwidth", "tab\tand\rreturn", "<s>", "</s>", "<unk>",
    "<image>", "<pad>", " <image> ", "a<image>b", "USER: <image>\nWhat? ASSISTANT:", "<image><image>", "one</s>two </s> three",
    "<0x0A>", "<imag", "<IMAGE>", "\ufffd", "\u0000", "A chat between a curious user",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------- the checkpoints


def text_config(vocabulary: int, **more: Any) -> dict[str, Any]:
    return {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 5, "num_attention_heads": 4,
            "max_position_embeddings": 512, "vocab_size": vocabulary, **more}  # fmt: skip


def vision_config(**more: Any) -> dict[str, Any]:
    return {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
            "num_attention_heads": 4, "image_size": 56, "patch_size": 14, "projection_dim": 32, "vocab_size": 1000, **more}  # fmt: skip


def multi_head() -> tiny.TinyLlava:
    """As the first llava-hf files: old tensor names, few keys in `config.json`, legacy tokenizer, stale buffers."""
    tokenizer = tiny.train_tokenizer(CORPUS, pieces=212, legacy=True)
    image = tiny.image_token_id(tokenizer)
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_token_index": image,
        "model_type": "llava",
        "pad_token_id": image + 1,
        "projector_hidden_act": "gelu",
        "text_config": text_config(512, rms_norm_eps=1e-5, torch_dtype="float32"),
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.36.0.dev0",
        "vision_config": vision_config(),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "vocab_size": 512,
    }
    inverse = 10000.0 ** (-torch.arange(0, 16, 2) / 16)
    junk = {f"language_model.model.layers.{layer}.self_attn.rotary_emb.inv_freq": inverse.clone() for layer in range(5)}
    junk["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    return tiny.TinyLlava(
        "llava-mha", config, tokenizer, tiny.clip_preprocessor(56), tiny.llava_processor(14), torch.float32,
        tiny.tokenizer_config(tokenizer), tiny.generation_config(image + 1), rename=tiny.old_names, junk=junk,
        special_tokens_map=tiny.SPECIAL_TOKENS_MAP,
    )  # fmt: skip


def grouped_query() -> tiny.TinyLlava:
    """As transformers 4.52 and later hold it in memory: new tensor names, two shards, complete `config.json`."""
    tokenizer = tiny.train_tokenizer(CORPUS, pieces=200, legacy=False)
    image = tiny.image_token_id(tokenizer)
    text = text_config(
        512, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-6, rope_theta=5000.0, rope_scaling=None, hidden_act="silu",
        attention_bias=False, mlp_bias=False, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, use_cache=True,
    )  # fmt: skip
    vision = vision_config(hidden_act="quick_gelu", layer_norm_eps=1e-5, num_channels=3, attention_dropout=0.0)
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "image_seq_length": 16,
        "image_token_index": image,
        "model_type": "llava",
        "multimodal_projector_bias": True,
        "projector_hidden_act": "gelu",
        "text_config": text,
        "torch_dtype": "float32",
        "transformers_version": "4.57.6",
        "vision_config": vision,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    preprocessor = tiny.clip_preprocessor(56, "LlavaImageProcessor", do_pad=False)
    return tiny.TinyLlava(
        "llava-gqa", config, tokenizer, preprocessor, tiny.llava_processor(14), torch.float32,
        tiny.tokenizer_config(tokenizer), tiny.generation_config(image + 1), shards=2, special_tokens_map=tiny.SPECIAL_TOKENS_MAP,
    )  # fmt: skip


def bfloat16() -> tiny.TinyLlava:
    """As transformers 5 writes it: `dtype`, `rope_parameters`, one processor file, no wrapper in the vision tower's names."""
    tokenizer = tiny.train_tokenizer(CORPUS, pieces=206, legacy=False)
    image = tiny.image_token_id(tokenizer)
    text = text_config(
        512, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, hidden_act="silu", attention_bias=False, mlp_bias=False,
        rope_parameters={"rope_theta": 20000.0, "rope_type": "default"}, dtype="bfloat16", bos_token_id=1, eos_token_id=2,
        pad_token_id=None, tie_word_embeddings=False, use_cache=True, pretraining_tp=1,
    )  # fmt: skip
    vision = vision_config(hidden_act="quick_gelu", layer_norm_eps=1e-5, num_channels=3, attention_dropout=0.0, dtype="bfloat16")
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "dtype": "bfloat16",
        "ignore_index": -100,
        "image_seq_length": 16,
        "image_token_index": image,
        "model_type": "llava",
        "multimodal_projector_bias": True,
        "pad_token_id": image + 1,
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": False,
        "transformers_version": "5.18.0",
        "vision_config": vision,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    return tiny.TinyLlava(
        "llava-bf16", config, tokenizer, None, tiny.llava_processor_5(14, 56), torch.bfloat16,
        tiny.tokenizer_config_5(), tiny.generation_config(image + 1), rename=tiny.names_without_vision_model,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- answering


class LlavaRunner(Runner):
    """A llava-hf checkpoint."""

    def __init__(self, checkpoint: tiny.TinyLlava, model: LlavaForConditionalGeneration, images: Path) -> None:
        image_id = tiny.image_token_id(checkpoint.tokenizer)
        super().__init__(model, model.model.language_model, images, image_id, [tiny.EOS_ID], image_id + 1)
        self.projector = model.model.multi_modal_projector
        self.checkpoint = checkpoint
        self.tokenizer = Tokenizer.from_str(json.dumps(checkpoint.tokenizer))
        self.encoder = tiny.PromptEncoder(checkpoint.tokenizer)
        size = checkpoint.config["vision_config"]["image_size"]
        sizes = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
        self.processors = {
            "crop": transformers.CLIPImageProcessor(**sizes),
            "pad": LlavaImageProcessor(**sizes, do_pad=True),
        }

    @staticmethod
    def parts(case: Case) -> tuple[str, str]:
        before, after = TEMPLATES[case.template]
        return before, after.format(case.question)

    def prompt(self, case: Case) -> str:
        return tiny.IMAGE.join(self.parts(case))

    def prompt_ids(self, case: Case) -> list[int]:
        ids = self.encoder.encode(*self.parts(case))
        where = ids.index(self.image_id)
        return ids[:where] + [self.image_id] * self.checkpoint.image_tokens + ids[where + 1 :]

    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        with Image.open(self.images / case.image) as image:
            pixels = self.processors[case.image_rule](image, return_tensors="pt")["pixel_values"]
        ids = torch.tensor([self.prompt_ids(case)])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels.to(self.model.dtype)}

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()


def pool() -> list[Case]:
    """Candidates: every question, mostly under `vicuna-v1`, on every image."""
    images = list(sample_images.case_images())
    return [
        Case(image, question, template)
        for template, questions in (("vicuna-v1", QUESTIONS), ("plain", QUESTIONS[:8]))
        for question in questions
        for image in images
    ]


def choose_llava_cases(runner: Runner, smallest_gap: float, per_question: int) -> list[tuple[Case, Answer]]:
    """Those of `choose_cases`, and some with the image padded to a square."""
    chosen = choose_cases(runner, pool(), smallest_gap, per_question)
    for case, _ in [pair for pair in chosen if pair[0].image in ("wide.png", "tall.png", "transparent.png")][:4]:
        padded = replace(case, image_rule="pad")
        answer = runner.answer(padded)
        if min(answer.gaps) >= smallest_gap:
            chosen.append((padded, answer))
    return chosen


# ------------------------------------------------------------------------------------------------------------ files


def write_tokens(folder: Path, checkpoint: tiny.TinyLlava) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    byte = [tiny.BYTE_TOKENS.index(f"<0x{value:02X}>") + 3 for value in "é🦊".encode()]
    word = tokenizer.encode("red circle", add_special_tokens=False).ids
    decoded = [word, [1, *word, 2], byte, byte[:1], byte[:4], [*byte[:3], *word], [*word, tiny.NEWLINE_ID, *word], [],
               [2], [checkpoint.config["image_token_index"], *word], [*word, *byte[3:5], *word]]  # fmt: skip
    document = {
        "encode": [{"text": text, "ids": tokenizer.encode(text).ids} for text in TOKEN_TEXTS],
        "encode_without_bos": [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TOKEN_TEXTS],
        "decode_skipping_special": [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in decoded],
    }
    tiny.write_json(folder / "tokens.json", document)


def check_loads(folder: Path, runner: LlavaRunner, cases: Iterable[Case]) -> None:
    """The folder, opened by transformers' own loaders, gives the same ids, pixels and logits as the model in memory."""
    if runner.checkpoint.preprocessor is None:  # a folder of transformers 5, which 4 cannot open
        return
    loaded = LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype="auto").eval()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, runner.model.state_dict()[name]), name
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    for case in cases:
        if case.image_rule == "crop" and "<" not in case.question:
            with Image.open(runner.images / case.image) as image:
                inputs = processor(images=image, text=runner.prompt(case), return_tensors="pt")
            assert inputs["input_ids"][0].tolist() == runner.prompt_ids(case), case
            assert torch.equal(inputs["pixel_values"].to(runner.model.dtype), runner.inputs(case)["pixel_values"]), case


def make_runner(checkpoint: tiny.TinyLlava, images: Path, seed: int) -> LlavaRunner:
    """Draws the weights, plants the sinks, and rounds to the checkpoint's dtype."""
    model = tiny.build_model(checkpoint.config)
    tiny.draw_weights(model, seed, STOP_GAIN[checkpoint.name])
    runner = LlavaRunner(checkpoint, model, images)
    looks = [("shapes.png", 5), ("tall.png", 2), ("gray.png", 15), ("noise.png", 9)]  # image, and a token of it
    probes = [Case(image, QUESTIONS[0], template) for template in TEMPLATES for image, _ in looks]
    tiny.plant_sinks(
        model, runner.decoder, model.model.multi_modal_projector.linear_2.weight, [runner.inputs(probe) for probe in probes],
        [runner.span(probe) for probe in probes], SINK_DIMENSIONS[checkpoint.name],
        image_tokens=[((probe,), looks[probe % len(looks)][1]) for probe in range(len(probes))],
        text_tokens=[8, -6], strength=SINK_STRENGTH,
    )  # fmt: skip
    tiny.to_dtype(model, checkpoint.dtype)
    return runner


SINK_STRENGTH = 24.0
STOP_GAIN = {"llava-mha": 1.25, "llava-gqa": 1.4, "llava-bf16": 0.95}
SINK_DIMENSIONS = {"llava-mha": (11, 45), "llava-gqa": (7, 50), "llava-bf16": (20, 33)}
SMALLEST_GAP = {"llava-mha": 5e-3, "llava-gqa": 5e-3, "llava-bf16": 0.15}
VAR = {
    "llava-mha": VarSettings("base", "paper", SINK_DIMENSIONS["llava-mha"], 2.6, 0.7, 0.1, 0.6),
    "llava-gqa": VarSettings("base", "paper", SINK_DIMENSIONS["llava-gqa"], 3.0, 0.6, 0.1, 0.6),
    "llava-bf16": VarSettings("base", "paper", SINK_DIMENSIONS["llava-bf16"], 2.8, 0.6, 0.1, 0.6),
}


def write_checkpoint(checkpoint: tiny.TinyLlava, output: Path, release: var.Release, seed: int) -> None:
    folder = output / checkpoint.name
    runner = make_runner(checkpoint, output / "images", seed)
    tiny.save_checkpoint(checkpoint, runner.model, folder)
    write_tokens(folder, checkpoint)
    chosen = choose_llava_cases(runner, SMALLEST_GAP[checkpoint.name], 12 if checkpoint.dtype == torch.bfloat16 else 4)
    check_loads(folder, runner, [case for case, _ in chosen])
    traced = [number for number, (case, _) in enumerate(chosen) if case.template == "plain"][:2]

    def float32(documents: list[dict[str, Any]]) -> None:
        if checkpoint.dtype == torch.bfloat16:
            chosen[:] = in_float32(runner, chosen, documents)

    write_cases(folder, runner, chosen, traced, str(checkpoint.dtype).removeprefix("torch."), float32)
    write_var(folder, runner, chosen, VAR[checkpoint.name], release, lambda case: case.image_rule == "crop")


def in_float32(
    runner: Runner, chosen: Sequence[tuple[Case, Answer]], documents: list[dict[str, Any]]
) -> list[tuple[Case, Answer]]:
    """What the same 16-bit weights answer when everything is computed in float32, as it is from here on."""
    tiny.to_dtype(runner.model, torch.float32)
    answers = [(case, runner.answer(case)) for case, _ in chosen]
    for (_, answer), document in zip(answers, documents, strict=True):
        document["float32"] = answer.document()
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to fill; what it held is removed")
    parser.add_argument("--reference-checkout", type=Path, required=True, help="checkout of the authors' release")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    var.check_worked_rows()
    libraries = (transformers, tokenizers, torch, safetensors, np, PIL)
    versions = ", ".join(f"{library.__name__} {library.__version__}" for library in libraries)
    readme = Path(__file__).with_name("golden_readme.md").read_text("utf-8")
    release = var.Release(arguments.reference_checkout)
    shutil.rmtree(arguments.output, ignore_errors=True)
    listed = sample_images.write_images(arguments.output / "images")
    tiny.write_json(arguments.output / "images" / "images.json", listed, indent=1)
    (arguments.output / "README.md").write_text(readme.format(versions=versions, seed=arguments.seed), "utf-8")
    for number, checkpoint in enumerate((multi_head(), grouped_query(), bfloat16())):
        write_checkpoint(checkpoint, arguments.output, release, arguments.seed + number)
    for family in FAMILIES:
        importlib.import_module(family).write(arguments.output, release, arguments.seed)


if __name__ == "__main__":
    main()
