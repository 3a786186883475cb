"""A byte-fallback BPE tokenizer of the kind LLaMA has, trained on a small corpus."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE

UNKNOWN, BOS, EOS, IMAGE, PAD = "<unk>", "<s>", "</s>", "<image>", "<pad>"
UNKNOWN_ID, BOS_ID, EOS_ID = 0, 1, 2
BYTE_TOKENS = [f"<0x{value:02X}>" for value in range(256)]
NEWLINE_ID = 3 + 0x0A
WORD_START = "\u2581"


def train_tokenizer(corpus: Iterable[str], pieces: int, legacy: bool) -> dict[str, Any]:
    """Returns a `tokenizer.json` of `pieces` learned tokens behind the three special and 256 byte tokens.

    `legacy` picks the older of the two spellings in use: a normalizer that puts a word-start mark before every text
    segment, also after a special token. The newer one is a pre-tokenizer that marks only the very first segment.
    """
    trained = Tokenizer(BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(WORD_START, prepend_scheme="always"), pre_tokenizers.Digits(individual_digits=True)]
    )
    trained.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=pieces - 1, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    merges = [[WORD_START, WORD_START], *model["merges"]]
    merged = ["".join(pair) for pair in merges]
    letters = [piece for piece in model["vocab"] if len(piece) == 1]  # real vocabularies list letters last, too
    tokens = [UNKNOWN, BOS, EOS, *BYTE_TOKENS, *merged, *letters]
    assert len(tokens) == len(set(tokens)) == 3 + 256 + pieces, (len(tokens), pieces)

    def added(token: str, index: int) -> dict[str, Any]:
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        return {"id": index, "content": token, **flags}

    special = [(UNKNOWN, 0), (BOS, 1), (EOS, 2), (IMAGE, len(tokens)), (PAD, len(tokens) + 1)]
    normalizer = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": WORD_START},
            {"type": "Replace", "pattern": {"String": " "}, "content": WORD_START},
        ],
    }
    metaspace = {"type": "Metaspace", "replacement": WORD_START, "prepend_scheme": "first", "split": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(token, index) for token, index in special],
        "normalizer": normalizer if legacy else None,
        "pre_tokenizer": None if legacy else metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": BOS, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": BOS, "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {BOS: {"id": BOS, "ids": [BOS_ID], "tokens": [BOS]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": WORD_START}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": merges,
        },
    }
