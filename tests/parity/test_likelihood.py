"""Scores, logits and sessions of models that are not causal, against transformers under the same attention."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, permutations
from math import comb, perm
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from support.tiny import make_tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.hf

MASK = 3
BLOCK = 4
READINGS: dict[str, dict[str, Any]] = {
    f"{attention}{'-shifted' if shifted else ''}": {
        "attention": attention,
        "shifted": shifted,
        "mask_token_id": MASK,
        **({"block_length": BLOCK} if attention == "block_causal" else {}),
    }
    for attention in ("full", "semi_causal", "block_causal")
    for shifted in (False, True)
}
CONTEXT = [1, 17, 40, 9, 200, 31]
WRITTEN = [77, 12, 150, 81, 33, 240, 19]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"), "qwen3")


class Oracle:
    """The same weights in transformers, with who sees whom spelled out as a mask, and our LM beside it."""

    def __init__(self, folder: Path, reading: dict[str, Any]) -> None:
        self.attention: str = reading["attention"]
        self.shifted: bool = reading["shifted"]
        self.lm = fs.LM.from_pretrained(folder, num_threads=1, kv_cache_bytes=32 << 20, config=reading)
        self.hf = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def visible(self, ids: list[int], order: list[int]) -> np.ndarray:
        ranks = np.zeros(len(ids), dtype=np.int64)
        if self.attention == "block_causal":
            ranks = np.arange(len(ids)) // BLOCK
        elif self.attention == "semi_causal":
            ranks[order] = 1 + np.arange(len(order))
        return np.asarray(ranks[None, :] <= ranks[:, None])

    def forward(self, ids: list[int], order: list[int] | None = None) -> Any:
        order = [i for i, token in enumerate(ids) if token == MASK] if order is None else order
        visible = torch.from_numpy(self.visible(ids, order))
        bias = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
        with torch.no_grad():
            return self.hf(torch.tensor([ids]), attention_mask=bias[None, None], output_hidden_states=True)

    def logits(self, ids: list[int], order: list[int] | None = None) -> np.ndarray:
        return np.asarray(self.forward(ids, order).logits[0].numpy())

    def log_probabilities(self, tokens: list[int], masks: tuple[int, ...]) -> np.ndarray:
        """Of the tokens at the masks, which see each other in the order in which they are named."""
        canvas = [MASK if i in masks else token for i, token in enumerate(tokens)]
        rows = torch.log_softmax(torch.from_numpy(self.logits(canvas, list(masks))).double(), -1).numpy()
        return np.array([rows[mask - self.shifted, tokens[mask]] for mask in masks])

    def parts(self, context: list[int], written: list[int]) -> Iterator[tuple[list[int], int]]:
        tokens, start = [*context, *written], len(context)
        while start < len(tokens):
            stop = min(len(tokens), start - start % BLOCK + BLOCK) if self.attention == "block_causal" else len(tokens)
            yield tokens[:stop], start
            start = stop

    def exact(self, context: list[int], written: list[int]) -> np.ndarray:
        """Per token: the expectation by enumeration."""
        out = np.zeros(len(written))
        for tokens, start in self.parts(context, written):
            places = range(start, len(tokens))
            ordered = self.attention == "semi_causal"
            for count in range(1, len(places) + 1):
                number = (perm if ordered else comb)(len(places), count)
                for masks in (permutations if ordered else combinations)(places, count):
                    found = self.log_probabilities(tokens, masks)
                    out[np.array(masks) - len(context)] += found / (count * number)
        return out

    def greedy(self, context: list[int], length: int) -> list[int]:
        """The surest mask in each forward, masks in order of position; block after block."""
        ids = [*context, *[MASK] * length]
        for tokens, start in self.parts(context, [MASK] * length):
            canvas = ids[: len(tokens)]
            for _ in range(start, len(tokens)):
                masks = [i for i in range(start, len(canvas)) if canvas[i] == MASK]
                probabilities = torch.softmax(torch.from_numpy(self.logits(canvas)), -1).numpy()
                surest = max(masks, key=lambda i: probabilities[i - self.shifted].max())
                canvas[surest] = int(probabilities[surest - self.shifted].argmax())
            ids[: len(canvas)] = canvas
        return ids[len(context) :]


@pytest.fixture(scope="module", params=READINGS)
def oracle(request: pytest.FixtureRequest, folder: Path) -> Oracle:
    return Oracle(folder, READINGS[request.param])


@pytest.fixture(autouse=True)
def books_balance(oracle: Oracle) -> Iterator[None]:
    before = oracle.lm.memory()["cache_used"]
    yield
    oracle.lm._model.engine.check_integrity()
    assert oracle.lm.memory()["cache_used"] == before


def length_of(oracle: Oracle) -> int:
    return 3 if oracle.attention == "semi_causal" else 5


def test_exact_is_the_enumeration(oracle: Oracle) -> None:
    written = WRITTEN[: length_of(oracle)]
    contexts = [CONTEXT, CONTEXT[:1], CONTEXT]
    continuations = [written, written, written[:1]]
    for context, continuation, ours in zip(
        contexts, continuations, oracle.lm.score(contexts, continuations, estimator="exact"), strict=True
    ):
        wanted = oracle.exact(context, continuation)
        np.testing.assert_allclose(ours.token_logprobs, wanted, atol=1e-4)
        assert ours.logprob == pytest.approx(wanted.sum(), abs=1e-4)
        assert (ours.standard_error, ours.estimator, ours.num_tokens) == (0.0, "exact", len(continuation))


def test_draws_scatter_around_the_exact_value_by_their_standard_errors(oracle: Oracle) -> None:
    written = WRITTEN[: length_of(oracle)]
    (exact,) = oracle.lm.score([CONTEXT], [written], estimator="exact")
    runs = 150
    scores = oracle.lm.score([CONTEXT] * runs, [written] * runs, samples=128, seed=5)
    assert {score.estimator for score in scores} == {
        "blockwise" if oracle.attention == "block_causal" else "monte_carlo"
    }
    z = np.array([(score.logprob - exact.logprob) / score.standard_error for score in scores])
    assert np.abs(z).max() < 4.5
    assert abs(z.mean()) < 4 / runs**0.5
    assert 0.5 < z.var() < 1.5
    tokens = np.mean([score.token_logprobs for score in scores], axis=0)
    np.testing.assert_allclose(tokens, exact.token_logprobs, atol=0.5)
    for score in scores:
        assert score.logprob == pytest.approx(float(score.token_logprobs.sum()), abs=1e-4)


def test_a_seed_fixes_the_numbers_whatever_the_batch(oracle: Oracle) -> None:
    contexts = [CONTEXT, [5], CONTEXT, [1, *range(60, 70)]]
    continuations = [WRITTEN, WRITTEN[:3], WRITTEN[2:], [*WRITTEN, *WRITTEN]]
    seeds = [3, 1, 4, 1]
    together = oracle.lm.score(contexts, continuations, samples=9, seed=seeds)
    for i, score in enumerate(together):
        (alone,) = oracle.lm.score([contexts[i]], [continuations[i]], samples=9, seed=[seeds[i]])
        assert (alone.logprob, alone.standard_error) == (score.logprob, score.standard_error)
        np.testing.assert_array_equal(alone.token_logprobs, score.token_logprobs)
    first, second, third = (oracle.lm.score([CONTEXT], [WRITTEN], samples=4, seed=s)[0] for s in (7, 7, 8))
    assert first.logprob == second.logprob != third.logprob
    fresh = [oracle.lm.score([CONTEXT], [WRITTEN], samples=4)[0].logprob for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_global_random_states_stay_as_they_are(oracle: Oracle) -> None:
    def states() -> list[Any]:
        legacy: Any = np.random.get_state()  # noqa: NPY002
        return [random.getstate(), legacy[1].tolist(), torch.random.get_rng_state().tolist()]

    before = states()
    oracle.lm.score([CONTEXT], [WRITTEN], samples=4)
    oracle.lm.score([CONTEXT], [WRITTEN], samples=4, seed=1)
    assert states() == before


def test_greedy_is_one_token_per_forward_the_surest_first(oracle: Oracle) -> None:
    greedy = oracle.greedy(CONTEXT, 6)
    wrong = [*greedy[:4], (greedy[4] + 1) % 300 + 4, greedy[5]]
    scores = oracle.lm.score([CONTEXT, CONTEXT, CONTEXT], [greedy, wrong, []], samples=1)
    assert [score.is_greedy for score in scores] == [True, False, True]
    if oracle.attention == "full" and not oracle.shifted:  # those have a schedule of their own
        decoded = oracle.lm.generate(
            [CONTEXT], max_new_tokens=6, eos_token_id=None, decoding=fs.MaskedDiffusion(steps=6, order="confidence")
        )
        assert decoded[0][len(CONTEXT) :] == greedy


def test_long_texts_are_documents(oracle: Oracle) -> None:
    length = oracle.lm.config.max_position_embeddings
    text = [4 + (7 * i) % 300 for i in range(length + 20)]
    prefix = [1] if oracle.shifted else []
    cut = length - len(prefix)
    whole, none = oracle.lm.score(None, [text, []], samples=2, seed=[5, 6])
    assert (whole.num_tokens, none.num_tokens, none.logprob) == (len(text), 0, 0.0)
    (head,) = oracle.lm.score([prefix], [text[:cut]], samples=2, seed=[5])
    np.testing.assert_array_equal(whole.token_logprobs[:cut], head.token_logprobs)


def test_logits_and_hidden_states_are_those_of_the_network(oracle: Oracle) -> None:
    holes = [token if i % 3 else MASK for i, token in enumerate([*CONTEXT, *WRITTEN])]
    sequences = [CONTEXT, [*CONTEXT, *WRITTEN], [5], holes, [(7 * i) % 320 for i in range(100)]]
    hidden = oracle.lm.hidden_states(sequences, layers=(0, 2, -1))
    for ids, ours, states in zip(sequences, oracle.lm.logits(sequences), hidden, strict=True):
        theirs = oracle.forward(ids)
        np.testing.assert_allclose(ours, theirs.logits[0].numpy(), atol=3e-4, rtol=0)
        for i, layer in enumerate((0, 2, -1)):
            np.testing.assert_allclose(states[:, i], theirs.hidden_states[layer][0].numpy(), atol=3e-4, rtol=0)


def test_sessions_say_what_the_tokens_so_far_say(oracle: Oracle) -> None:
    lm = oracle.lm
    if oracle.attention != "block_causal":
        with pytest.raises(ValueError, match="causal and block-causal"):
            lm.session(CONTEXT)
        return
    tokens = [*CONTEXT, *WRITTEN, *CONTEXT]

    def last(ids: list[int]) -> np.ndarray:
        return lm.logits([ids])[0][-1]

    with lm.session(tokens[:6]) as session:
        np.testing.assert_array_equal(session.next_logits, last(tokens[:6]))
        for end in range(7, 15):  # within open blocks, and across their ends
            logits = session.append([tokens[end - 1]])
            assert logits is not None
            np.testing.assert_array_equal(logits[0], last(tokens[:end]))
        (fork,) = session.fork()
        rows = fork.append(tokens[14:19], logits="all")
        np.testing.assert_array_equal(rows, lm.logits([tokens[:19]])[0][14:])
        session.truncate(9)  # in the middle of a block
        np.testing.assert_array_equal(session.next_logits, last(tokens[:9]))
        lm._model.engine.preempt_all()
        rows = session.append([50, 51], logits="all")
        np.testing.assert_array_equal(rows, lm.logits([[*tokens[:9], 50, 51]])[0][9:])
        session.truncate(8)  # at the end of one
        np.testing.assert_array_equal(session.next_logits, last(tokens[:8]))
        np.testing.assert_allclose(session.next_logits, oracle.logits(tokens[:8])[-1], atol=3e-4)
        np.testing.assert_array_equal(fork.append([9])[0], last([*tokens[:19], 9]))
        fork.close()
