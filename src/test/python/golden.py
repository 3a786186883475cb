"""Makes the golden files of the Java tests with Hugging Face transformers.

    python golden.py --output src/test/resources/golden --reference-checkout DIR

`DIR` is a checkout of the authors' release of the method (seilk/VisAttnSink at 98e62d6); its functions are called, never copied.
Every number comes from transformers on explicit eager attention with the slow, Pillow-based image processors, on one CPU
thread. The output is a function of this folder's scripts and of the versions in `requirements.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
import sample_images
import tiny_llava as tiny
from redistribution import VarSettings

SEED = 20240229
MAX_NEW_TOKENS = 12
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


@dataclass(frozen=True)
class Case:
    image: str
    question: str
    template: str
    image_rule: str = "crop"

    @property
    def parts(self) -> tuple[str, str]:
        before, after = TEMPLATES[self.template]
        return before, after.format(self.question)

    @property
    def prompt(self) -> str:
        return tiny.IMAGE.join(self.parts)


@dataclass(frozen=True)
class Answer:
    ids: list[int]
    text: str
    logprob: float
    gaps: list[float]
    prompt_logits: torch.Tensor  # of the last prompt token

    def document(self) -> dict[str, Any]:
        return {
            "answer_token_ids": self.ids,
            "answer": self.text,
            "finish_reason": "stop" if self.ids[-1] == tiny.EOS_ID else "length",
            "answer_logprob": self.logprob,
            "top_two_gaps": [round(gap, 6) for gap in self.gaps],
        }


class Runner:
    """One checkpoint with its model in memory: turns cases into model inputs and answers them."""

    max_new_tokens = MAX_NEW_TOKENS

    def __init__(self, checkpoint: tiny.TinyLlava, model: LlavaForConditionalGeneration, images: Path) -> None:
        self.checkpoint, self.model, self.images = checkpoint, model, images
        self.tokenizer = Tokenizer.from_str(json.dumps(checkpoint.tokenizer))
        self.encoder = tiny.PromptEncoder(checkpoint.tokenizer)
        self.image_id = tiny.image_token_id(checkpoint.tokenizer)
        size = checkpoint.config["vision_config"]["image_size"]
        sizes = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
        self.processors = {
            "crop": transformers.CLIPImageProcessor(**sizes),
            "pad": LlavaImageProcessor(**sizes, do_pad=True),
        }

    def prompt_ids(self, case: Case) -> list[int]:
        ids = self.encoder.encode(*case.parts)
        where = ids.index(self.image_id)
        return ids[:where] + [self.image_id] * self.checkpoint.image_tokens + ids[where + 1 :]

    def span(self, case: Case) -> tuple[int, int]:
        start = self.prompt_ids(case).index(self.image_id)
        return start, start + self.checkpoint.image_tokens

    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        with Image.open(self.images / case.image) as image:
            pixels = self.processors[case.image_rule](image, return_tensors="pt")["pixel_values"]
        ids = torch.tensor([self.prompt_ids(case)])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels.to(self.model.dtype)}

    def prompt(self, case: Case) -> var.Prompt:
        text = self.model.config.text_config
        return var.Prompt(self.span(case), text.num_hidden_layers, text.num_attention_heads)

    @torch.inference_mode()
    def answer(self, case: Case) -> Answer:
        inputs = self.inputs(case)
        output = self.model.generate(
            **inputs, do_sample=False, max_new_tokens=self.max_new_tokens, return_dict_in_generate=True, output_logits=True,
            eos_token_id=tiny.EOS_ID, pad_token_id=self.image_id + 1,
        )  # fmt: skip
        ids = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        logits = torch.stack([step[0] for step in output.logits]).float()
        top = logits.topk(2).values
        logprobs = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])
        text = self.tokenizer.decode(ids, skip_special_tokens=True).strip()
        return Answer(ids, text, float(logprobs.double().sum()), (top[:, 0] - top[:, 1]).tolist(), logits[0])

    def case_document(self, case: Case) -> dict[str, Any]:
        return {
            "image": case.image,
            "image_rule": case.image_rule,
            "question": case.question,
            "template": case.template,
            "prompt": case.prompt,
            "prompt_token_ids": self.prompt_ids(case),
            "image_span": list(self.span(case)),
        }


def pool() -> list[Case]:
    """Candidates: every question, mostly under `vicuna-v1`, on every image."""
    images = list(sample_images.case_images())
    return [
        Case(image, question, template)
        for template, questions in (("vicuna-v1", QUESTIONS), ("plain", QUESTIONS[:8]))
        for question in questions
        for image in images
    ]


def choose_cases(runner: Runner, smallest_gap: float, per_question: int) -> list[tuple[Case, Answer]]:
    """For every question and template the clearest answer of a few images, and each early stop among those tried.

    Cases whose two best tokens come closer than `smallest_gap` at any step are left out: they would test rounding only.
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in pool():
        groups.setdefault((case.template, case.question), []).append(case)
    chosen: list[tuple[Case, Answer]] = []
    for number, group in enumerate(groups.values()):
        tried = [group[(number * 7 + step * 5) % len(group)] for step in range(per_question)]
        answered = [(case, runner.answer(case)) for case in tried]
        clear = [pair for pair in answered if min(pair[1].gaps) >= smallest_gap]
        stopped = [pair for pair in clear if pair[1].ids[-1] == tiny.EOS_ID and len(pair[1].ids) > 1]
        best = max(clear, key=lambda pair: min(pair[1].gaps), default=None)
        chosen.extend(pair for pair in clear if pair is best or pair in stopped[:1])
    for case, _ in [pair for pair in chosen if pair[0].image in ("wide.png", "tall.png", "transparent.png")][:4]:
        padded = replace(case, image_rule="pad")
        answer = runner.answer(padded)
        if min(answer.gaps) >= smallest_gap:
            chosen.append((padded, answer))
    return chosen


