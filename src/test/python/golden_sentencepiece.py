"""Makes the golden files of the tokenizers that come as `tokenizer.model`: what the slow tokenizers of transformers make of texts.

    python golden_sentencepiece.py --output src/test/resources/golden

Trains two tiny SentencePiece models on a corpus made here, puts them into folders laid out like published ones, and asks the
reference tokenizers: `LlamaTokenizer` of transformers, before (`legacy`) and after its change of the space before a text, and
InternLM2's, which is remote code and is written anew below. Only folders named `sentencepiece-…` are touched; `golden.py` calls this.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import sentencepiece
import transformers
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from tokenizers import AddedToken
from transformers import LlamaTokenizer, PreTrainedTokenizer

SEED = 20264
IMAGE_INDEX = -200
"""What the original code of LLaVA and VILA puts where the image goes."""
SENTENCEPIECE = "0.2.0"
"""The version inside the Java binding. Later ones take a piece that is NUL for unused."""
PIECES = 600
MODEL = "normalizer_spec"

# --------------------------------------------------------------------------------------------------------- corpus

WORDS = (
    "the a of and in is on what where which how many there to this picture image color red green blue circle square triangle"
    " left right above below between large small object person dog cat house tree street water sky answer question please"
    " describe shown number two three look see white black yellow standing holding near under behind user assistant curious"
    " artificial intelligence helpful detailed polite answers user's it's don't can't"
).split()
CHINESE = "图片中有一个红色的圆形和蓝色三角请描述这张照片里什么物体在左边右边有多少只狗猫人天空水树房子街道"
JAPANESE = "この画像には何がありますか赤い丸と青い四角の絵"


def corpus() -> Iterator[str]:
    """Sentences whose merges give pieces of all kinds: words, runs of blanks, digits, punctuation, characters of Chinese."""
    draw = random.Random(SEED)
    for number in range(1200):
        words = [draw.choice(WORDS) for _ in range(draw.randint(3, 12))]
        if number % 5 == 0:
            words.insert(0, words.pop(0).capitalize())
            words[-1] += draw.choice(".?!")
        text = " ".join(words)
        if number % 7 == 0:
            text = " " * draw.randint(1, 5) + text.replace(" ", " " * draw.randint(1, 4), 2)
        if number % 11 == 0:
            text += f", {draw.randint(0, 2030)} x {draw.randint(1, 99)}.{draw.randint(0, 9)}"
        yield text
    for _ in range(300):
        yield "".join(draw.choice(CHINESE) for _ in range(draw.randint(4, 14))) + draw.choice("。？，")
    for _ in range(80):
        yield "".join(draw.choice(JAPANESE) for _ in range(draw.randint(4, 12)))
    for _ in range(60):
        yield " ".join(draw.choice(["größte", "Übermut", "café", "naïve", "año"]) for _ in range(4))


def train(**settings: Any) -> model_pb2.ModelProto:
    """A model without traces of the machine: the corpus goes in and the file comes out through memory."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=written, model_type="bpe", vocab_size=PIECES, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
        character_coverage=0.995, num_threads=1, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2, **settings,
    )  # fmt: skip
    return model_pb2.ModelProto.FromString(written.getvalue())


def llama_model() -> model_pb2.ModelProto:
    """As LLaMA's: a space is put before a text, and blanks are kept."""
    return train(add_dummy_prefix=True)


UNUSED = [f"[UNUSED_TOKEN_{141 + number}]" for number in range(6)]


def internlm2_model() -> model_pb2.ModelProto:
    """As InternLM2's: no space before a text, the last pieces reserved under names of their own, a piece for NUL."""
    model = train(add_dummy_prefix=False, user_defined_symbols=UNUSED)
    reserved = {piece.piece: piece for piece in model.pieces if piece.piece in UNUSED}
    ordinary = [piece for piece in model.pieces if piece.piece not in UNUSED]
    ordinary[-1].piece = "\0"
    pieces = [model_pb2.ModelProto.SentencePiece.FromString(p.SerializeToString()) for p in [*ordinary, *(reserved[n] for n in UNUSED)]]
    del model.pieces[:]
    model.pieces.extend(pieces)
    return model


# --------------------------------------------------------------------------------------------- reference tokenizers


