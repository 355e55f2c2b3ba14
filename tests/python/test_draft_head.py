"""fs.DraftHead through the whole engine: the tokens, the counters, and heads that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import foresight as fs
from reference.draft_heads.blocks import Block
from reference.draft_heads.recursive import Eagle3, Mtp
from support.tiny import make_tiny
from support.tiny_heads import (
    HEAD_DIM,
    HIDDEN,
    INNER,
    LAYERS,
    MTP_SPELLINGS,
    VOCAB,
    Drawn,
    tiny_dflash,
    tiny_eagle3,
    tiny_mtp,
)

PROMPTS = [np.random.default_rng(i).integers(8, VOCAB, 5 + 9 * i).tolist() for i in range(4)]
# So few that guesses are right now and then.
ALLOWED = [20, 31, 44, 57, 90, 123]
FEW = {"suppress_tokens": [i for i in range(VOCAB) if i not in ALLOWED]}
NEW = 24


def target_folder(folder: Path) -> Path:
    return make_tiny(
        folder,
        "qwen3",
        num_hidden_layers=LAYERS,
        head_dim=HEAD_DIM,
        intermediate_size=INNER,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        eos_token_id=None,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return target_folder(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def lm(folder: Path) -> fs.LM:
    return fs.LM.from_pretrained(folder)


@pytest.fixture(scope="module")
def heads(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[fs.DraftHead, Any, list[int]]]:
    """By kind: the head, the reference, and the target's layers that it looks at."""
    weights = load_file(folder / "model.safetensors")
    embed, out = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    root = tmp_path_factory.mktemp("heads")
    eagle, flash = tiny_eagle3(root / "eagle3", "specforge"), tiny_dflash(root / "dflash")
    spark, mtp = tiny_dflash(root / "dspark", "gated"), tiny_mtp(root / "mtp")
    return {
        "eagle3": (fs.DraftHead(eagle), Eagle3(eagle, embed, out), [1, 3, 5]),
        "dflash": (fs.DraftHead(flash), Block(flash, embed, out, block=6, mask=7, from_anchor=False), [1, 3, 6]),
        "dspark": (fs.DraftHead(spark), Block(spark, embed, out, block=5, mask=7, from_anchor=True), [0, 2, 4]),
        "mtp": (fs.DraftHead(mtp), Mtp(mtp, embed, out, *MTP_SPELLINGS["deepseek"]), [LAYERS]),
    }


KINDS = pytest.mark.parametrize("kind", ["eagle3", "dflash", "dspark", "mtp"])


def speculate(lm: fs.LM, head: fs.DraftHead, prompts: Any, **options: Any) -> Any:
    decoding = fs.Speculative(head, **{"num_draft_tokens": 3, "adaptive": False, **options.pop("speculative", {})})
    return lm.generate(
        prompts, decoding=decoding, max_new_tokens=NEW, return_dict_in_generate=True, **{**FEW, **options}
    )


@KINDS
def test_greedy_tokens_and_acceptances(lm: fs.LM, heads: dict[str, Any], kind: str) -> None:
    """The tokens are those of plain decoding; how many guesses were right is what the reference says, which sees the
    target's states through lm.hidden_states.
    """
    head, oracle, layers = heads[kind]
    plain = lm.generate(PROMPTS, max_new_tokens=NEW, **FEW)
    out = speculate(lm, head, PROMPTS)
    assert out.sequences == plain
    accepted = 0
    for i, (prompt, tokens) in enumerate(zip(PROMPTS, plain, strict=True)):
        states = torch.from_numpy(lm.hidden_states([tokens], layers)[0])
        right, forwards, length = 0, 0, len(prompt)
        while length < len(tokens):
            forwards += 1
            # The first step of a prompt has no states yet, and the last token is not guessed at.
            count = 0 if length == len(prompt) else min(3, len(tokens) - length - 1)
            agreed = agreement(oracle, tokens, states, length, count)
            right += agreed
            length += agreed + 1
        assert out.stats.per_sequence[i].accepted_tokens == right, i
        accepted += right
    assert out.stats.accepted_tokens == accepted > 0
    assert out.stats.draft_forwards > 0


def agreement(oracle: Any, tokens: list[int], states: torch.Tensor, length: int, count: int) -> int:
    """How many of the reference's first `count` greedy guesses behind `length` tokens are right."""
    columns = torch.tensor([oracle.token_of(i) in ALLOWED for i in range(VOCAB)])
    guesses: list[int] = []
    for place in range(count):
        logits = oracle.logits(tokens[:length], states[: length - 1], guesses)[-1]
        guess = oracle.token_of(int(logits.masked_fill(~columns, float("-inf")).argmax()))
        if guess != tokens[length + place]:
            return place
        guesses.append(guess)
    return count


