"""Writes what `train.py` trained as a checkpoint folder in the layout of llava-hf.

    python export.py --state runs/answers.pt --output ../resources/io/sinklens/demo/checkpoint --card card.md

The weights are rounded to bfloat16 and nothing else changes. The tokenizer is trained anew from `demo_model.corpus()`, so
export with the same sources that trained. At the end transformers opens the folder, and must find every weight, the ids of a
prompt and the pixel values of an image as they were in training.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import AutoImageProcessor, AutoProcessor, LlavaConfig, LlavaForConditionalGeneration

import demo_model as demo
import llama_tokenizer as llama
import llava_files as files
import scenes


def documents(tokenizer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The JSON files of the folder."""
    config = demo.config(tokenizer)
    size = {"height": demo.IMAGE_SIZE, "width": demo.IMAGE_SIZE}
    return {
        "config.json": config,
        "generation_config.json": files.generation_config(config["pad_token_id"]),
        "preprocessor_config.json": files.clip_preprocessor(demo.IMAGE_SIZE, size=size, do_center_crop=False),
        "processor_config.json": files.llava_processor(demo.PATCH),
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": files.tokenizer_config(tokenizer),
        "special_tokens_map.json": files.SPECIAL_TOKENS_MAP,
    }


def rounded(weights: dict[str, torch.Tensor], config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights in bfloat16, by their names in the file. They must be exactly those of the architecture."""
    with torch.device("meta"):
        wanted = LlavaForConditionalGeneration(LlavaConfig(**config)).state_dict()
    shapes, found = ({name: tuple(tensor.shape) for name, tensor in each.items()} for each in (wanted, weights))
    if shapes != found:
        raise ValueError(f"the state is not of this architecture; different: {sorted(shapes.items() ^ found.items())}")
    return {files.old_names(name): weights[name].detach().to(torch.bfloat16).contiguous() for name in wanted}


def check(folder: Path, tensors: dict[str, torch.Tensor], prompts: demo.Prompts) -> None:
    """transformers' own loaders find in the folder what was trained."""
    model, report = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not any(report.values()), report
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, tensors[files.old_names(name)]), name
    example = scenes.example(0, 0)
    question = example.questions[1].text
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    text = f"{demo.SYSTEM}USER: {llama.IMAGE}\n{question} ASSISTANT:"
    inputs = processor(images=example.image, text=text, return_tensors="pt")
    image = [prompts.image_token] * demo.IMAGE_TOKENS
    assert inputs["input_ids"][0].tolist() == [*prompts.prefix(demo.SYSTEM), *image, *prompts.question(question)]
    torch.testing.assert_close(inputs["pixel_values"], demo.pixel_values([example.image]), rtol=0, atol=1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="what train.py saved")
    parser.add_argument("--output", type=Path, required=True, help="folder to fill; what it held is removed")
    parser.add_argument("--card", type=Path, help="model card, copied as README.md")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    state = torch.load(arguments.state, map_location="cpu", weights_only=True)
    tokenizer = llama.train_tokenizer(demo.corpus(), demo.PIECES, legacy=False)
    tensors = rounded(state["model"], demo.config(tokenizer))
    card = arguments.card.read_bytes() if arguments.card else None
    shutil.rmtree(arguments.output, ignore_errors=True)
    files.write_documents(arguments.output, documents(tokenizer))
    files.write_tensors(arguments.output / "model.safetensors", tensors, {"format": "pt"})
    if card:
        (arguments.output / "README.md").write_bytes(card)
    check(arguments.output, tensors, demo.Prompts.of(tokenizer))
    parameters = sum(tensor.numel() for tensor in tensors.values())
    size = sum(file.stat().st_size for file in arguments.output.iterdir())
    print(f"{parameters} parameters after {state['step']} steps, {size} bytes in {arguments.output}")


if __name__ == "__main__":
    main()