# ----------------------------------------------------------------------------------------------------------- trace


@torch.inference_mode()
def trace(runner: Runner, case: Case, all_logits: bool) -> dict[str, torch.Tensor]:
    """Stage by stage, the prompt pass of one case."""
    model, inputs = runner.model, runner.inputs(case)
    seen: dict[str, torch.Tensor] = {}
    projector = model.model.multi_modal_projector
    handle = projector.register_forward_hook(
        lambda _module, args, output: seen.update({"vision.output": args[0], "projector.output": output})
    )
    observer = var.Observer(runner.prompt(case))
    with var.tapped(model, observer):
        logits = model(**inputs).logits
    handle.remove()
    plain = model(**inputs, output_attentions=True, output_hidden_states=True)
    assert torch.equal(plain.logits, logits), "the tapped attention is not transformers' eager attention"
    tensors = {"pixel_values": runner.inputs(case)["pixel_values"][0], "logits": logits[0] if all_logits else logits[0, -1:]}
    tensors |= {name: value.reshape(-1, value.shape[-1]) for name, value in seen.items()}
    for layer, (hidden, weights) in enumerate(zip(observer.steps[0].hidden, observer.steps[0].weights, strict=True)):
        tensors[f"decoder.{layer}.input"] = torch.from_numpy(hidden)
        tensors[f"decoder.{layer}.attention"] = torch.from_numpy(weights)
        assert torch.equal(plain.attentions[layer][0].float(), tensors[f"decoder.{layer}.attention"])
        assert torch.equal(plain.hidden_states[layer][0].float(), tensors[f"decoder.{layer}.input"])
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


# ------------------------------------------------------------------------------------------------------------- VAR