@KINDS
def test_sampled_tokens_match(lm: fs.LM, heads: dict[str, Any], kind: str) -> None:
    sampled = {"do_sample": True, "temperature": 0.8, "top_k": 5, "seed": 5, "num_return_sequences": 3}
    plain = lm.generate(PROMPTS, max_new_tokens=NEW, **FEW, **sampled)
    out = speculate(lm, heads[kind][0], PROMPTS, speculative={"verification": "match"}, **sampled)
    assert out.sequences == plain
    assert out.stats.accepted_tokens > 0
    block = speculate(lm, heads[kind][0], PROMPTS, **sampled)
    again = speculate(lm, heads[kind][0], PROMPTS[1:2], **{**sampled, "seed": block.seed})
    assert len(again.sequences) == 3
    assert block.stats.accepted_tokens > 0


@KINDS
def test_preempted_branches_go_on(folder: Path, heads: dict[str, Any], kind: str) -> None:
    small = fs.LM.from_pretrained(folder, kv_cache_bytes=240_000)
    assert small.loaded.engine.max_cached_tokens < sum(len(prompt) + NEW for prompt in PROMPTS)
    plain = small.generate(PROMPTS, max_new_tokens=NEW, **FEW)
    assert speculate(small, heads[kind][0], PROMPTS).sequences == plain


@pytest.mark.parametrize("kind", ["eagle3", "mtp"])
@pytest.mark.parametrize("tree", ["dynamic", (2, 3)])
def test_trees(lm: fs.LM, heads: dict[str, Any], kind: str, tree: Any) -> None:
    plain = lm.generate(PROMPTS, max_new_tokens=NEW, **FEW)
    out = speculate(lm, heads[kind][0], PROMPTS, speculative={"tree": tree, "num_draft_tokens": 12})
    assert out.sequences == plain
    chain = speculate(lm, heads[kind][0], PROMPTS)
    assert out.stats.accepted_tokens > chain.stats.accepted_tokens


def test_blocks_make_no_trees(lm: fs.LM, heads: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match="tree='dynamic' needs a drafter that ranks"):
        speculate(lm, heads["dflash"][0], PROMPTS, speculative={"tree": "dynamic"})


def test_a_session_is_continued(lm: fs.LM, heads: dict[str, Any]) -> None:
    plain = lm.generate([PROMPTS[2]], max_new_tokens=NEW, **FEW)
    with lm.session(PROMPTS[2]) as session:
        decoding = fs.Speculative(heads["eagle3"][0], adaptive=False)
        out = session.generate(decoding=decoding, max_new_tokens=NEW, **FEW)
    assert list(out) in (plain[0], plain[0][len(PROMPTS[2]) :])


def test_a_layer_of_its_own_checkpoint(folder: Path, tmp_path: Path) -> None:
    whole = target_folder(tmp_path / "whole")
    tensors = load_file(whole / "model.safetensors")
    names, _ = MTP_SPELLINGS["qwen"]
    mtp = load_file(tiny_mtp(tmp_path / "mtp", "qwen") / "model.safetensors")
    save_file({**tensors, **mtp}, whole / "model.safetensors")
    said = rf"{len(mtp)} tensors are not used: .*; {len(mtp)} of them are an MTP layer, .*fs\.DraftHead\(\)"
    with pytest.warns(UserWarning, match=said):
        lm = fs.LM.from_pretrained(whole)
    plain = lm.generate(PROMPTS, max_new_tokens=NEW, **FEW)
    own = speculate(lm, fs.DraftHead(), PROMPTS)
    assert own.sequences == plain
    assert names["layer"] == "mtp.layers.0"
    beside = speculate(lm, fs.DraftHead(tmp_path / "mtp"), PROMPTS)
    assert own.stats.accepted_tokens == beside.stats.accepted_tokens > 0
    with pytest.raises(ValueError, match="has no MTP layer"):
        speculate(fs.LM.from_pretrained(folder), fs.DraftHead(), PROMPTS)