class InternLM2Tokenizer(PreTrainedTokenizer):
    """What `tokenization_internlm2.py` of the published InternLM2 and InternVL2 folders does, in words of our own.

    Texts between added tokens go to SentencePiece as they are. Decoding cleans up spaces before punctuation whatever the
    settings say. The original also looks up whether the first token begins with a space, but compares a name with ids, so
    that it always adds one and always takes it away again.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model"}

    def __init__(self, vocab_file: str, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>", sp_model_kwargs=None,
                 add_bos_token=True, add_eos_token=False, decode_with_prefix_space=False, clean_up_tokenization_spaces=False, **more):  # fmt: skip
        self.add_bos_token, self.add_eos_token = add_bos_token, add_eos_token
        self.sp_model = sentencepiece.SentencePieceProcessor(**(sp_model_kwargs or {}))
        self.sp_model.Load(vocab_file)
        super().__init__(
            bos_token=bos_token, eos_token=eos_token, unk_token=unk_token, pad_token=pad_token,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces, **more,
        )  # fmt: skip

    @property
    def vocab_size(self) -> int:
        return self.sp_model.get_piece_size()

    def get_vocab(self) -> dict[str, int]:
        names = [self.convert_ids_to_tokens(index) for index in range(self.vocab_size)]
        return {name: index for index, name in enumerate(names)} | self.added_tokens_encoder

    def _tokenize(self, text: str) -> list[str]:
        return self.sp_model.encode(text, out_type=str)

    def _convert_token_to_id(self, token: str) -> int:
        return self.sp_model.piece_to_id(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.sp_model.id_to_piece(index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        text, run, after_special = "", [], False
        for token in tokens:
            special = token in self.all_special_tokens
            if special:
                text += ("" if after_special else " ") + self.sp_model.decode(run) + token
                run = []
            else:
                run.append(token)
            after_special = special
        return self.clean_up_tokenization(text + self.sp_model.decode(run))

    def build_inputs_with_special_tokens(self, ids: list[int], more: list[int] | None = None) -> list[int]:
        begin = [self.sp_model.bos_id()] if self.add_bos_token else []
        end = [self.sp_model.eos_id()] if self.add_eos_token else []
        return begin + ids + (more or []) + end


def made_private(tokenizer: PreTrainedTokenizer) -> tuple[PreTrainedTokenizer, dict[str, str]]:
    """Renames the added tokens to what nobody types, so that only a template can hold them; and hides their pieces from texts."""
    names = {token.content: f"\ue000{index}\ue001" for index, token in tokenizer.added_tokens_decoder.items()}
    renamed = {
        index: AddedToken(names[token.content], lstrip=token.lstrip, rstrip=token.rstrip, single_word=token.single_word,
                          normalized=token.normalized, special=token.special)
        for index, token in tokenizer.added_tokens_decoder.items()
    }  # fmt: skip
    tokenizer._added_tokens_decoder = renamed
    tokenizer._added_tokens_encoder = {token.content: index for index, token in renamed.items()}
    from transformers.tokenization_utils import Trie  # Gone from transformers 5, which the rest of this file can do with.

    tokenizer.tokens_trie = Trie(names.values())
    for key, value in tokenizer._special_tokens_map.items():
        if key == "additional_special_tokens":
            tokenizer._special_tokens_map[key] = [names[str(token)] for token in value]
        elif value is not None and key != "unk_token":
            tokenizer._special_tokens_map[key] = names[str(value)]
    # LlamaTokenizer puts the text of the unknown token before others, so that one keeps its name beside the new one.
    tokenizer._special_tokens_map["additional_special_tokens"].append(names[tokenizer.unk_token])
    model = model_pb2.ModelProto.FromString(tokenizer.sp_model.serialized_model_proto())
    for index, piece in enumerate(model.pieces):
        if (index in renamed or piece.piece in names) and piece.type != model_pb2.ModelProto.SentencePiece.UNKNOWN:
            piece.type = model_pb2.ModelProto.SentencePiece.CONTROL
    tokenizer.sp_model.LoadFromSerializedProto(model.SerializeToString())
    return tokenizer, names


# ---------------------------------------------------------------------------------------------------------- folders


def token(content: str, **flags: bool) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False} | flags


def old_token(content: str) -> dict[str, Any]:
    return {"__type": "AddedToken"} | token(content)


@dataclass
class Folder:
    """A folder to write, its tokenizer, and what is asked beyond the common texts."""

    name: str
    model: model_pb2.ModelProto
    tokenizer: type[PreTrainedTokenizer]
    files: dict[str, Any]
    added: list[str]
    """Added tokens to be written into texts."""
    variants: list[dict[str, Any]] = field(default_factory=list)
    """Changes to `tokenizer_config.json` for a second look; under `MODEL`, to the model's normalizer."""
    texts: list[str] = field(default_factory=list)


