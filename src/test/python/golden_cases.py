"""What all families' golden files have in common: cases and their answers, the trace of a prompt pass, runs of the method.

A family subclasses `Runner`, which turns a case into a model's inputs, draws a tiny checkpoint, and calls `write_golden`.
Every number comes from transformers on explicit eager attention.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import redistribution as var
import tiny_llava as tiny
from redistribution import VarSettings

STORED_ATTENTION = {"paper-0.6", "reference-1"}


@dataclass(frozen=True)
class Case:
    image: str
    question: str
    template: str
    image_rule: str = "crop"


@dataclass(frozen=True)
class Answer:
    ids: list[int]
    text: str
    logprob: float
    gaps: list[float]
    prompt_logits: torch.Tensor  # of the last prompt token
    stopped: bool

    def document(self) -> dict[str, Any]:
        return {
            "answer_token_ids": self.ids,
            "answer": self.text,
            "finish_reason": "stop" if self.stopped else "length",
            "answer_logprob": self.logprob,
            "top_two_gaps": [round(gap, 6) for gap in self.gaps],
        }


class Runner(ABC):
    """One checkpoint with its model in memory: turns cases into model inputs and answers them.

    `model` is a whole model of transformers with `generate`; `decoder` its part with `layers`; `projector` the module whose
    first argument is what the vision encoder gives, unless `watch_vision` is overridden.
    """

    max_new_tokens = 12

    def __init__(
        self, model: Any, decoder: torch.nn.Module, images: Path, image_id: int, stop_ids: Sequence[int], pad_id: int
    ) -> None:
        self.model, self.decoder, self.images = model, decoder, images
        self.image_id, self.stop_ids, self.pad_id = image_id, list(stop_ids), pad_id
        self.projector: torch.nn.Module | None = None

    @abstractmethod
    def prompt(self, case: Case) -> str:
        """The whole text, with one marker for the image."""

    @abstractmethod
    def prompt_ids(self, case: Case) -> list[int]:
        """The image token repeated for every embedding."""

    @abstractmethod
    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        """What the model is called with; `input_ids` or `inputs_embeds` and more."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Special tokens dropped, stripped."""

    def pixels(self, case: Case) -> torch.Tensor:
        """What is stored as `pixel_values` of a traced case."""
        return self.inputs(case)["pixel_values"][0]

    def span(self, case: Case) -> tuple[int, int]:
        ids = self.prompt_ids(case)
        start = ids.index(self.image_id)
        return start, start + ids.count(self.image_id)

    def var_prompt(self, case: Case) -> var.Prompt:
        config = self.decoder.config
        return var.Prompt(self.span(case), config.num_hidden_layers, config.num_attention_heads)

    def watch_vision(self, seen: dict[str, torch.Tensor]) -> list[Any]:
        """Hooks that put `vision.output` into `seen` while the model runs; removed by the caller."""
        assert self.projector is not None
        return [self.projector.register_forward_hook(lambda _module, args, _output: seen.update({"vision.output": args[0]}))]

    @torch.inference_mode()
    def answer(self, case: Case) -> Answer:
        inputs = self.inputs(case)
        output = self.model.generate(
            **inputs, do_sample=False, max_new_tokens=self.max_new_tokens, return_dict_in_generate=True, output_logits=True,
            eos_token_id=self.stop_ids, pad_token_id=self.pad_id,
        )  # fmt: skip
        given = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0  # generate returns new ids only after embeddings
        ids = output.sequences[0, given:].tolist()
        logits = torch.stack([step[0] for step in output.logits]).float()
        top = logits.topk(2).values
        logprobs = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])
        return Answer(
            ids, self.decode(ids), float(logprobs.double().sum()), (top[:, 0] - top[:, 1]).tolist(), logits[0],
            ids[-1] in self.stop_ids,
        )  # fmt: skip

    def case_document(self, case: Case) -> dict[str, Any]:
        return {
            "image": case.image,
            "image_rule": case.image_rule,
            "question": case.question,
            "template": case.template,
            "prompt": self.prompt(case),
            "prompt_token_ids": self.prompt_ids(case),
            "image_span": list(self.span(case)),
        }


