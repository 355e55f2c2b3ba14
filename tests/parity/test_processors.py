"""Processed scores, and what is drawn from them, against transformers' own chain of processors."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

from foresight._core import testing

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB = 311
EOS = [2, 7]


@functools.cache
def tiny_model() -> Any:
    """Any causal model: only its way of building the chain is used."""
    config = transformers.LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


def expected(options: dict[str, Any], tokens: list[int], prompt_length: int, scores: np.ndarray) -> np.ndarray:
    """What transformers' generate() would make of the row, for the same options under its own names."""
    fields = dict(options)
    eos = fields.pop("eos_token_ids", None)
    config = transformers.GenerationConfig(**fields, eos_token_id=eos, pad_token_id=0)
    model = tiny_model()
    ids = torch.tensor([tokens])
    model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device="cpu")
    chain = model._get_logits_processor(
        config,
        input_ids_seq_length=prompt_length,
        encoder_input_ids=ids[:, :prompt_length],
        device="cpu",
        model_kwargs={},
    )
    return chain(ids, torch.from_numpy(scores)[None].clone())[0].numpy()


def check(
    options: dict[str, Any], tokens: list[int], prompt_length: int, scores: np.ndarray, isa: str | None = None
) -> np.ndarray:
    """Compares one row and returns it."""
    ours = testing.process_scores(options, tokens, prompt_length, scores, isa)
    theirs = expected(options, tokens, prompt_length, scores)
    assert ours.dtype == np.float32
    assert ours.shape == scores.shape
    differ = np.flatnonzero(np.isneginf(ours) != np.isneginf(theirs))
    assert differ.size == 0, f"{options}: forbidden here or there only: {differ[:10]}, {ours[differ][:10]}"
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=str(options))
    return ours


def row(seed: int, vocab: int = VOCAB, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(vocab) * scale).astype(np.float32)


def text(seed: int, length: int, vocab: int = VOCAB) -> list[int]:
    """Tokens of a small alphabet, so that n-grams repeat; the ends of sequences are among them."""
    return [int(t) for t in np.random.default_rng(seed + 1000).integers(0, min(vocab, 12), length)]


SINGLE_OPTIONS: list[dict[str, Any]] = [
    {},
    {"sequence_bias": [[[5], 2.5], [[6], -3.0]]},
    {"sequence_bias": [[[1, 5], 2.5], [[2, 5], -1.5], [[5], 1.0], [[3, 4, 9], float("-inf")], [[0, 0], 4.0]]},
    {"sequence_bias": [[[5], 2.5], [[5], -1.0]]},
    {"encoder_repetition_penalty": 1.7},
    {"encoder_repetition_penalty": 0.6},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    *({"no_repeat_ngram_size": n} for n in (1, 2, 3, 5)),
    *({"encoder_no_repeat_ngram_size": n} for n in (1, 2, 3, 5)),
    {"bad_words_ids": [[5], [2], [7, 3], [1, 2], [0, 1, 2], [4, 7], [3, 3]]},
    {"min_length": 14},
    {"min_new_tokens": 3},
    {"forced_bos_token_id": 9},
    {"forced_eos_token_id": 2, "max_length": 13},
    {"forced_eos_token_id": [2, 7], "max_length": 13},
    {"exponential_decay_length_penalty": (1, 1.2)},
    {"exponential_decay_length_penalty": (-3, 0.9)},
    {"suppress_tokens": [0, 5, 310]},
    {"begin_suppress_tokens": [3, 4]},
    {"begin_suppress_tokens": [3, 4], "forced_bos_token_id": 1},
    {"renormalize_logits": True},
    *({"do_sample": True, "temperature": t} for t in (0.1, 0.7, 2.0)),
    *({"do_sample": True, "top_k": k} for k in (1, 2, 50, 310, 311, 4000)),
    *({"do_sample": True, "top_p": p} for p in (0.0, 0.05, 0.5, 0.9, 0.999)),
    *({"do_sample": True, "min_p": p} for p in (0.0, 0.02, 0.3)),
    *({"do_sample": True, "typical_p": p} for p in (0.05, 0.2, 0.9, 0.99)),
    *({"do_sample": True, "epsilon_cutoff": e} for e in (3e-4, 9e-3, 0.6)),
    *({"do_sample": True, "eta_cutoff": e} for e in (3e-4, 2e-2, 0.6)),
    *({"do_sample": True, "top_h": h} for h in (0.1, 0.4, 0.9)),
]


@pytest.mark.parametrize("options", SINGLE_OPTIONS, ids=str)
def test_each_option(options: dict[str, Any]) -> None:
    options = {"eos_token_ids": EOS, **options}
    for seed in range(3):
        for prompt_length, length in ((1, 1), (1, 2), (5, 5), (5, 6), (9, 12), (30, 200)):
            check(options, text(seed, length), prompt_length, row(seed))