def llama_legacy() -> Folder:
    """As the first LLaVA folders: no word on `legacy`, tokens in three files."""
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": old_token("<s>"),
        "clean_up_tokenization_spaces": True,
        "eos_token": old_token("</s>"),
        "model_max_length": 2048,
        "pad_token": None,
        "padding_side": "right",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": old_token("<unk>"),
    }
    special = {
        "additional_special_tokens": [token("<im_end>", lstrip=True), "<mark>"],
        "bos_token": token("<s>"),
        "eos_token": token("</s>"),
        "pad_token": "<pad>",
        "unk_token": token("<unk>", normalized=True),
    }
    added = {"<im_end>": PIECES + 2, "<im_start>": PIECES + 1, "<pad>": PIECES}
    return Folder(
        "sentencepiece-llama-legacy", llama_model(), LlamaTokenizer,
        {"tokenizer_config.json": config, "special_tokens_map.json": special, "added_tokens.json": added},
        ["<s>", "</s>", "<unk>", "<pad>", "<im_start>", "<im_end>", "<mark>"],
        [{"legacy": False}, {"add_bos_token": False, "add_eos_token": True}, {"clean_up_tokenization_spaces": False},
         {MODEL: {"remove_extra_whitespaces": True}}, {MODEL: {"remove_extra_whitespaces": True}, "legacy": False}],
    )  # fmt: skip


def llama() -> Folder:
    """As newer folders: `legacy` is false, and one file lists all added tokens, some of which take blanks with them."""
    listed = [
        token("<unk>"), token("<s>"), token("</s>"),
        token("<pad>"), token("<image>"), token("<left>", lstrip=True), token("<right>", rstrip=True),
        token("<word>", single_word=True), token("<plain>", special=False, normalized=True), token("<unlisted>"),
        token("<image>s", special=False),
    ]  # fmt: skip
    decoder = {str(index if index < 3 else PIECES + index - 3): {"special": True} | each for index, each in enumerate(listed)}
    # Also pieces of the model. Their ids leave room for <new>, which is given the first one behind the number of names.
    decoder[str(PIECES + len(listed))] = token("\u2581red", special=False)
    decoder[str(PIECES + len(listed) + 1)] = token("\u2581blue", special=True)
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": True,
        "added_tokens_decoder": decoder,
        "additional_special_tokens": ["<image>", "<left>", "<right>", "\u2581blue", "<new>"],
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": False,
        "model_max_length": 4096,
        "pad_token": "<pad>",
        "padding_side": "right",
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    names = [each["content"] for each in listed]
    return Folder(
        "sentencepiece-llama", llama_model(), LlamaTokenizer, {"tokenizer_config.json": config}, [*names, "<new>"],
        [{"legacy": True}, {"add_prefix_space": False}, {"add_prefix_space": False, "legacy": True}, {"add_prefix_space": None},
         {"legacy": None, "clean_up_tokenization_spaces": True}, {"add_eos_token": True},
         {"pad_token": old_token("<pad>") | {"lstrip": True}, "additional_special_tokens": ["<image>", old_token("<right>"), "\u2581blue"]}],
        ["a <left> b", "a  <left>", "\u00a0<left>x", "a <right>\u3000 b", "<right>", "<left><right> <left>", "<right>\u200b x", " \x1c<left>",
         "a<word>b", "a <word> b", "a <word>b", "<word>", "<word>s", "a<word>", "<plain> <plain>", "<images", "<image>s<image>",
         "\u2581<image>", "  <image>", "<image>\u2581x", "red", "a red circle", "\u2581red", "<image>red", "<image> red", "the blue red",
         "\u0085 <left> \u1680\u2029", "\u2028<left>", "a \x1f<left>", "a\u202f<left>", "a\u180e<left>", "a <pad>",
         "<right>\u00a0x", "<right> \u0085x"],
    )  # fmt: skip


