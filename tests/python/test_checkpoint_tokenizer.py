"""The tokenizer: transformers' ids and texts, streaming that adds up, and hostile files refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.checkpoint import Tokenizer
from foresight.checkpoint.tokenizer import load_tokenizer
from foresight.errors import CheckpointError
from support.tiny import tiny_tokenizer

pytest.importorskip("tokenizers")

TEXTS = ["", "the cat", "  two  spaces\n", "naïve €5 日本語 🙂🇨🇭", "<s>the</s> cat<pad>", "a\tb\r\nc"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    loaded = load_tokenizer(folder)
    assert loaded is not None
    return loaded


@pytest.mark.hf
@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_texts_are_those_of_transformers(text: str, folder: Path, tokenizer: Tokenizer) -> None:
    theirs = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)
    for special in (True, False):
        ids = tokenizer.encode(text, add_special_tokens=special)
        assert ids == theirs.encode(text, add_special_tokens=special)
        for skip in (True, False):
            assert tokenizer.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)
    assert tokenizer.vocab_size == len(theirs)
    assert tokenizer.vocabulary() == theirs.get_vocab()


def test_special_ids(tokenizer: Tokenizer) -> None:
    ids = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id)
    assert ids == (0, 1, 2, 3)
    assert tokenizer.token(2) == "</s>"
    assert tokenizer.token_id("</s>") == 2
    assert tokenizer.token(10**6) is None
    assert tokenizer.token(-1) is None
    assert tokenizer.token_id("no such token") is None


def test_ids_that_cannot_be(tokenizer: Tokenizer) -> None:
    for ids in ([-1], [2**32], [3, -(2**70)]):
        with pytest.raises(ValueError, match="token ids from"):
            tokenizer.decode(ids)
    assert tokenizer.decode([10**9]) == ""
    with pytest.raises(TypeError, match="expected text"):
        tokenizer.encode(3)  # type: ignore[arg-type]


@given(text=st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_streamed_pieces_add_up(text: str, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    stream = tokenizer.stream()
    pieces = [stream.put(i) for i in ids]
    assert not any(piece.endswith("\ufffd") and "\ufffd" not in text for piece in pieces)
    assert "".join(pieces) + stream.end() == tokenizer.decode(ids)


@given(ids=st.lists(st.integers(0, 319), max_size=40), size=st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_any_ids_stream_to_the_decoded_text(ids: list[int], size: int, tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream()
    pieces = [stream.put(ids[i : i + size]) for i in range(0, len(ids), size)]
    if len(ids) < 32:  # longer runs of bytes that are no text are not held back for ever
        assert "".join(pieces) + stream.end() == tokenizer.decode(ids)


def test_a_stream_holds_back_half_characters_only(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream()
    pieces = [stream.put(i) for i in tokenizer.encode("é🙂!", add_special_tokens=False)]
    assert pieces == ["", "é", "", "", "", "🙂", "!"]
    stray = tokenizer.encode("🙂", add_special_tokens=False)[0]
    assert any(stream.put(stray) for _ in range(40))


def test_a_folder_without_one(tmp_path: Path) -> None:
    assert load_tokenizer(tmp_path) is None


def test_special_tokens_map_serves_where_there_is_no_config(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    tokens = {"eos_token": {"content": "</s>", "lstrip": False}, "pad_token": None, "mask_token": "gone"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(tokens))
    loaded = load_tokenizer(tmp_path)
    assert loaded is not None
    assert (loaded.eos_token_id, loaded.pad_token_id, loaded.mask_token_id) == (2, None, None)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": 3}')
    with pytest.raises(CheckpointError, match="eos_token is 3"):
        load_tokenizer(tmp_path)


def test_padding_and_truncation_of_the_file_are_off(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["padding"] = {
        "strategy": {"Fixed": 10**15},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    content["truncation"] = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = load_tokenizer(tmp_path)
    assert loaded is not None
    assert 2 < len(loaded.encode("the cat")) < 10


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(kind: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "Sequence", kind: parts}


DOUBLE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
HOSTILE: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("doubling", lambda c: c.update(normalizer=sequence("normalizers", [DOUBLE] * 40)), "times longer"),
    ("doubling back", lambda c: c.update(decoder=sequence("decoders", [DOUBLE] * 40)), "times longer"),
    (
        "empty match",
        lambda c: c.update(normalizer={"type": "Replace", "pattern": {"Regex": ""}, "content": "x" * 100_000}),
        "times longer",
    ),
    (
        "bytes of bytes",
        lambda c: c.update(pre_tokenizer=sequence("pretokenizers", [{"type": "ByteLevel"}] * 30)),
        "times longer",
    ),
    (
        "repeated text",
        lambda c: c["post_processor"].update(single=[{"Sequence": {"id": "A", "type_id": 0}}] * 70_000),
        "post_processor has more than",
    ),
    ("long pattern", lambda c: c.update(pre_tokenizer=split("x" * 70_000)), "pattern of 70000 characters"),
    ("nested pattern", lambda c: c.update(pre_tokenizer=split("(" * 9000 + ")" * 9000)), "refuses it"),
    (
        "panic",
        lambda c: c.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA////"}),
        "tokenizers library",
    ),
    ("unknown", lambda c: c.update(model={"type": "Magic"}), "refuses it"),
    ("no model", lambda c: c.pop("model"), "refuses it"),
    ("merge of nothing", lambda c: c["model"]["merges"].append(["zz", "qq"]), "refuses it"),
]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_files_are_refused(
    change: Callable[[dict[str, Any]], Any], message: str, folder: Path, tmp_path: Path
) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(tmp_path)
    assert "tokenizer.json" in str(caught.value)
    assert message in str(caught.value)


def test_cyclic_and_deep_json_is_refused(tmp_path: Path) -> None:
    deep = '{"normalizer": ' + '{"type": "Sequence", "normalizers": [' * 500 + "]}" * 500 + "}"
    for text in (deep, "[]", "", '{"version": "1.0", "version": "1.0"}', "3"):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
            load_tokenizer(tmp_path)


def test_a_pattern_that_backtracks_for_ever_is_an_error(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["pre_tokenizer"] = split("(x+x+)+y")
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = load_tokenizer(tmp_path)
    assert loaded is not None
    with pytest.raises(CheckpointError, match="tokenizers library"):
        loaded.encode("x" * 40)