def random_options(rng: np.random.Generator, length: int) -> dict[str, Any]:
    """A random subset of every option, each with a value that acts."""

    def ids(count: int) -> list[int]:
        return [int(t) for t in rng.integers(0, 12, count)]

    def number(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    every: dict[str, Any] = {
        "sequence_bias": [[ids(int(rng.integers(1, 4))), number(-5, 5)] for _ in range(12)],
        "encoder_repetition_penalty": number(0.5, 2.0),
        "repetition_penalty": number(0.5, 2.0),
        "no_repeat_ngram_size": int(rng.integers(1, 5)),
        "encoder_no_repeat_ngram_size": int(rng.integers(1, 5)),
        "bad_words_ids": [[11], *(ids(int(rng.integers(1, 4))) for _ in range(4))],
        "min_length": length + int(rng.integers(-1, 3)),
        "min_new_tokens": int(rng.integers(1, 6)),
        "forced_bos_token_id": 13,
        "exponential_decay_length_penalty": (int(rng.integers(0, 4)), number(1.01, 1.5)),
        "suppress_tokens": ids(5),
        "begin_suppress_tokens": ids(5),
        "temperature": number(0.3, 2.0),
        "top_h": number(0.1, 0.95),
        "top_k": int(rng.integers(1, VOCAB)),
        "top_p": number(0.1, 0.99),
        "min_p": number(0.001, 0.2),
        "typical_p": number(0.1, 0.99),
        "epsilon_cutoff": number(1e-4, 1e-2),
        "eta_cutoff": number(1e-4, 1e-2),
        "renormalize_logits": True,
    }
    chosen = {name: value for name, value in every.items() if rng.random() < 0.35}
    return {"eos_token_ids": EOS, "do_sample": bool(rng.random() < 0.8), **chosen}


@pytest.mark.parametrize("seed", range(20))
def test_random_combinations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(25):
        length = int(rng.integers(1, 40))
        prompt_length = int(rng.integers(1, length + 1))
        options = random_options(rng, length)
        scores = row(int(rng.integers(2**31)), scale=float(rng.uniform(0.5, 6.0)))
        check(options, text(int(rng.integers(2**31)), length), prompt_length, scores)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 50},
        {"top_k": 20000},
        {"top_p": 0.9},
        {"typical_p": 0.9},
        {"min_p": 0.05},
        {"epsilon_cutoff": 3e-4},
        {"eta_cutoff": 3e-4},
        {"top_h": 0.4},
        {"top_k": 200, "top_p": 0.95, "temperature": 0.7, "min_p": 0.01},
    ],
    ids=str,
)
@pytest.mark.parametrize("scale", [0.5, 2.0, 5.0])
def test_a_real_vocabulary(options: dict[str, Any], scale: float) -> None:
    """151,936 tokens: the float32 sums of the reference stray by some 1e-5, so the border may shift."""
    scores = row(3, 151_936, scale)
    options = {"do_sample": True, **options}
    ours = testing.process_scores(options, [1], 1, scores)
    theirs = expected(options, [1], 1, scores)
    differ = np.flatnonzero(np.isneginf(ours) != np.isneginf(theirs))
    probabilities = np.exp(scores.astype(np.float64) - scores.max())
    probabilities /= probabilities.sum()
    assert probabilities[differ].sum() < 2e-4, f"{differ.size} tokens fall differently"
    same = ~np.isneginf(ours) & ~np.isneginf(theirs)
    np.testing.assert_allclose(ours[same], theirs[same], rtol=1e-5, atol=1e-5)


def log_probabilities(*values: float) -> np.ndarray:
    return np.log(np.array(values)).astype(np.float32)


@pytest.mark.parametrize("isa", ["generic", None])
def test_ties(isa: str | None) -> None:
    """Equal scores fall as in the reference, wherever that is defined."""
    flat = np.zeros(4, np.float32)
    uneven = np.array([1, 3, 2, 3, 1, 2, 3, 0], np.float32)
    for k in range(1, 9):
        check({"do_sample": True, "top_k": k}, [1], 1, uneven, isa)
    for p in (0.0, 0.25, 0.3, 0.5, 0.6, 0.75, 0.99):
        check({"do_sample": True, "top_p": p}, [1], 1, flat, isa)
        check({"do_sample": True, "top_p": p}, [1], 1, uneven, isa)
        if p > 0.0:
            check({"do_sample": True, "typical_p": p}, [1], 1, flat, isa)
    for p in (0.125, 0.25, 0.625, 0.875):
        check({"do_sample": True, "top_p": p}, [1], 1, np.zeros(16, np.float32), isa)
    for p in (1.0, 0.5, 0.25):
        check({"do_sample": True, "min_p": p}, [1], 1, uneven, isa)
    check({"do_sample": True, "epsilon_cutoff": 0.25}, [1], 1, flat, isa)
    check({"do_sample": True, "epsilon_cutoff": 0.9}, [1], 1, uneven, isa)
    check({"do_sample": True, "top_p": 0.75}, [1], 1, log_probabilities(0.5, 0.25, 0.125, 0.125), isa)


def test_forbidden_tokens_stay_forbidden() -> None:
    scores = row(1)
    scores[::3] = -np.inf
    for options in SINGLE_OPTIONS:
        check({"eos_token_ids": EOS, **options}, text(1, 20), 9, scores)


