"""How fast transformers answers the workloads that `sinklens bench` measures: same folder, images, prompts, dtype and threads.

    python peer_bench.py --model FOLDER --workload questions --output FILE
    python peer_bench.py --model FOLDER --workload pairs --reference-checkout DIR --output FILE

Runs, of which `--runs` picks some:

- `transformers-sdpa`: `generate` with fused attention, as anyone would use it, once for each batch size up to the number of rows.
  Rows are in order of images, all prompts of a batch have one length, and pixels are prepared beforehand; the vision tower runs
  within `generate`.
- `released-eager`: the way of the authors' release of the method (`DIR`: seilk/VisAttnSink at 98e62d6). One row at a time, eager
  attention, their functions called in every layer, with new state for every row, as their first row has. For variants `var`.
- `limits`: what this machine does at best in the same process: products at the model's shapes, and reading memory.

Answers have `max_new_tokens` tokens, none of which ends them. A row is one answer. `other_load` is the share of the machine that
other processes had meanwhile: a measurement with more than a few hundredths is to be repeated.

OMP_WAIT_POLICY is left alone: unset, which lets idle threads spin for a moment, was up to 8 % faster here with one row at a time
than PASSIVE, and the same with more. Sparing the allocator its system calls (MALLOC_MMAP_MAX_=0) made no difference.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers

import redistribution as var
import workloads
from bench_inputs import DTYPES, Checkpoint
from other_load import OtherLoad
from redistribution import VarSettings
from workloads import Workload

RUNS = ["transformers-sdpa", "released-eager", "limits"]
PROMPT_LENGTHS = (611, 641, 791, 1024)
"""An image with the text before it; with one question; with six questions packed behind it; a round number."""
SETTINGS = {"min_nonsink_ratio": 0.5, "min_image_attention": 0.2, "moved_share": 0.6}


# ------------------------------------------------------------------------------------------------------------- rows


class Rows:
    """The rows of one variant as tensors."""

    def __init__(self, checkpoint: Checkpoint, workload: Workload, images: int, model: Any) -> None:
        prompts = [checkpoint.prompt_ids(question) for question in workload.questions]
        lengths = {len(ids) for ids in prompts}
        assert len(lengths) == 1, f"prompts of {lengths} tokens would need padding"
        image = checkpoint.config["image_token_index"]
        start = prompts[0].index(image)
        self.span = (start, start + prompts[0].count(image))
        self.length = lengths.pop()
        self.device = model.device
        self.prompts = torch.tensor(prompts)
        self.pixels = checkpoint.pixels(images, model.dtype)
        self.new_tokens = workload.max_new_tokens
        self.pad = checkpoint.config["pad_token_id"]

    def __len__(self) -> int:
        return len(self.prompts) * len(self.pixels)

    def describe(self) -> str:
        start, end = self.span
        return f"{len(self)} rows, prompts of {start} + {end - start} + {self.length - end} tokens, {self.new_tokens} new ones"

    def batches(self, size: int) -> Iterator[dict[str, torch.Tensor]]:
        rows = torch.cartesian_prod(torch.arange(len(self.pixels)), torch.arange(len(self.prompts))).view(-1, 2)
        for part in rows.split(size):
            ids = self.prompts[part[:, 1]].to(self.device)
            pixels = self.pixels[part[:, 0]].to(self.device)
            yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}

    def answer(self, model: Any, batch: dict[str, torch.Tensor]) -> list[list[int]]:
        new = {"min_new_tokens": self.new_tokens, "max_new_tokens": self.new_tokens, "pad_token_id": self.pad}
        ids = model.generate(**batch, do_sample=False, use_cache=True, **new)[:, self.length :]
        assert ids.shape[1] == self.new_tokens, ids.shape
        return ids.tolist()


def rates(name: str, variant: str, batch_size: int, rows: int, seconds: float, others: OtherLoad) -> dict[str, Any]:
    return {"name": name, "variant": variant, "batch_size": batch_size, "rows": rows, "seconds": seconds,
            "rows_per_second": rows / seconds, "other_load": others.share()}  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- runs


def run_sdpa(model: Any, rows: Rows, variant: str, batch_size: int) -> dict[str, Any]:
    if model.device.type == "cuda":
        rows.answer(model, next(rows.batches(batch_size)))  # loads kernels and takes memory for this size
    others, start = OtherLoad(), time.perf_counter()
    answers = [answer for batch in rows.batches(batch_size) for answer in rows.answer(model, batch)]
    seconds = time.perf_counter() - start
    return rates("transformers-sdpa", variant, batch_size, len(answers), seconds, others) | {"first_answer": answers[0]}


class TimedRelease(var.ReleasedVar):
    """Calls what the release calls, where it does, and records nothing but the time spent there."""

    def __init__(self, prompt: var.Prompt, settings: VarSettings, release: var.Release) -> None:
        super().__init__(prompt, settings, release)
        self.seconds, self.passes = 0.0, 0
        self.queries: list[int] = []
        """Rows of one head that could be changed, by pass."""

    @contextmanager
    def timed(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start

    def layer_input(self, layer: int, hidden: torch.Tensor) -> None:
        if layer == 0:
            self.passes += 1
            self.station.metadata["output_token_count"] = self.passes - 2
            self.queries.append(hidden.shape[1] - (self.prompt.span[1] if self.passes == 1 else 0))
        if self.passes == 1 and layer in self.logic.DimProspector.sink_select_layers:
            with self.timed():
                self.logic.DimProspector.run_logic(hidden, layer=layer)

    def attention(self, layer: int, weights: torch.Tensor) -> torch.Tensor:
        with self.timed():
            self.logic.HeadFork.run_logic(weights, layer)
            return self.logic.VARProcessor.attn_redist(weights.clone(), layer)

    def selected(self) -> tuple[int, int]:
        """Rows that were changed, and rows there were in layers with sinks: (layer, head, query), queries behind the image."""
        changed = 0
        for token, by_layer in self.logic.LogicEngine.forked_head_per_token.items():
            first = self.prompt.span[1] if token < 0 else 0
            changed += sum(int((coordinates[:, 2] >= first).sum()) for coordinates in by_layer.values() if len(coordinates))
        layers = sum(1 for found in self.sinks_by_layer() if found[0] > 0)
        return changed, layers * self.prompt.heads * sum(self.queries)

    def sinks_by_layer(self) -> list[tuple[int, int]]:
        """Sinks in the image and in text, from the first layer that can have any."""
        start, end = self.prompt.span
        counts = []
        for layer in self.logic.DimProspector.sink_select_layers:
            found = self.logic.LogicEngine.indices[layer]
            inside = int(((found >= start) & (found < end)).sum())
            counts.append((inside, len(found) - inside))
        return counts


def run_released(model: Any, rows: Rows, variant: str, sinks: dict[str, Any], release: var.Release) -> dict[str, Any]:
    decoder = model.model.language_model
    attention = decoder.config._attn_implementation
    prompt = var.Prompt(rows.span, decoder.config.num_hidden_layers, decoder.config.num_attention_heads)
    settings = VarSettings("var", "reference", tuple(sinks["dimensions"]), float(sinks["threshold"]), **SETTINGS)
    answers, hook_seconds, changed, possible = [], 0.0, 0, 0
    sinks: list[tuple[int, int]] = []
    others, start = OtherLoad(), time.perf_counter()
    for batch in rows.batches(1):
        observer = TimedRelease(prompt, settings, release)
        with var.tapped(decoder, observer):
            answers += rows.answer(model, batch)
        hook_seconds += observer.seconds
        selected = observer.selected()
        changed, possible = changed + selected[0], possible + selected[1]
        sinks = sinks or observer.sinks_by_layer()
    seconds = time.perf_counter() - start
    decoder.config._attn_implementation = attention
    return rates("released-eager", variant, 1, len(answers), seconds, others) | {
        "hook_seconds": hook_seconds, "hook_share": hook_seconds / seconds, "selected_share": changed / max(1, possible),
        "image_sinks_by_layer": [image for image, _ in sinks], "text_sinks_by_layer": [text for _, text in sinks],
        "first_answer": answers[0],
    }  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- limits


def waiting() -> None:
    """Until a GPU has done what it was told."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def fastest(work: Callable[[], object], seconds: float = 0.4) -> float:
    """Seconds of the quickest of several calls, the first one left out."""
    work()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        waiting()
        start = time.perf_counter()
        work()
        waiting()
        taken.append(time.perf_counter() - start)
    return min(taken)


