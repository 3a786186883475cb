"""The golden checkpoints of the original layouts: LLaVA-1.5 in two folders, VILA in one, VILA1.5 in three parts.

What the networks compute comes from transformers. What its processors and tokenizers do not do is done as the original code does
it: prompts are encoded piece by piece around the image, and Pillow makes images square before a processor sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    LlamaForCausalLM,
    LlamaTokenizer,
    LlavaForConditionalGeneration,
    SiglipImageProcessor,
    SiglipVisionModel,
)

import original_layouts as original
import tiny_llava as tiny
from golden import CORPUS, QUESTIONS, SINK_STRENGTH, TEMPLATES, LlavaRunner, pool
from golden_cases import Answer, Case, Runner, choose_cases, write_golden
from original_layouts import IMAGE_INDEX, PLACEHOLDER
from redistribution import Release, VarSettings

PIECES = 470


@dataclass(frozen=True)
class OriginalCheckpoint:
    """One folder, or with its tower two, apart from the weights."""

    name: str
    config: dict[str, Any]
    rules: tuple[str, str]
    dtype: torch.dtype
    tokenizer: bytes

    @property
    def image_tokens(self) -> int:
        vision = self.config["vision_config"]
        side = vision["image_size"] // vision["patch_size"]
        return side**2 if vision["model_type"] == "clip_vision_model" else ((side + 1) // 2) ** 2


def original_llava(tokenizer: bytes) -> OriginalCheckpoint:
    vision = {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
              "num_attention_heads": 4, "image_size": 56, "patch_size": 14, "projection_dim": 16}  # fmt: skip
    config = original.llava_config(original.text_config(PIECES), vision)
    return OriginalCheckpoint("llava-original", config, ("pad", "crop"), torch.float16, tokenizer)


def vila(tokenizer: bytes) -> OriginalCheckpoint:
    """Heads of the tower are 64 wide, as in all towers the original code names, since nothing else tells their number."""
    vision = {"model_type": "clip_vision_model", "hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 3,
              "num_attention_heads": 2, "image_size": 56, "patch_size": 14, "projection_dim": 16}  # fmt: skip
    config = original.llava_config(original.text_config(PIECES, num_key_value_heads=2), vision)
    return OriginalCheckpoint("vila", config, ("pad", "crop"), torch.bfloat16, tokenizer)


def vila_15(tokenizer: bytes) -> OriginalCheckpoint:
    """Seven patches a side: as in the published tower an odd number, so that merging them needs padding, and pixels left over."""
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
              "num_attention_heads": 4, "image_size": 100, "patch_size": 14, "vision_use_head": False}  # fmt: skip
    config = original.llava_config(original.text_config(PIECES), vision)
    return OriginalCheckpoint("vila1.5", config, ("stretch", "pad"), torch.bfloat16, tokenizer)


class OriginalRunner(Runner):
    """Encodes prompts around the image and makes images square as the original code does."""

    def __init__(self, checkpoint: OriginalCheckpoint, model: LlavaForConditionalGeneration, images: Path) -> None:
        super().__init__(model, model.model.language_model, images, IMAGE_INDEX, [tiny.EOS_ID], PLACEHOLDER)
        self.projector = model.model.multi_modal_projector
        self.checkpoint = checkpoint
        self.tokenizer = sentencepiece.SentencePieceProcessor(model_proto=checkpoint.tokenizer)
        vision = checkpoint.config["vision_config"]
        size = vision["image_size"]
        if vision["model_type"] == "clip_vision_model":
            self.processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
        else:
            mean = [0.5, 0.5, 0.5]
            self.processor = SiglipImageProcessor(size={"height": size, "width": size}, image_mean=mean, image_std=mean)

    def prompt(self, case: Case) -> str:
        return tiny.IMAGE.join(LlavaRunner.parts(case))

    def prompt_ids(self, case: Case) -> list[int]:
        before, after = (self.tokenizer.encode(part) for part in LlavaRunner.parts(case))
        return [tiny.BOS_ID, *before, *[IMAGE_INDEX] * self.checkpoint.image_tokens, *after]

    def inputs(self, case: Case) -> dict[str, torch.Tensor]:
        with Image.open(self.images / case.image) as opened:
            image = self.squared(opened.convert("RGB"), case.image_rule)
        pixels = self.processor(image, return_tensors="pt")["pixel_values"]
        ids = torch.tensor([[PLACEHOLDER if token == IMAGE_INDEX else token for token in self.prompt_ids(case)]])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels.to(self.model.dtype)}

    def squared(self, image: Image.Image, rule: str) -> Image.Image:
        if rule == "crop":
            return image  # the processor's own way
        if rule == "stretch":
            side = self.processor.size["height"]
            return image.resize((side, image.height)).resize((side, side))  # the order of Pillow before 13
        side = max(image.size)
        square = Image.new("RGB", (side, side), tuple(int(255 * mean) for mean in self.processor.image_mean))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return square

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode([token for token in ids if token > tiny.EOS_ID]).strip()


def save(checkpoint: OriginalCheckpoint, model: LlavaForConditionalGeneration, output: Path, seed: int) -> None:
    folder = output / checkpoint.name
    text, vision = checkpoint.config["text_config"], checkpoint.config["vision_config"]
    if checkpoint.name == "vila1.5":
        original.save_three_parts(folder, model, checkpoint.tokenizer, checkpoint.dtype, seed)
    elif checkpoint.name == "vila":
        config = original.flat_config(
            text, vision["hidden_size"], model_type="llava_llama", torch_dtype="bfloat16", tokenizer_model_max_length=4096,
            tokenizer_padding_side="right",
        )  # fmt: skip
        original.save_flat(folder, config, checkpoint.tokenizer)
        tensors = original.flat_tensors(model, checkpoint.dtype, tower=True)
        tiny.write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    else:
        original.save_flat(folder, original.flat_config(text, vision["hidden_size"]), checkpoint.tokenizer)
        original.save_pickles(folder, original.flat_tensors(model, checkpoint.dtype, tower=False), shards=2)
        original.save_clip(output / original.TOWER, model, seed)


def check_loads(output: Path, runner: OriginalRunner, cases: Iterable[Case]) -> None:
    """The parts, opened by transformers' own loaders and put together by hand, give the ids and logits of the model in memory."""
    folder = output / runner.checkpoint.name
    model = runner.model
    if runner.checkpoint.name == "vila1.5":
        llm = LlamaForCausalLM.from_pretrained(folder / "llm", attn_implementation="eager", dtype=torch.float32).eval()
        tower = SiglipVisionModel.from_pretrained(folder / "vision_tower", attn_implementation="eager", dtype=torch.float32).eval()
        tokenizer = LlamaTokenizer.from_pretrained(folder / "llm", legacy=False)
    else:
        llm = LlamaForCausalLM(model.config.text_config).eval()
        tensors = read_tensors(folder)
        llm.load_state_dict({name: tensor.float() for name, tensor in tensors.items() if "mm_projector" not in name
                             and "vision_tower" not in name})  # fmt: skip
        tower = model.model.vision_tower
        if runner.checkpoint.name == "llava-original":
            tower = CLIPVisionModel.from_pretrained(output / original.TOWER, attn_implementation="eager").eval()
        tokenizer = LlamaTokenizer.from_pretrained(folder, legacy=False)
    for case in cases:
        inputs = runner.inputs(case)
        with torch.inference_mode():
            features = tower(inputs["pixel_values"], output_hidden_states=True).hidden_states[-2]
            features = features if runner.checkpoint.name == "vila1.5" else features[:, 1:]
            image = model.model.multi_modal_projector(features)
            if runner.checkpoint.name == "vila1.5":
                merged = original.merge_in_numpy(model.model.multi_modal_projector, features[0].double().numpy())
                np.testing.assert_allclose(image[0].numpy(), merged, rtol=0, atol=1e-5)
            embeddings = llm.get_input_embeddings()(inputs["input_ids"])
            start, end = runner.span(case)
            embeddings[0, start:end] = image[0]
            logits = llm(inputs_embeds=embeddings).logits
            torch.testing.assert_close(logits, model(**inputs).logits, rtol=0, atol=1e-5)
        if "<" not in case.question:
            ids = [tokenizer(part).input_ids for part in LlavaRunner.parts(case)]
            assert ids[1][0] == tiny.BOS_ID
            assert ids[0] + [IMAGE_INDEX] * (end - start) + ids[1][1:] == runner.prompt_ids(case), case


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    files = [load_file(file) for file in folder.glob("*.safetensors")] + [torch.load(file) for file in folder.glob("*.bin")]
    return {name: tensor for tensors in files for name, tensor in tensors.items()}