def internlm2() -> Folder:
    """As InternVL2: reserved pieces get other names, further tokens come behind them."""
    renamed = ["<|plugin|>", "<|interpreter|>", "<|action_end|>", "<|action_start|>", "<|im_end|>", "<|im_start|>"]
    further = ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]
    at = {0: "<unk>", 1: "<s>", 2: "</s>"} | {PIECES - len(renamed) + index: name for index, name in enumerate(renamed + further)}
    config = {
        "added_tokens_decoder": {str(index): token(name, special=True) for index, name in at.items()},
        "additional_special_tokens": [*reversed(renamed), *further],
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "model_max_length": 8192,
        "pad_token": "</s>",
        "tokenizer_class": "InternLM2Tokenizer",
        "unk_token": "<unk>",
    }
    special = {"additional_special_tokens": config["additional_special_tokens"], "bos_token": "<s>", "eos_token": "</s>",
               "pad_token": "</s>", "unk_token": "<unk>"}  # fmt: skip
    return Folder(
        "sentencepiece-internlm2", internlm2_model(), InternLM2Tokenizer,
        {"tokenizer_config.json": config, "special_tokens_map.json": special,
         "added_tokens.json": {name: index for index, name in at.items() if index > 2}},
        ["<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<img>", "<IMG_CONTEXT>", "</img>"],
        [{"add_bos_token": False, "add_eos_token": True}, {"clean_up_tokenization_spaces": True}],
        ["[UNUSED_TOKEN_145]", "a [UNUSED_TOKEN_146]user", "[UNUSED_TOKEN_141][UNUSED_TOKEN_142]", "[UNUSED_TOKEN_1",
         "<|im_start|>system\n你是由上海人工智能实验室开发的模型。<|im_end|><|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT></img>\nWhat?<|im_end|>"
         "<|im_start|>assistant\n"],
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ texts

TEXTS = [
    # blanks
    "", " ", "  ", "   ", "      ", "\n", "\n\n", " \n ", "\t", "\r\n", "Hello", " Hello", "  Hello", "Hello ", "Hello  ", "  two  sides  ",
    "Hello  world", "a   b    c", "the picture", " the picture", "What is in the image?", "line one\nline two\n", "\nWhat is this?",
    "tab\tand\rreturn", "  indented\n    more\n", "\x0b\x0c\x1c\x85", "\u00a0nbsp\u2003em\u3000wide", "trailing newline \n",
    # digits and marks
    "2024", "3.14159", "1 2 3", "x1y22z333", "1,234,567", "it's the user's", "(a/b) - \"c\"!", "what ?! no , yes .", "don't 've n't 'm ' s",
    "a@b.c #d $e %f ^g &h *i", "A chat between a curious user and an artificial intelligence assistant.", "USER: what? ASSISTANT:",
    # languages
    "größte Übermut", "café cafe\u0301", "e\u0301\u0302\u0323", "图片里有什么？", "请描述这张照片。", " 中文", "中 文", "龍鳳龜", "a图b片",
    "日本語 テキスト", "この画像には何がありますか？", "한국어", "العربية من اليمين", "שלום עולם", "\u202eright\u202c", "Ελληνικά", "русский текст",
    "ไทย", "हिन्दी", "𝕏𝟲𝟬 𠮷",
    # pictures and odd characters
    "🦊", "a🦊b", "🦊🦊", " 🦊 ", "👩‍👩‍👧", "👍🏽", "🇩🇪", "zero\u200bwidth\u200djoiner", "\ufeffmark", "soft\u00adhyphen", "\u2581", "\u2581\u2581", "a\u2581b",
    "\u2581a", " \u2581 a", "a \u2581", "\ufffd", "\ufffe\uffff", "\ufdd0 \ufdd1", "\ue0001\ue001", "\U0010ffff", "\u0000", "a\u0000b", "\u0000\u0000 \u0000", "\x01\x7f",
    # what looks special
    "<s", "s>", "<0x0A>", "<0xE2>", "<unk", "<imag", "<IMAGE>", "[INST] hi [/INST]", "<|endoftext|>", "<<SYS>>", "&lt;s&gt;",
]  # fmt: skip

AROUND = ["{0}", " {0}", "{0} ", " {0} ", "a{0}b", "a {0} b", "a  {0}  b", "{0}{0}", "{0} {0}", "\n{0}\n", "{0}图", "图{0}", "one{0}two {0} three",
          "\u2581{0}\u2581", "{0}\u0000", "🦊{0}🦊", "<{0}>", "What is {0}? {0}."]  # fmt: skip

QUESTIONS = ["What is in the image?", " leading", "trailing ", "", "\n", "图片里有什么？", "🦊 2024", "a</s>b", "<s>", "<image> <pad>", "[UNUSED_TOKEN_145]<|im_end|>",
             "\u2581x", "<unk> \ue0001\ue001", "a\u0000b"]  # fmt: skip

LONG = {"the quick 图片 🦊\n  ": 6000, "a": 100_000, "word ": 20_000, "龍": 34_000}
"""Texts of about 100,000 characters: what is repeated how often."""


def texts(folder: Folder) -> list[str]:
    written = [around.format(name) for name in folder.added for around in AROUND]
    mixed = [first + joint + second for first in folder.added for second in folder.added[:3] for joint in ("", " ", " a ")]
    return list(dict.fromkeys([*TEXTS, *folder.texts, *written, *mixed]))


def decoded(tokenizer: PreTrainedTokenizer, folder: Folder) -> Iterator[list[int]]:
    """Lists of ids to decode: encoded texts, bytes that are and are not UTF-8, special tokens anywhere, and random ones."""
    for text in texts(folder):
        yield tokenizer(text, add_special_tokens=False).input_ids
    byte = {value: tokenizer.sp_model.piece_to_id(f"<0x{value:02X}>") for value in range(256)}
    for value in ("é", "🦊", "龍鳳", "\n", "a\0b", "\ufffd"):
        yield [byte[each] for each in value.encode()]
    fox, wave = [byte[each] for each in "🦊".encode()], [byte[each] for each in "é".encode()]
    broken = [b"\xc3", b"\xf0\x9f\xa6", b"\xa9\xc3\xa9", b"\xc0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80", b"\xff\xfe", b"\xe2\x96\x81", b"\xe0\x80\x80a"]
    for each in broken:
        yield [byte[value] for value in each]
    piece = tokenizer.sp_model.piece_to_id
    space, two, word, inner = piece("\u2581"), piece("\u2581\u2581"), piece("\u2581the"), piece("er")
    specials = [tokenizer.convert_tokens_to_ids(name) for name in folder.added]
    yield from ([space], [space, space], [two], [two, word], [space, word], [word], [inner], [space, inner], [word, space], [word, two, inner])
    yield from ([space, *fox], [*fox[:2], space, *fox[2:]], [*fox[:2], word, *fox[2:]], [*wave, word], [word, *wave, *fox])
    for special in specials:
        yield from ([special], [special, word], [special, space, word], [word, special], [word, special, word], [word, special, special, inner],
                    [*fox[:2], special, *fox[2:]], [space, special, space], [special, two, word, special])  # fmt: skip
    draw = random.Random(SEED)
    known = sorted({*range(PIECES), *tokenizer.added_tokens_decoder})
    for _ in range(150):
        yield [draw.choice(known) for _ in range(draw.randint(1, 24))]
    ordinary = [index for index in range(259, PIECES) if index not in tokenizer.added_tokens_decoder]
    for _ in range(100):
        yield [draw.choice(ordinary) for _ in range(draw.randint(1, 12))]


# ------------------------------------------------------------------------------------------------------------ files


def around_image(tokenizer: PreTrainedTokenizer, prompt: str) -> list[int]:
    """The way of the original LLaVA and VILA: every text around an image on its own, and one BOS."""
    first, *rest = (tokenizer(text).input_ids for text in prompt.split("<image>"))
    keep = 1 if first[:1] == [tokenizer.bos_token_id] else 0
    return first + [each for ids in rest for each in [IMAGE_INDEX, *ids[keep:]]]


def prompts(folder: Folder) -> Iterator[list[dict[str, str]]]:
    """Templates with questions in them; only the template holds special tokens."""
    special = {"special": folder.added[-2] if folder.tokenizer is InternLM2Tokenizer else folder.added[4]}
    for question in QUESTIONS:
        yield [{"text": "USER: "}, special, {"text": "\n"}, {"text": question}, {"text": " ASSISTANT:"}]
        yield [special, {"text": question}]
        yield [{"text": question}, special, special, {"text": " " + question}]
        yield [{"text": question}]
        yield [{"special": folder.added[0]}, {"text": " "}, special]


def tokens_document(folder: Folder, path: Path) -> dict[str, Any]:
    def load() -> PreTrainedTokenizer:
        return folder.tokenizer.from_pretrained(path)

    tokenizer = load()
    private, names = made_private(load())
    asked = texts(folder)
    fresh = [text for text in asked if "\ue000" not in text]
    document: dict[str, Any] = {
        "encode": [{"text": text, "ids": tokenizer(text).input_ids} for text in asked],
        "encode_without_bos": [{"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids} for text in asked],
        "encode_as_words": [{"text": text, "ids": private(text).input_ids} for text in fresh],
        "prompts": [
            {"pieces": pieces, "ids": private("".join(names[p["special"]] if "special" in p else p["text"] for p in pieces)).input_ids}
            for pieces in prompts(folder)
            if not any("\ue000" in piece.get("text", "") for piece in pieces)
        ],
        "long": [
            {"text": text, "times": times, "length": len(ids), "crc32": zlib.crc32(b"".join(each.to_bytes(4, "big") for each in ids))}
            for text, times in LONG.items()
            for ids in [tokenizer(text * times).input_ids]
        ],
        "decode_skipping_special": [
            {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in decoded(tokenizer, folder)
        ],
    }
    if folder.tokenizer is LlamaTokenizer:
        document["around_image"] = [
            {"before": before, "after": after, "ids": around_image(tokenizer, before + "<image>" + after)}
            for before in ("A chat. USER: ", "", " ", "USER:", "图", "a\n")
            for after in ("\nWhat is this? ASSISTANT:", "", " ", "\n", " the", "the", "🦊", "图？")
        ]
    return document


def variant(folder: Folder, path: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """What becomes of the texts that tell settings apart, when `tokenizer_config.json` is changed."""
    with tempfile.TemporaryDirectory() as temporary:
        changed = Path(shutil.copytree(path, Path(temporary) / folder.name))
        model = model_pb2.ModelProto.FromString(folder.model.SerializeToString())
        for key, value in changes.get(MODEL, {}).items():
            setattr(model.normalizer_spec, key, value)
        (changed / "tokenizer.model").write_bytes(model.SerializeToString(deterministic=True))
        settings = {key: value for key, value in changes.items() if key != MODEL}
        config = folder.files["tokenizer_config.json"] | settings
        (changed / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
        tokenizer = folder.tokenizer.from_pretrained(changed)
        lists = [tokenizer(text).input_ids for text in texts(folder)]
        return {
            "tokenizer_config": settings,
            MODEL: changes.get(MODEL, {}),
            "encode": lists,
            "decode_skipping_special": [
                {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in lists
            ],
        }  # fmt: skip


def write_json(file: Path, document: Any, **how: Any) -> None:
    file.write_text(json.dumps(document, ensure_ascii=True, **how) + "\n", "utf-8")


def write_folder(folder: Folder, output: Path) -> None:
    path = output / folder.name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path / "tokenizer.model").write_bytes(folder.model.SerializeToString(deterministic=True))
    for name, document in folder.files.items():
        write_json(path / name, document, indent=2)
    document = tokens_document(folder, path) | {"variants": [variant(folder, path, changes) for changes in folder.variants]}
    write_json(path / "tokens.json", document, separators=(",", ":"))
    size = sum(file.stat().st_size for file in path.iterdir())
    print(f"{folder.name}: {len(document['encode'])} texts, {len(document['decode_skipping_special'])} decoded, {size} bytes")


def write(output: Path, release: object = None, seed: int = SEED) -> None:
    """Makes the folders anew. They depend neither on the release nor on the seed, which are there for `golden.py`."""
    if sentencepiece.__version__ != SENTENCEPIECE:
        raise SystemExit(f"sentencepiece must be {SENTENCEPIECE}, not {sentencepiece.__version__}")
    makers: Sequence[Callable[[], Folder]] = (llama_legacy, llama, internlm2)
    for make in makers:
        write_folder(make(), output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to fill; its sentencepiece-… folders are made anew")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    write(arguments.output)


if __name__ == "__main__":
    main()