def changed(folder: Path, **fields: Any) -> fs.DraftHead:
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in {**config, **fields}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    return fs.DraftHead(folder)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"target_hidden_size": 99}, ValueError, "target_hidden_size is 99, but the target model has hidden_size 64"),
        ({"draft_vocab_size": 999}, ValueError, "draft_vocab_size is 999, but the target model has only 320"),
        ({"vocab_size": 999}, ValueError, "vocab_size is 999, but the target model has 320"),
        (
            {"eagle_aux_hidden_state_layer_ids": [1, 3, 9]},
            ValueError,
            "names layer 9, but the target model has 6 layers",
        ),
        ({"eagle_aux_hidden_state_layer_ids": [1, 3, 6]}, NotImplementedError, "before the final norm"),
        ({"eagle_aux_hidden_state_layer_ids": [1, 3]}, ValueError, "fc.weight takes 192 numbers, but 2 layers"),
        ({"eagle_aux_hidden_state_layer_ids": "x"}, fs.CheckpointError, "expected a list of layer ids"),
        (
            {"draft_vocab_size": 250},
            fs.CheckpointError,
            r"'lm_head.weight' has shape \[200, 64\], expected \[250, 64\]",
        ),
        ({"hidden_size": 32}, fs.CheckpointError, "'fc.weight' has shape"),
        ({"norm_output": True}, NotImplementedError, "norm_output"),
        ({"speculators_model_type": "medusa"}, ValueError, "speculators_model_type is 'medusa', expected one of"),
    ],
)
def test_eagle3_that_does_not_fit(
    lm: fs.LM, tmp_path: Path, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    head = changed(tiny_eagle3(tmp_path / "head"), **fields)
    with pytest.raises(error, match=message):
        speculate(lm, head, PROMPTS)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"dflash_config": {"target_layer_ids": [0, 2, 6], "mask_token_id": 7}}, ValueError, "names layer 6"),
        ({"dflash_config": {"target_layer_ids": [0, 2, 5]}}, fs.CheckpointError, "mask_token_id"),
        (
            {"dflash_config": {"target_layer_ids": [0, 2, 5], "mask_token_id": 999}},
            ValueError,
            "mask_token_id is 999, but the target model has 320",
        ),
        ({"block_size": 1}, fs.CheckpointError, "block_size"),
        ({"markov_rank": 8}, fs.CheckpointError, "has no tensor 'markov_head.markov_w1.weight'"),
        ({"final_logit_softcapping": 20.0}, NotImplementedError, "final_logit_softcapping=20.0"),
        ({"projector_type": "domino"}, NotImplementedError, "projector_type 'domino'"),
    ],
)
def test_dflash_that_does_not_fit(
    lm: fs.LM, tmp_path: Path, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    head = changed(tiny_dflash(tmp_path / "head"), **fields)
    with pytest.raises(error, match=message):
        speculate(lm, head, PROMPTS)


def test_tensors_that_are_missing(lm: fs.LM, tmp_path: Path) -> None:
    folder = tiny_eagle3(tmp_path / "head")
    tensors = load_file(folder / "model.safetensors")
    for name, found in (
        ("midlayer.self_attn.k_proj.weight", "has no tensor 'midlayer.self_attn.k_proj.weight'"),
        ("d2t", "has no tensor 'd2t'"),
        ("fc.weight", "has no tensor 'fc.weight'"),
    ):
        save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors")
        with pytest.raises(fs.CheckpointError, match=found) as caught:
            speculate(lm, fs.DraftHead(folder), PROMPTS)
        assert str(folder) in str(caught.value)
    far = tensors["d2t"].clone()
    far[-1] = 500
    save_file({**tensors, "d2t": far}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="'d2t' leads to token 699, but the target model has 320"):
        speculate(lm, fs.DraftHead(folder), PROMPTS)


def test_what_is_no_head(lm: fs.LM, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing tells what kind of draft head this is"):
        speculate(lm, fs.DraftHead(folder), PROMPTS)
    with pytest.raises(fs.CheckpointError, match="no such folder"):
        speculate(lm, fs.DraftHead(tmp_path / "nowhere"), PROMPTS)


def test_other_attention_in_mtp_layers(lm: fs.LM, tmp_path: Path) -> None:
    folder = tiny_mtp(tmp_path / "head", "qwen")
    tensors = load_file(folder / "model.safetensors")
    wide = Drawn(9)
    wide.matrix(
        "mtp.layers.0.self_attn.q_proj.weight", 2 * len(tensors["mtp.layers.0.self_attn.q_proj.weight"]), HIDDEN
    )
    save_file({**tensors, **wide}, folder / "model.safetensors")
    with pytest.raises(NotImplementedError, match="gated attention is not supported"):
        speculate(lm, fs.DraftHead(folder), PROMPTS)