SINK_DIMENSIONS = {"llava-original": (5, 38), "vila": (14, 61), "vila1.5": (3, 29)}
SINK_THRESHOLD = {"llava-original": 2.8, "vila": 2.4, "vila1.5": 2.8}
STOP_GAIN = {"llava-original": 1.3, "vila": 1.1, "vila1.5": 1.2}
SMALLEST_GAP = 5e-3


def write(output: Path, release: Release, seed: int) -> None:
    tokenizer = original.train_sentencepiece(CORPUS, PIECES)
    for number, make in enumerate((original_llava, vila, vila_15)):
        checkpoint = make(tokenizer)
        folder, dimensions = output / checkpoint.name, SINK_DIMENSIONS[checkpoint.name]
        runner = make_runner(checkpoint, output / "images", seed + 10 + number)
        save(checkpoint, runner.model, output, seed + 10 + number)
        own, other = checkpoint.rules
        chosen = choose_cases(runner, [replace(case, image_rule=own) for case in pool()], SMALLEST_GAP, 4)
        chosen += other_rule(runner, [case for case, _ in chosen], other)
        check_loads(output, runner, [case for case, _ in chosen])
        traced = [number for number, (case, _) in enumerate(chosen) if case.template == "plain"][:2]
        settings = VarSettings("base", "paper", dimensions, SINK_THRESHOLD[checkpoint.name], 0.65, 0.1, 0.6)
        about = {"vision_path": original.TOWER} if checkpoint.name == "llava-original" else {}
        write_golden(folder, runner, chosen, traced, settings, release, about=about)


