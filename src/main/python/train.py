"""Trains the demo model from a random start on scenes that are rendered as it goes.

    python train.py warmup --output runs/warmup.pt --log runs/warmup.jsonl
    python train.py answers --from runs/warmup.pt --output runs/answers.pt --log runs/answers.jsonl
    python train.py sinks --from runs/answers.pt --output runs/sinks.pt --log runs/sinks.jsonl

`warmup` teaches the vision encoder alone what is at every patch. `answers` trains everything on questions and captions,
with the decoder's loss on the questions' words, too. `sinks` goes on with answers and plants attention sinks by the
losses of `planting.py`. A log holds the settings first and then one JSON object a line: the mean losses, and every so
often what `measure.py` finds on scenes of another seed.

`answers` and `sinks` save what they have when they measure; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

import demo_model as demo
import llama_tokenizer as llama
import measure
import planting

HELD_OUT_SEED = 20261
"""Scenes that no training sees."""


@dataclass(frozen=True)
class Settings:
    """One run. `weight_decay`, `learning_rate`, `question_weight` and `image_first` are what may make sinks grow."""

    seed: int = 1
    data_seed: int = 31
    """Scenes are numbered from 0 under this seed."""
    steps: int = 3000
    """Length of the schedule."""
    stop_at: int = 0
    """Step to end at before the schedule does; 0 to go to its end."""
    images: int = 32
    """Images of a batch; twice as many from `grow_at` on."""
    grow_at: float = 0.8
    """Share of the steps after which batches double."""
    questions: int = 10
    """Questions to an image."""
    learning_rate: float = 1e-3
    """Highest rate, after `rise` steps; falls along a cosine to a hundredth."""
    rise: int = 100
    weight_decay: float = 0.1
    question_weight: float = 0.1
    """Weight of the words of a question against those of an answer."""
    caption_weight: float = 0.5
    """Weight of the words of a caption against those of other answers."""
    count_weight: float = 1.0
    """Weight of a count against other answers."""
    image_first: float = 0.1
    """Share of batches whose prompt begins with the image, so that no token precedes it."""
    system_text: float = 0.6
    """Share of batches whose prompt has LLaVA's system text."""
    idle_weight: float = 0.3
    """Weight of the loss that makes values of planted sinks small."""
    patch_weight: float = 0.2
    """Weight of the warm-up's loss while training answers."""
    measure_every: int = 250


class PatchReader(nn.Module):  # type: ignore[misc]
    """Reads from the vision encoder's output what is at each patch; only training needs it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.classes = nn.Linear(hidden, sum(demo.PATCH_CLASSES))

    def losses(self, features: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy of every fact about a patch [6]; of shape and middle only where an object is."""
        parts = self.classes(self.norm(features)).float().split(demo.PATCH_CLASSES, -1)
        there = objects[..., 0] > 0
        wanted = [objects[..., fact].where(there | (fact in (0, 2, 3)), demo.IGNORED) for fact in range(len(parts))]
        return torch.stack(
            [functional.cross_entropy(part.flatten(0, 1), facts.flatten()) for part, facts in zip(parts, wanted, strict=True)]
        )