def choose_cases(runner: Runner, pool: Sequence[Case], smallest_gap: float, per_question: int) -> list[tuple[Case, Answer]]:
    """For every question and template the clearest answer of a few images, and each early stop among those tried.

    Cases whose two best tokens come closer than `smallest_gap` at any step are left out: they would test rounding only.
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in pool:
        groups.setdefault((case.template, case.question), []).append(case)
    chosen: list[tuple[Case, Answer]] = []
    for number, group in enumerate(groups.values()):
        tried = [group[(number * 7 + step * 5) % len(group)] for step in range(per_question)]
        answered = [(case, runner.answer(case)) for case in tried]
        clear = [pair for pair in answered if min(pair[1].gaps) >= smallest_gap]
        stopped = [pair for pair in clear if pair[1].stopped and len(pair[1].ids) > 1]
        best = max(clear, key=lambda pair: min(pair[1].gaps), default=None)
        chosen.extend(pair for pair in clear if pair is best or pair in stopped[:1])
    return chosen


# ----------------------------------------------------------------------------------------------------------- trace


@torch.inference_mode()
def trace(runner: Runner, case: Case, all_logits: bool) -> dict[str, torch.Tensor]:
    """Stage by stage, the prompt pass of one case."""
    model, inputs = runner.model, runner.inputs(case)
    seen: dict[str, torch.Tensor] = {}
    handles = runner.watch_vision(seen)
    observer = var.Observer(runner.var_prompt(case))
    with var.tapped(runner.decoder, observer):
        logits = model(**inputs).logits
    for handle in handles:
        handle.remove()
    plain = model(**inputs, output_attentions=True, output_hidden_states=True)
    assert torch.equal(plain.logits, logits), "the tapped attention is not transformers' eager attention"
    start, end = runner.span(case)
    tensors = {"pixel_values": runner.pixels(case), "logits": logits[0] if all_logits else logits[0, -1:]}
    tensors |= {name: value.reshape(-1, value.shape[-1]) for name, value in seen.items()}
    tensors["projector.output"] = torch.from_numpy(observer.steps[0].hidden[0][start:end])
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
    prompt = runner.var_prompt(case)
    if settings.mode == "reference":
        observer: var.Observer = var.ReleasedVar(prompt, settings, release)
    else:
        observer = var.PaperVar(prompt, settings) if settings.mode == "paper" else var.Observer(prompt, settings)
    with var.tapped(runner.decoder, observer):
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
    folder: Path,
    runner: Runner,
    chosen: Sequence[tuple[Case, Answer]],
    base: VarSettings,
    release: var.Release,
    eligible: Callable[[Case], bool],
    to_store: Callable[[Sequence[VarRun]], Sequence[VarRun]] | None = None,
) -> None:
    """Runs of the method; attention is stored of the `two_busiest`, or of those that `to_store` picks."""
    baseline = {case: answer for case, answer in chosen}
    numbers = {case: number for number, (case, _) in enumerate(chosen)}
    candidates = [case for case, _ in chosen if eligible(case)]
    candidates.sort(key=lambda case: case.template != "plain")  # short prompts first: their attention is stored
    candidates = candidates[:6] + candidates[-1:5:-1]
    groups = var_runs(runner, candidates, base, release)
    stored = {run.case for run in (to_store or two_busiest)(groups[1])}
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


def two_busiest(runs: Sequence[VarRun]) -> Sequence[VarRun]:
    """Short prompts first, then those with visual sinks in many layers, then those with many selected heads."""

    def worth(run: VarRun) -> tuple[bool, int, int]:
        layers = sum(bool(layer["image_positions"]) for layer in run.sinks_document())
        return run.case.template == "plain", layers, int(run.selection().sum())

    return sorted(runs, key=worth, reverse=True)[:2]


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


def write_cases(
    folder: Path,
    runner: Runner,
    chosen: Sequence[tuple[Case, Answer]],
    traced: Sequence[int],
    dtype: str,
    float32: Callable[[list[dict[str, Any]]], None] = lambda documents: None,
    about: dict[str, Any] | None = None,
) -> None:
    """`cases.json`, with what `about` says of the checkpoint, and the trace of the cases with the given numbers."""
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
    print(f"{folder.name}: {len(documents)} cases, {stops} stop early, {distinct} distinct answers, smallest gap {gap:.4f}")
    float32(documents)
    tiny.write_json(folder / "cases.json", {"dtype": dtype} | (about or {}) | {"cases": documents})


def write_golden(
    folder: Path,
    runner: Runner,
    chosen: Sequence[tuple[Case, Answer]],
    traced: Sequence[int],
    base: VarSettings,
    release: var.Release,
    to_store: Callable[[Sequence[VarRun]], Sequence[VarRun]] | None = None,
    about: dict[str, Any] | None = None,
) -> None:
    """Everything about one float32 checkpoint whose cases are chosen: `cases.json`, `trace.safetensors`, `var.*`."""
    write_cases(folder, runner, chosen, traced, "float32", about=about)
    write_var(folder, runner, chosen, base, release, lambda case: True, to_store)
