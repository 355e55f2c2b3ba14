"""What lm.score refuses for models that are not causal, and how much it reads."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from support.tiny import make_tiny, tiny_tokenizer

pytest.importorskip("torch")

MASK = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tokenizer(make_tiny(tmp_path_factory.mktemp("tiny"), "qwen3"))


def load(folder: Path, attention: str, **reading: Any) -> Any:
    reading = {"attention": attention, "mask_token_id": MASK, "shifted": False, **reading}
    return fs.LM.from_pretrained(folder, num_threads=1, kv_cache_bytes=16 << 20, config=reading)


@pytest.fixture(scope="module")
def full(folder: Path) -> Any:
    return load(folder, "full")


@pytest.fixture(scope="module")
def semi(folder: Path) -> Any:
    return load(folder, "semi_causal")


@pytest.fixture(scope="module")
def block(folder: Path) -> Any:
    return load(folder, "block_causal", block_length=4)


class Counted:
    """An engine that notes which canvases it is given."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.canvases: list[list[int]] = []

    def read_masked(self, canvases: Any, positions: Any, tokens: Any, orders: Any = None) -> Any:
        self.canvases += [canvas.tolist() for canvas in canvases]
        return self.engine.read_masked(canvases, positions, tokens, orders)


@pytest.fixture
def counted(full: Any, monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(full._model.engine)
    monkeypatch.setattr(full, "_model", dataclasses.replace(full._model, engine=counted))
    return counted


def test_wrong_estimators_are_named(full: Any, semi: Any, block: Any) -> None:
    for lm, estimator, names in (
        (full, "chain", "full diffusion models take 'monte_carlo' or 'exact', or None"),
        (full, "blockwise", "full diffusion models take 'monte_carlo' or 'exact'"),
        (semi, "blockwise", "semi-causal diffusion models take 'monte_carlo' or 'exact'"),
        (block, "monte_carlo", "block-causal diffusion models take 'blockwise' or 'exact'"),
        (block, "nothing", "estimator is 'nothing'"),
    ):
        with pytest.raises(ValueError, match=names):
            lm.score([[5]], [[6, 7]], estimator=estimator)


def test_bad_arguments_are_named(full: Any) -> None:
    for samples in (0, -3):
        with pytest.raises(ValueError, match=f"samples is {samples}"):
            full.score([[5]], [[6]], samples=samples)
    for wrong in (1.5, True, "many", None):
        with pytest.raises(TypeError, match="samples is"):
            full.score([[5]], [[6]], samples=wrong)
    with pytest.raises(TypeError, match="seed is"):
        full.score([[5]], [[6]], seed=1.5)
    with pytest.raises(ValueError, match="2 seeds for 1"):
        full.score([[5]], [[6]], seed=[1, 2])
    with pytest.raises(ValueError, match=r"contexts\[1\] holds the mask token, 3"):
        full.score([[5], [5, MASK]], [[6], [7]])
    with pytest.raises(ValueError, match=r"continuations\[0\] holds the mask token"):
        full.score([[5]], [[MASK]])
    with pytest.raises(ValueError, match="1 contexts for 2"):
        full.score([[5]], [[6], [7]])
    with pytest.raises(ValueError, match="320"):
        full.score([[5]], [[320]])


def test_enumeration_has_its_bounds(full: Any, semi: Any, block: Any) -> None:
    with pytest.raises(ValueError, match=r"at most 12 tokens; continuations\[1\] has 13: use 'monte_carlo'"):
        full.score([[5], [5]], [[6], list(range(10, 23))], estimator="exact")
    with pytest.raises(ValueError, match="in every order and takes at most 4 tokens"):
        semi.score([[5]], [list(range(10, 15))], estimator="exact")
    (score,) = block.score([[5]], [list(range(10, 30))], estimator="exact")
    assert score.num_tokens == 20


def test_no_work_for_nothing(full: Any, counted: Counted) -> None:
    assert full.score([], []) == []
    (empty,) = full.score([[5]], [[]])
    assert (empty.logprob, empty.is_greedy, empty.num_tokens, empty.standard_error) == (0.0, True, 0, 0.0)
    assert counted.canvases == []


def test_a_canvas_is_read_once(full: Any, counted: Counted) -> None:
    (one,) = full.score([[5, 6]], [[7]], samples=100)
    assert one.standard_error == 0.0
    assert counted.canvases == [[5, 6, MASK]] * 2  # one for the estimate, one for is_greedy
    counted.canvases.clear()
    full.score([[5, 6]], [[7, 8]], samples=100)
    assert len(counted.canvases) <= 3 + 2
    counted.canvases.clear()
    full.score([[5, 6]], [list(range(10, 40))], samples=20)
    assert 20 <= len(counted.canvases) <= 20 + 30


def test_samples_go_to_blocks_by_their_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load(folder, "block_causal", block_length=16)
    counted = Counted(lm._model.engine)
    monkeypatch.setattr(lm, "_model", dataclasses.replace(lm._model, engine=counted))
    lm.score([list(range(4, 14))], [list(range(20, 42))], samples=33, seed=1)
    ends = [len(canvas) for canvas in counted.canvases]
    assert 8 <= ends.count(16) <= 9 + 6
    assert 23 <= ends.count(32) <= 24 + 16


def test_one_sample_has_no_error(full: Any) -> None:
    (score,) = full.score([[5]], [[6, 7, 8]], samples=1)
    assert math.isnan(score.standard_error)
    assert math.isfinite(score.logprob)


def test_texts_and_empty_contexts(full: Any, folder: Path) -> None:
    tokenizer = full.tokenizer
    (score,) = full.score(["the cat"], [" sat"], seed=1)
    ids = tokenizer.encode("the cat")
    whole = tokenizer.encode("the cat sat")
    (same,) = full.score([ids], [whole[len(ids) :]], seed=1)
    assert score.logprob == same.logprob
    # Every position speaks for itself: nothing needs to stand before the first token.
    (free,) = full.score([[]], [[7]])
    wanted = full.logits([[MASK]])[0][0].astype(np.float64)
    assert free.logprob == pytest.approx(wanted[7] - np.log(np.exp(wanted).sum()), abs=1e-5)
    shifted = load(folder, "full", shifted=True)
    (after,) = shifted.score([[]], [[7]])
    assert after.logprob == shifted.score([[1]], [[7]])[0].logprob


def test_a_causal_model_that_speaks_for_its_own_positions_has_no_chain_rule(folder: Path) -> None:
    lm = load(folder, "causal")
    (score,) = lm.score([[5]], [[6, 7]], estimator="exact")
    assert score.estimator == "exact"
    with pytest.raises(ValueError, match="take 'monte_carlo' or 'exact'"):
        lm.score([[5]], [[6]], estimator="chain")
    bare = fs.LM.from_pretrained(
        folder, num_threads=1, kv_cache_bytes=16 << 20, config={"attention": "causal", "shifted": False}
    )
    with pytest.raises(ValueError, match="no mask token to score with"):
        bare.score([[5]], [[6]])