def product_rates(model: Any) -> dict[str, Any]:
    """GFLOP/s of `linear`, by the weight's shape and the number of rows it is applied to."""
    text, vision = model.config.text_config, model.config.vision_config
    hidden, wide = text.hidden_size, text.intermediate_size
    seen, inner = vision.hidden_size, vision.intermediate_size
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    shapes = [(rows, *shape) for rows in PROMPT_LENGTHS for shape in ((hidden, hidden), (wide, hidden), (hidden, wide))]
    shapes += [(patches, *shape) for shape in ((seen, seen), (inner, seen), (seen, inner), (hidden, seen))]
    shapes += [(patches - 1, hidden, hidden)]
    found: dict[str, dict[str, float]] = {}
    for rows, outputs, inputs in shapes:
        kind = {"dtype": model.dtype, "device": model.device}
        values, weight = torch.randn(rows, inputs, **kind), torch.randn(outputs, inputs, **kind)
        seconds = fastest(lambda: torch.nn.functional.linear(values, weight))
        found.setdefault(f"{outputs}x{inputs}", {})[str(rows)] = 2e-9 * rows * outputs * inputs / seconds
    return found


def step_seconds(model: Any, rows: int) -> float:
    """All products of one decoder step, with the model's weights, one after the other."""
    layers = model.model.language_model.layers
    weights = [module.weight for layer in layers for module in layer.modules() if isinstance(module, torch.nn.Linear)]
    weights.append(model.lm_head.weight)
    kind = {"dtype": model.dtype, "device": model.device}
    inputs = {weight.shape[1]: torch.randn(rows, weight.shape[1], **kind) for weight in weights}
    return fastest(lambda: [torch.nn.functional.linear(inputs[weight.shape[1]], weight) for weight in weights], 2.0)