def test_remove_invalid_values() -> None:
    scores = row(1)
    scores[[3, 50]] = np.nan
    scores[4] = np.inf
    scores[[5, 60]] = -np.inf
    check({"remove_invalid_values": True}, [1, 2], 1, scores)


def test_tokens_beyond_the_vocabulary_have_no_score() -> None:
    """A model may embed more tokens than its head can write."""
    tokens = [5, 400, 5, 400]
    for options in ({"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 1}):
        check(options, tokens, 4, row(1))
    check({"min_length": 9, "eos_token_ids": [2, 400]}, tokens, 4, row(1))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 1.5},
        {"top_p": -0.1},
        {"min_p": 1.1},
        {"typical_p": 0.0},
        {"typical_p": 1.2},
        {"epsilon_cutoff": 1.0},
        {"eta_cutoff": -0.1},
        {"top_h": 0.0},
        {"repetition_penalty": 0.0},
        {"encoder_repetition_penalty": -1.0},
        {"no_repeat_ngram_size": -2},
        {"min_length": -1},
        {"min_new_tokens": -1},
        {"sequence_bias": []},
        {"sequence_bias": [[[], 1.0]]},
        {"sequence_bias": [[[VOCAB], 1.0]]},
        {"bad_words_ids": []},
        {"bad_words_ids": [[-1]]},
        {"bad_words_ids": [[2]], "eos_token_ids": [2]},
        {"suppress_tokens": [VOCAB]},
        {"begin_suppress_tokens": [-1]},
        {"forced_bos_token_id": VOCAB},
        {"forced_eos_token_id": [VOCAB]},
        {"forced_eos_token_id": []},
        {"exponential_decay_length_penalty": (1, 1.1)},
        {"unknown": 1},
        {"top_k": 2**40},
    ],
    ids=str,
)
def test_values_out_of_range_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options)).removesuffix("_length_penalty")):
        testing.process_scores({"do_sample": True, **options}, [1], 1, row(0))


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": 1},
        {"top_k": 2.0},
        {"top_k": True},
        {"temperature": "1"},
        {"top_p": True},
        {"suppress_tokens": 5},
        {"suppress_tokens": "5"},
        {"bad_words_ids": [5]},
        {"sequence_bias": [[5, 1.0]]},
        {"sequence_bias": [[[5]]]},
        {"exponential_decay_length_penalty": 3},
        {"forced_bos_token_id": [1]},
        {1: 2},
    ],
    ids=str,
)
def test_wrong_types_are_named(options: dict[Any, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(TypeError, match=name if isinstance(name, str) else "name"):
        testing.process_scores(options, [1], 1, row(0))


def test_every_spelling_of_a_value() -> None:
    """None is unset; numpy numbers, one id for a list of one, and both forms of a bias are understood."""
    scores = row(2)

    def same(one: dict[str, Any], other: dict[str, Any]) -> None:
        left, right = (testing.process_scores({"do_sample": True, **o}, [4, 5], 1, scores) for o in (one, other))
        np.testing.assert_array_equal(left, right)

    same({"top_k": None, "sequence_bias": None, "min_p": None}, {})
    same({"top_k": np.int64(5), "temperature": np.float32(0.5)}, {"top_k": 5, "temperature": 0.5})
    same({"sequence_bias": {(5, 6): -1.0, (7,): 2}}, {"sequence_bias": [[[5, 6], -1.0], [[7], 2.0]]})
    same({"eos_token_ids": 3, "min_length": 9}, {"eos_token_ids": np.array([3]), "min_length": 9})
    same({"temperature": 2}, {"temperature": 2.0})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.7, "top_k": 20},
        {"top_p": 0.8, "repetition_penalty": 1.2},
        {"typical_p": 0.7, "renormalize_logits": True},
    ],
    ids=str,
)
def test_law_of_the_draws(options: dict[str, Any]) -> None:
    """Chi-square of 200,000 draws with Philox uniforms against the reference's softmax; p > 1e-4."""
    draws = 200_000
    vocab = 60
    tokens = text(4, 10, vocab)
    options = {"do_sample": True, **options}
    scores = row(5, vocab, 1.5)
    processed = testing.process_scores(options, tokens, 6, scores)
    law = torch.softmax(torch.from_numpy(expected(options, tokens, 6, scores)).double(), -1).numpy()

    uniforms = np.random.Generator(np.random.Philox(17)).random(draws)
    drawn = np.array([testing.sample_token(processed, u) for u in uniforms])
    counts = np.bincount(drawn, minlength=vocab)
    assert counts[law == 0.0].sum() == 0
    possible = law > 0.0
    means = law[possible] * draws
    assert means.min() > 5
    statistic = float(((counts[possible] - means) ** 2 / means).sum())
    degrees = torch.tensor((means.size - 1) / 2.0, dtype=torch.float64)
    p_value = float(torch.special.gammaincc(degrees, torch.tensor(statistic / 2.0, dtype=torch.float64)))
    assert p_value > 1e-4
