"""Makes the golden `.bin` files: what torch and transformers write when weights are not safetensors.

    python pickles.py --output src/test/resources/golden

`pickles` gets small files of `torch.save`, each beside a safetensors file of the same values where it is to be readable.
`llava-bin` gets the checkpoint `llava-mha` in float16, written as shards by transformers itself, with its answers in float32.
`golden.py` calls this at its end; alone it makes these two folders anew and needs `llava-mha` and the images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import save_file
from transformers import LlavaForConditionalGeneration

import golden
import golden_cases
import redistribution as var
import tiny_llava as tiny

SOURCE, CHECKPOINT = "llava-mha", "llava-bin"
COPIED = ("preprocessor_config.json", "processor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")
SMALLEST_GAP = 5e-3
OVERWRITTEN = "pickle-was-run"
"""A file that the hostile pickle would make in the working directory, were it ever run."""


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {OVERWRITTEN}",)


def mixed() -> OrderedDict[str, Any]:
    """Every type, tensors that share a storage or are pieces of one, parameters, and what else a state dict has."""
    base = torch.arange(24, dtype=torch.float32).reshape(6, 4) / 8 - 1
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) * 0.25 + number)
    tensors = module.state_dict(keep_vars=True)  # parameters, and an OrderedDict with `_metadata`
    tensors |= {
        "half": torch.tensor([1.0, -2.0, 1 / 3, 2.0**-24, 65504.0, -0.0], dtype=torch.float16),
        "brain": torch.tensor([[1.0, -2.0], [1 / 3, 2.0**-130], [3e38, -0.0]], dtype=torch.bfloat16),
        "whole": base,
        "same": base,
        "rows": base[2:5],
        "row": base[3],
        "last": base[5, 3],
        "column-of-one-row": base[1:2].t()[:, 0],
        "strides-of-one": torch.arange(5.0).expand(1, 1, -1),
        "none": torch.zeros(0, 3),
        "position_ids": torch.arange(17)[None],
        "double": torch.tensor([0.1], dtype=torch.float64),
        "int32": torch.tensor([-7], dtype=torch.int32),
        "int16": torch.tensor([-8], dtype=torch.int16),
        "int8": torch.tensor([-9], dtype=torch.int8),
        "uint8": torch.tensor([200], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
    }
    return tensors


def write_pickles(folder: Path) -> None:
    folder.mkdir()
    tensors = mixed()
    torch.save(tensors, folder / "mixed.bin")
    save_file({name: tensor.detach().clone() for name, tensor in tensors.items()}, folder / "mixed.safetensors")
    one = torch.arange(6.0).reshape(2, 3)
    plain = {"weight": one, "epoch": 3, "rate": 1e-4, "done": False, "note": None, "sizes": [1, (2, 2**40), {"a": "b"}]}
    torch.save(plain, folder / "plain-data.bin")
    torch.save({"weight": one, "turned": one.t()}, folder / "transposed.bin")
    torch.save({"state_dict": {"weight": one}}, folder / "nested.bin")
    torch.save([one], folder / "list.bin")
    torch.save({"weight": one, "evil": Hostile()}, folder / "hostile.bin")
    torch.save({"weight": one.to_sparse()}, folder / "sparse.bin")
    torch.save({"weight": one.to(torch.complex64)}, folder / "complex.bin")
    torch.save(torch.nn.Linear(1, 1), folder / "module.bin")
    torch.save({"weight": one}, folder / "protocol-4.bin", pickle_protocol=4)
    torch.save({"epoch": 3}, folder / "old-layout.bin", _use_new_zipfile_serialization=False)


def write_checkpoint(output: Path) -> None:
    """`llava-mha` through transformers into float16 shards; the answers are of those weights, read back, in float32."""
    source, folder = output / SOURCE, output / CHECKPOINT
    model = LlavaForConditionalGeneration.from_pretrained(source, dtype=torch.float16)
    model.config.image_seq_length = golden.multi_head().image_tokens  # the source does not say, and 576 is the default
    model.save_pretrained(folder, safe_serialization=False, max_shard_size="400KB")
    for name in COPIED:
        shutil.copy(source / name, folder / name)
    checkpoint = golden.multi_head()
    assert checkpoint.tokenizer == json.loads((folder / "tokenizer.json").read_text("utf-8"))
    model = LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    runner = golden.LlavaRunner(checkpoint, model, output / "images")
    chosen = golden.choose_llava_cases(runner, SMALLEST_GAP, per_question=4)
    traced = [number for number, (case, _) in enumerate(chosen) if case.template == "plain"][:2]
    golden_cases.write_cases(folder, runner, chosen, traced, "float32")


def write(output: Path, release: var.Release | None, seed: int) -> None:
    torch.manual_seed(seed)
    for name in ("pickles", CHECKPOINT):
        shutil.rmtree(output / name, ignore_errors=True)
    write_pickles(output / "pickles")
    write_checkpoint(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the golden folder; two folders in it are made anew")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    write(arguments.output, None, golden.SEED)


if __name__ == "__main__":
    main()