def limits(model: Any) -> dict[str, Any]:
    others = OtherLoad()
    products = product_rates(model)
    text = model.config.text_config
    hidden, wide = text.hidden_size, text.intermediate_size
    in_layer = [((hidden, hidden), 4), ((wide, hidden), 2), ((hidden, wide), 1)]
    block, other = torch.ones(1 << 28, device=model.device), torch.ones(1 << 28, device=model.device)
    read = block.numel() * block.element_size() / fastest(lambda: block.sum(), 1.0)
    copied = 2 * block.numel() * block.element_size() / fastest(lambda: other.copy_(block), 1.0)
    decoder = [module for layer in model.model.language_model.layers for module in layer.modules()]
    step_bytes = sum(m.weight.numel() * m.weight.element_size() for m in decoder if isinstance(m, torch.nn.Linear))
    step_bytes += model.lm_head.weight.numel() * model.lm_head.weight.element_size()
    steps = {str(rows): step_seconds(model, rows) for rows in (1, 16, 64)}
    square = torch.randn(8192, 8192, dtype=model.dtype, device=model.device) if model.device.type == "cuda" else None
    return {
        "gigaflops": products,
        "best_gigaflops": max(rate for rates in products.values() for rate in rates.values()),
        "prompt_products_seconds": {
            str(rows): text.num_hidden_layers * sum(
                count * 2e-9 * rows * shape[0] * shape[1] / products[f"{shape[0]}x{shape[1]}"][str(rows)]
                for shape, count in in_layer
            )
            for rows in PROMPT_LENGTHS
        },
        "step_products_seconds": steps,
        "step_bytes": step_bytes,
        "step_gigabytes_per_second": {rows: step_bytes / seconds / 1e9 for rows, seconds in steps.items()},
        "read_gigabytes_per_second": read / 1e9,
        "copy_gigabytes_per_second": copied / 1e9,
        "square_gigaflops": None if square is None else 2e-9 * 8192**3 / fastest(lambda: square @ square),
        "other_load": others.share(),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- main


def best(runs: list[dict[str, Any]], variants: list[str]) -> dict[str, Any]:
    """The fastest run of each variant, and the rate of one after the other."""
    chosen = [max((run for run in runs if run["variant"] == variant), key=lambda run: run["rows_per_second"], default=None)
              for variant in variants]  # fmt: skip
    if None in chosen:
        return {}
    per_row = statistics.mean(1 / run["rows_per_second"] for run in chosen)
    keys = ("name", "variant", "batch_size", "rows_per_second")
    return {"rows_per_second": 1 / per_row, "runs": [{key: run[key] for key in keys} for run in chosen]}


def names(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


@torch.inference_mode()
def main() -> None:
    known = workloads.read()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a folder that bench_checkpoint.py wrote, or the bundled one")
    parser.add_argument("--workload", type=names, required=True, help=f"of {', '.join(known)}; several take a folder as output")
    parser.add_argument("--images", type=int, help="default: the workload's")
    parser.add_argument("--batch-sizes", type=numbers, default=[1, 4, 8, 16])
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="what to compute in; auto, the default, is the file's")
    parser.add_argument("--device", default="cpu", help="such as cuda:0 (default: cpu)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=names, default=RUNS, help=f"default: {','.join(RUNS)}")
    parser.add_argument("--reference-checkout", type=Path, help="needed by released-eager")
    parser.add_argument("--output", type=Path, required=True, help="file, or for several workloads a folder of NAME.json")
    arguments = parser.parse_args()
    unknown = set(arguments.workload) - set(known)
    if unknown:
        parser.error(f"--workload must be of {', '.join(known)}, not {', '.join(unknown)}")
    asked = [known[name] for name in arguments.workload]
    if any("var" in workload.variants for workload in asked) and "released-eager" in arguments.runs and arguments.reference_checkout is None:
        parser.error("--workload with variant var needs --reference-checkout, or --runs without released-eager")
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    checkpoint = Checkpoint(arguments.model)
    model = checkpoint.model("sdpa", arguments.dtype, arguments.device)
    for workload in asked:
        document = measure(checkpoint, model, workload, arguments) | {"load_before": round(load, 2)}
        output = arguments.output / f"{workload.name}.json" if len(asked) > 1 else arguments.output
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def measure(checkpoint: Checkpoint, model: Any, workload: Workload, arguments: argparse.Namespace) -> dict[str, Any]:
    rows = Rows(checkpoint, workload, arguments.images or workload.images, model)
    print(rows.describe(), flush=True)
    batch_sizes = [size for size in arguments.batch_sizes if size <= len(rows)]
    if not batch_sizes:
        raise SystemExit(f"--batch-sizes are all above {len(rows)}, the number of rows")
    model.generate(**next(rows.batches(1)), do_sample=False, max_new_tokens=2, pad_token_id=rows.pad)  # warm up
    runs = []
    for variant in workload.variants:
        if variant == "var" and "released-eager" in arguments.runs:
            runs.append(run_released(model, rows, variant, checkpoint.sinks, var.Release(arguments.reference_checkout)))
            print(json.dumps(runs[-1]), flush=True)
        elif variant != "var" and "transformers-sdpa" in arguments.runs:
            for batch_size in batch_sizes:
                runs.append(run_sdpa(model, rows, variant, batch_size))
                print(json.dumps(runs[-1]), flush=True)
    return {
        "peer": "transformers",
        "workload": workload.name,
        "model": str(arguments.model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "images": len(rows.pixels),
        "prompt_tokens": {"before": rows.span[0], "image": rows.span[1] - rows.span[0], "after": rows.length - rows.span[1]},
        "max_new_tokens": rows.new_tokens,
        "runs": runs,
        "best": best(runs, workload.variants),
        "limits": limits(model) if "limits" in arguments.runs else None,
        "environment": {name: os.environ.get(name) for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
    }


if __name__ == "__main__":
    main()