@dataclass(frozen=True)
class VarRun:
    case: Case
    settings: VarSettings
    answer: Answer
    observer: var.Observer
    sinks: dict[int, np.ndarray]

    def answer_rows(self) -> list[tuple[int, int]]:
        """(forward pass, query within it) of the query that produced each answer token."""
        steps = self.observer.steps
        return [(step, steps[step].weights[0].shape[1] - 1) for step in range(len(self.answer.ids))]

    def selection(self) -> np.ndarray:
        """[answer token, layer, head]"""
        steps = self.observer.steps
        return np.array([[layer[:, query] for layer in steps[step].selected] for step, query in self.answer_rows()]).astype(int)

    def values(self, layer: int) -> np.ndarray:
        return var.sink_values(self.observer.steps[0].hidden[layer], self.settings.sink_dimensions)

    def sinks_document(self) -> list[dict[str, Any]]:
        start, end = self.observer.prompt.span
        return [
            {
                "layer": layer,
                "image_positions": np.nonzero(mask[start:end])[0].tolist(),
                "text_positions": [int(token) for token in np.nonzero(mask)[0] if not start <= token < end],
                "max_value": float(self.values(layer)[start:end].max()),
            }
            for layer, mask in self.sinks.items()
        ]

    def sums(self, layer: int, step: int) -> var.GroupSums:
        weights = self.observer.steps[step].weights[layer]
        mask = np.zeros(weights.shape[-1], bool)
        mask[: len(self.sinks[layer])] = self.sinks[layer]
        return var.group_sums(weights, mask, self.observer.prompt.span)

    def statistics_document(self) -> list[dict[str, Any]]:
        document = []
        for layer in self.sinks:
            rows = [(self.sums(layer, step), query) for step, query in self.answer_rows()]
            means = {
                "image_attention": np.mean([sums.image[:, query] for sums, query in rows], 0),
                "nonsink_ratio": np.mean([sums.nonsink_ratio[:, query] for sums, query in rows], 0),
                "sink_attention": np.mean([sums.sinks[:, query] for sums, query in rows], 0),
            }
            document.append({"layer": layer} | {name: mean.tolist() for name, mean in means.items()})
        return document

    def margins(self) -> tuple[float, float]:
        """How close any sink value comes to its threshold, relatively, and any ratio or image attention to its own."""
        span_end = self.observer.prompt.span[1]
        near_tau, near_limits = np.inf, np.inf
        for layer, mask in self.sinks.items():
            tau = self.settings.sink_threshold
            near_tau = min(near_tau, np.abs(self.values(layer) / tau - 1).min())
            if not mask[slice(*self.observer.prompt.span)].any():
                continue
            for step in range(len(self.observer.steps)):
                sums = self.sums(layer, step)
                rows = slice(span_end if step == 0 else 0, None)
                gaps = [sums.nonsink_ratio - self.settings.min_nonsink_ratio, sums.image - self.settings.min_image_attention]
                near_limits = min(near_limits, *(np.abs(gap[:, rows]).min() for gap in gaps))
        return float(near_tau), float(near_limits)


def run_var(runner: Runner, case: Case, settings: VarSettings, release: var.Release | None) -> VarRun:
    prompt = runner.prompt(case)
    if settings.mode == "reference":
        observer: var.Observer = var.ReleasedVar(prompt, settings, release)
    else:
        observer = var.PaperVar(prompt, settings) if settings.mode == "paper" else var.Observer(prompt, settings)
    with var.tapped(runner.model, observer):
        answer = runner.answer(case)
    return VarRun(case, settings, answer, observer, dict(observer.sinks))


def check_release_agrees(run: VarRun) -> None:
    """The release must change the rows our formulas change, in the same way, up to its epsilon and its rounding."""
    span = run.observer.prompt.span
    for number, step in enumerate(run.observer.steps):
        rows = slice(span[1] if number == 0 else 0, None)
        for layer, mask in run.sinks.items():
            before = step.weights[layer]
            sinks = np.zeros(before.shape[-1], bool)
            sinks[: len(mask)] = mask
            used, selected = var.redistribute(before, sinks, span, run.settings)
            np.testing.assert_array_equal(selected[:, rows], step.selected[layer][:, rows])
            used = np.where(selected[..., None], used, before)
            np.testing.assert_allclose(used[:, rows], step.used[layer][:, rows], rtol=0, atol=1e-6)


def variants(base: VarSettings) -> list[VarSettings]:
    """The base measured without changing anything; then, in each mode, the base and one that moves all sink attention in more
    heads."""
    stronger = replace(base, min_nonsink_ratio=round(base.min_nonsink_ratio - 0.15, 4), moved_share=1.0)
    return [replace(base, mode="observe", name="observe")] + [
        replace(settings, mode=mode, name=f"{mode}-{settings.moved_share:g}")
        for mode in ("paper", "reference")
        for settings in (base, stronger)
    ]