def make_runner(checkpoint: OriginalCheckpoint, images: Path, seed: int) -> OriginalRunner:
    """Draws the weights, plants the sinks, and rounds to what the files hold; everything is computed in float32.

    A tower in a folder of its own is float32 there, so it is not rounded.
    """
    model = tiny.build_model(checkpoint.config)
    vision = checkpoint.config["vision_config"]
    if vision["model_type"] == "siglip_vision_model":
        side = vision["image_size"] // vision["patch_size"]
        model.model.multi_modal_projector = original.MergingProjector(side, vision["hidden_size"], model.config.text_config.hidden_size)
    model.config.image_token_index = PIECES  # all rows of the head are words
    tiny.draw_weights(model, seed, STOP_GAIN[checkpoint.name])
    model.config.image_token_index = PLACEHOLDER
    runner = OriginalRunner(checkpoint, model, images)
    looks = [("shapes.png", 5), ("tall.png", 2), ("gray.png", 15), ("noise.png", 9)]  # image, and a token of it
    probes = [Case(image, QUESTIONS[0], template, checkpoint.rules[0]) for template in TEMPLATES for image, _ in looks]
    tiny.plant_sinks(
        model, runner.decoder, model.model.multi_modal_projector.linear_2.weight, [runner.inputs(probe) for probe in probes],
        [runner.span(probe) for probe in probes], SINK_DIMENSIONS[checkpoint.name],
        image_tokens=[((probe,), looks[probe % len(looks)][1]) for probe in range(len(probes))],
        text_tokens=[8, -6], strength=SINK_STRENGTH,
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if checkpoint.name != "llava-original" or ".vision_tower." not in name:
            parameter.data = parameter.data.to(checkpoint.dtype).float()
    return runner


def other_rule(runner: OriginalRunner, cases: Sequence[Case], rule: str) -> list[tuple[Case, Answer]]:
    """Some of the cases with images made square in another way."""
    chosen = []
    for case in [case for case in cases if case.image in ("wide.png", "tall.png", "transparent.png")][:4]:
        changed = replace(case, image_rule=rule)
        answer = runner.answer(changed)
        if min(answer.gaps) >= SMALLEST_GAP:
            chosen.append((changed, answer))
    return chosen