class Run:
    """A model, what trains it, and where it stands."""

    def __init__(self, settings: Settings, output: Path, log: Path) -> None:
        self.settings, self.output = settings, output
        self.tokenizer = llama.train_tokenizer(demo.corpus(), demo.PIECES, legacy=False)
        self.prompts = demo.Prompts.of(self.tokenizer)
        self.config = demo.config(self.tokenizer)
        self.model = demo.fresh(self.config, settings.seed)
        self.model.config._attn_implementation = self.model.model.language_model.config._attn_implementation = measure.ATTENTION
        self.values: list[torch.Tensor] = []
        for layer in self.model.model.language_model.layers:
            layer.self_attn.v_proj.register_forward_hook(lambda _, __, output: self.values.append(output))
        self.reader = PatchReader(self.config["vision_config"]["hidden_size"])
        decayed = [p for p in self.parameters() if p.dim() > 1]
        plain = [p for p in self.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=settings.learning_rate, betas=(0.9, 0.95), fused=True,
        )  # fmt: skip
        self.step = 0
        self.end = settings.stop_at or settings.steps
        self._log = log
        self._sums: dict[str, float] = {}
        self._since = (0, time.monotonic())

    def parameters(self) -> Iterable[nn.Parameter]:
        return [*self.model.parameters(), *self.reader.parameters()]

    def load(self, file: Path, everything: bool) -> None:
        """Takes over weights, and with `everything` also how far the run has come."""
        state = torch.load(file)
        self.model.load_state_dict(state["model"])
        self.reader.load_state_dict(state["reader"])
        if everything:
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
            self._since = (self.step, time.monotonic())

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "reader": self.reader.state_dict(),
                 "optimizer": self.optimizer.state_dict(), "step": self.step}  # fmt: skip
        part = self.output.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.output)

    def write(self, entry: dict[str, Any]) -> None:
        with self._log.open("a") as log:
            log.write(json.dumps(entry) + "\n")

    def update(self, losses: dict[str, torch.Tensor]) -> None:
        """One step along the sum of the losses."""
        settings, self.step = self.settings, self.step + 1
        risen = min(1.0, self.step / settings.rise)
        rate = settings.learning_rate * risen * (0.505 + 0.495 * math.cos(math.pi * self.step / settings.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        norm = nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()
        for name, value in {**losses, "gradient": norm}.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        if self.step % 50 == 0:
            before, began = self._since
            steps, now = self.step - before, time.monotonic()
            means = {name: round(value / steps, 4) for name, value in self._sums.items()}
            self.write({"step": self.step, "rate": round(rate, 7), **means, "seconds": round((now - began) / steps, 3)})
            self._sums, self._since = {}, (self.step, now)


def patch_losses(run: Run, features: torch.Tensor, batch: demo.Batch) -> torch.Tensor:
    return run.reader.losses(features, batch.objects).sum()


def warm_up(run: Run) -> None:
    """Steps of the vision encoder alone, on facts about patches."""
    for batch in demo.batches(run.settings.data_seed, 0, run.settings.images, 1, run.prompts, workers=2):
        with torch.autocast("cpu", torch.bfloat16):
            features = run.model.model.vision_tower(batch.pixels).last_hidden_state[:, 1:]
            losses = {"patches": patch_losses(run, features, batch)}
        run.update(losses)
        if run.step % run.settings.measure_every == 0:
            run.write({"step": run.step, "patches": measure.patch_accuracy(run.model, run.reader, run.prompts, HELD_OUT_SEED)})
        if run.step >= run.end:
            return


def answer_loss(run: Run, logits: torch.Tensor, batch: demo.Batch) -> dict[str, torch.Tensor]:
    """Cross entropy of the next token; the first token of a question is nobody's next."""
    settings = run.settings
    by_kind = {"caption": settings.caption_weight, "count": settings.count_weight}
    of_turn = torch.tensor([[by_kind.get(kind, 1.0) for kind in kinds] + [0.0] for kinds in batch.kinds])
    of_token = of_turn.gather(1, batch.turns % of_turn.shape[1])  # -1 is the padding, which comes last
    weights = torch.where(batch.answers, of_token, settings.question_weight)
    follows = (batch.turns[:, 1:] == batch.turns[:, :-1]) & (batch.turns[:, 1:] >= 0)
    losses = functional.cross_entropy(logits[:, :-1][follows].float(), batch.tokens[:, 1:][follows], reduction="none")
    weighted = losses * weights[:, 1:][follows]
    answers = batch.answers[:, 1:][follows]
    count = answers.sum()
    return {"answers": weighted[answers].sum() / count, "words": weighted[~answers].sum() / count}


def prefix(run: Run, random_: random.Random) -> list[int]:
    drawn = random_.random()
    if drawn < run.settings.image_first:
        return []
    return run.prompts.prefix(demo.SYSTEM if drawn < run.settings.image_first + run.settings.system_text else "")


def train_answers(run: Run, plant: bool) -> None:
    """Steps of the whole model on questions, answers and captions; with `plant` on sinks, too."""
    settings = run.settings
    grow = round(settings.grow_at * settings.steps)
    while run.step < run.end:
        large = run.step >= grow
        size = settings.images * (2 if large else 1)
        start = settings.images * run.step if not large else settings.images * (2 * run.step - grow)
        for batch in demo.batches(settings.data_seed, start, size, settings.questions, run.prompts):
            before = prefix(run, random.Random(f"{settings.seed} {run.step}"))
            forward = demo.inputs(batch, before, run.prompts.image_token)
            features: list[torch.Tensor] = []
            projector = run.model.model.multi_modal_projector
            hook = projector.register_forward_pre_hook(lambda _, given: features.append(given[0]))
            run.values.clear()  # Measuring runs the model, too.
            with torch.autocast("cpu", torch.bfloat16):
                result = run.model(
                    **forward, logits_to_keep=batch.tokens.shape[1], output_hidden_states=plant, output_attentions=plant
                )
                hook.remove()
                losses = answer_loss(run, result.logits, batch)
                losses["patches"] = settings.patch_weight * patch_losses(run, features[0], batch)
            if plant:
                planted = planting.losses(result.hidden_states, result.attentions, run.values, batch, len(before))
                losses |= planted | {"idle": settings.idle_weight * planted["idle"]}
            run.update(losses)
            if run.step % settings.measure_every == 0 or run.step == run.end:
                run.write({"step": run.step, **measure.everything(run.model, run.prompts, HELD_OUT_SEED)})
                run.save()
            if run.step >= run.end or (run.step >= grow) != large:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", choices=["warmup", "answers", "sinks"])
    parser.add_argument("--from", dest="start", type=Path, help="weights to start from")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    for field in fields(Settings):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    arguments = parser.parse_args()
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
    run = Run(settings, arguments.output, arguments.log)
    if arguments.output.exists():
        run.load(arguments.output, everything=True)
    elif arguments.start:
        run.load(arguments.start, everything=False)
    run.write({"phase": arguments.phase, "torch": torch.__version__, "from_step": run.step, **asdict(settings)})
    if arguments.phase == "warmup":
        warm_up(run)
    else:
        train_answers(run, plant=arguments.phase == "sinks")
    run.save()


if __name__ == "__main__":
    main()