def usable(run: VarRun) -> bool:
    near_tau, near_limits = run.margins()
    clear = run.settings.mode == "observe" or near_limits > 1e-4
    return near_tau > 1e-3 and clear and min(run.answer.gaps) > 2e-3


def var_runs(
    runner: Runner, cases: Sequence[Case], base: VarSettings, release: var.Release, wanted: int = 8
) -> list[list[VarRun]]:
    """For each variant the same cases: the first `wanted` that stay clear of every threshold under all variants."""
    kept: list[list[VarRun]] = []
    for case in cases:
        runs = []
        for settings in variants(base):
            runs.append(run_var(runner, case, settings, release))
            if not usable(runs[-1]):
                break
        else:
            kept.append(runs)
        if len(kept) == wanted:
            break
    assert len(kept) == wanted, f"only {len(kept)} usable cases"
    return [list(runs) for runs in zip(*kept, strict=True)]


def write_var(
    folder: Path, runner: Runner, chosen: Sequence[tuple[Case, Answer]], base: VarSettings, release: var.Release
) -> None:
    baseline = {case: answer for case, answer in chosen}
    numbers = {case: number for number, (case, _) in enumerate(chosen)}
    eligible = [case for case, _ in chosen if case.image_rule == "crop"]
    eligible.sort(key=lambda case: case.template != "plain")  # short prompts first: their attention is stored
    eligible = eligible[:6] + eligible[-1:5:-1]
    groups = var_runs(runner, eligible, base, release)
    ranked = sorted(groups[1], key=worth_storing, reverse=True)
    stored = {run.case for run in ranked[:2]}
    tensors: dict[str, torch.Tensor] = {}
    documents = []
    for runs in groups:
        settings = runs[0].settings
        entries = []
        for run in runs:
            entry = {"case": numbers[run.case], "image": run.case.image, "question": run.case.question}
            entry |= run.answer.document()
            if settings.mode == "reference":
                check_release_agrees(run)
            entry["changed"] = run.answer.ids != baseline[run.case].ids
            entry["sinks"] = run.sinks_document()
            entry["head_selection"] = None if settings.mode == "observe" else run.selection().tolist()
            entry["head_statistics"] = run.statistics_document()
            entry["tensors"] = None
            if run.case in stored and settings.name in STORED_ATTENTION:
                entry["tensors"] = f"{settings.name}.case{numbers[run.case]}"
                tensors |= {f"{entry['tensors']}.{name}": tensor for name, tensor in stored_attention(run).items()}
            entries.append(entry)
        document = settings.document()
        documents.append({"name": document.pop("name"), "settings": document, "cases": entries})
        report(runs, entries)
    tiny.write_json(folder / "var.json", {"runs": documents})
    tiny.write_tensors(folder / "var.safetensors", tensors)


def worth_storing(run: VarRun) -> tuple[bool, int, int]:
    """Short prompts first, then those with visual sinks in many layers, then those with many selected heads."""
    layers = sum(bool(layer["image_positions"]) for layer in run.sinks_document())
    return run.case.template == "plain", layers, int(run.selection().sum())


def stored_attention(run: VarRun) -> dict[str, torch.Tensor]:
    """Attention of the prompt pass before and after redistribution from layer 2 on, and the last token's logits."""
    step, tensors = run.observer.steps[0], {}
    for layer in range(var.FIRST_SINK_LAYER, run.observer.prompt.layers):
        tensors[f"decoder.{layer}.attention"] = torch.from_numpy(step.weights[layer])
        tensors[f"decoder.{layer}.attention_used"] = torch.from_numpy(step.used[layer])
    tensors["logits"] = run.answer.prompt_logits[None].clone()
    return tensors


def report(runs: Sequence[VarRun], entries: Sequence[dict[str, Any]]) -> None:
    name = runs[0].settings.name
    selected = np.concatenate([run.selection()[:, var.FIRST_SINK_LAYER :].reshape(-1) for run in runs]).mean()
    sinks = [sum(len(layer["image_positions"]) for layer in entry["sinks"]) / len(entry["sinks"]) for entry in entries]
    empty = sum(not layer["image_positions"] for entry in entries for layer in entry["sinks"])
    text = sorted({token for entry in entries for layer in entry["sinks"] for token in layer["text_positions"]})
    margins = np.min([run.margins() for run in runs], 0)
    print(
        f"  {name}: selected {selected:.2f} of layers 2+, image sinks a layer {np.mean(sinks):.1f}, layers without {empty}, "
        f"text sinks {text}, changed {sum(entry['changed'] for entry in entries)} of {len(entries)}, margins {margins}"
    )


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


def check_loads(folder: Path, runner: Runner, cases: Iterable[Case]) -> None:
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
                inputs = processor(images=image, text=case.prompt, return_tensors="pt")
            assert inputs["input_ids"][0].tolist() == runner.prompt_ids(case), case
            assert torch.equal(inputs["pixel_values"].to(runner.model.dtype), runner.inputs(case)["pixel_values"]), case


def make_runner(checkpoint: tiny.TinyLlava, images: Path, seed: int) -> Runner:
    """Draws the weights, plants the sinks, and rounds to the checkpoint's dtype."""
    model = tiny.build_model(checkpoint.config)
    tiny.draw_weights(model, seed, STOP_GAIN[checkpoint.name])
    runner = Runner(checkpoint, model, images)
    looks = [("shapes.png", 5), ("tall.png", 2), ("gray.png", 15), ("noise.png", 9)]  # image, and a token of it
    probes = [Case(image, QUESTIONS[0], template) for template in TEMPLATES for image, _ in looks]
    tiny.plant_sinks(
        model, [runner.inputs(probe) for probe in probes], SINK_DIMENSIONS[checkpoint.name],
        image_tokens=[((probe,), looks[probe % len(looks)][1]) for probe in range(len(probes))],
        text_tokens=[8, -6], strength=SINK_STRENGTH,
    )  # fmt: skip
    tiny.to_dtype(model, checkpoint.dtype)
    return runner


SINK_STRENGTH = 24.0
STOP_GAIN = {"llava-mha": 1.25, "llava-gqa": 1.4, "llava-bf16": 0.95}
SINK_DIMENSIONS = {"llava-mha": (11, 45), "llava-gqa": (7, 50), "llava-bf16": (20, 33)}
SMALLEST_GAP = {"llava-mha": 5e-3, "llava-gqa": 5e-3, "llava-bf16": 0.15}
STORED_ATTENTION = {"paper-0.6", "reference-1"}
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
    chosen = choose_cases(runner, SMALLEST_GAP[checkpoint.name], 12 if checkpoint.dtype == torch.bfloat16 else 4)
    check_loads(folder, runner, [case for case, _ in chosen])
    traced = [number for number, (case, _) in enumerate(chosen) if case.template == "plain"][:2]
    documents = [runner.case_document(case) | answer.document() | {"trace": None} for case, answer in chosen]
    tensors: dict[str, torch.Tensor] = {}
    for index, number in enumerate(traced):
        documents[number]["trace"] = f"case{index}"
        stages = trace(runner, chosen[number][0], all_logits=index == 0)
        tensors |= {f"case{index}.{name}": tensor for name, tensor in stages.items()}
    tiny.write_tensors(folder / "trace.safetensors", tensors)
    stops = sum(document["finish_reason"] == "stop" for document in documents)
    distinct = len({document["answer"] for document in documents})
    gap = min(min(answer.gaps) for _, answer in chosen)
    print(f"{checkpoint.name}: {len(documents)} cases, {stops} stop early, {distinct} distinct answers, smallest gap {gap:.4f}")
    if checkpoint.dtype == torch.bfloat16:
        chosen = in_float32(runner, chosen, documents)
    tiny.write_json(folder / "cases.json", {"dtype": str(checkpoint.dtype).removeprefix("torch."), "cases": documents})
    write_var(folder, runner, chosen, VAR[checkpoint.name], release)


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


if __name__ == "__main__":
    main()
