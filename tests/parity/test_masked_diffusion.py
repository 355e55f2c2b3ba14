"""fs.MaskedDiffusion against the published samplers in plain PyTorch, token for token at temperature 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import foresight as fs
from reference import dream as dream_oracle
from reference import fast_dllm as fast_dllm_oracle
from reference import llada as llada_oracle
from support.network import MASK, VOCAB, full, logits_under, make_network
from support.philox import order_uniform

PROMPTS = [[3, 14, 15, 9, 2, 6], [5, 35], [8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 26]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("network")
    return make_network(folder), folder


def load(folder: Path, **reading: Any) -> fs.LM:
    return fs.LM.from_pretrained(folder, dtype="float32", config={"mask_token_id": MASK, **reading})


@pytest.fixture(scope="module")
def llada(pair: tuple[Any, Path]) -> fs.LM:
    return load(pair[1], attention="full")


@pytest.fixture(scope="module")
def dream(pair: tuple[Any, Path]) -> fs.LM:
    return load(pair[1], attention="full", shifted=True)


@pytest.mark.parametrize("attention", ["full", "semi_causal", "block_causal"])
def test_logits(pair: tuple[Any, Path], attention: str) -> None:
    model, folder = pair
    ids = [3, MASK, 15, 9, MASK, 6, MASK, 1, 2]
    rank = torch.zeros(len(ids))
    if attention == "block_causal":
        rank = torch.arange(len(ids)) // 4
    if attention == "semi_causal":
        masked = torch.tensor(ids) == MASK
        rank = torch.where(masked, masked.cumsum(0), 0)
    expected = logits_under(model, torch.tensor([ids]), rank[None, :] <= rank[:, None])[0]
    lm = load(folder, attention=attention, **({"block_length": 4} if attention == "block_causal" else {}))
    np.testing.assert_allclose(lm.logits([ids])[0], expected.numpy(), atol=2e-4)


@pytest.mark.parametrize(("steps", "block"), [(12, 12), (6, 12), (12, 4), (6, 4), (3, 4), (24, 12)])
@pytest.mark.parametrize("quirks", [False, True])
def test_llada(llada: fs.LM, pair: tuple[Any, Path], steps: int, block: int, quirks: bool) -> None:
    decoding = fs.MaskedDiffusion(steps=steps, block_length=block, reference_quirks=quirks)
    out = llada.generate(PROMPTS, decoding=decoding, max_new_tokens=12, return_dict_in_generate=True)
    for prompt, sequence, stats in zip(PROMPTS, out.sequences, out.stats.per_sequence, strict=True):
        expected = llada_oracle.generate(
            full(pair[0]),
            torch.tensor([prompt]),
            mask_id=MASK,
            steps=steps,
            gen_length=12,
            block_length=block,
            quirks=quirks,
        )
        assert sequence == expected.ids[0].tolist()
        assert stats.forwards == min(steps, 12)  # forwards that decide nothing are not run
    assert out.stats.exact


def test_llada_guidance(llada: fs.LM, pair: tuple[Any, Path]) -> None:
    out = llada.generate(PROMPTS, guidance_scale=2.5, max_new_tokens=8, decoding=fs.MaskedDiffusion())
    for prompt, sequence in zip(PROMPTS, out, strict=True):
        expected = llada_oracle.generate(
            full(pair[0]),
            torch.tensor([prompt]),
            mask_id=MASK,
            steps=8,
            gen_length=8,
            block_length=8,
            cfg_scale=1.5,
            quirks=False,
        )
        assert sequence == expected.ids[0].tolist()


@pytest.mark.parametrize(
    ("order", "alg"), [("confidence", "maskgit_plus"), ("margin", "topk_margin"), ("entropy", "entropy")]
)
@pytest.mark.parametrize("steps", [5, 12, 24])
def test_dream(dream: fs.LM, pair: tuple[Any, Path], order: Any, alg: str, steps: int) -> None:
    decoding = fs.MaskedDiffusion(steps=steps, order=order)
    out = dream.generate(PROMPTS, decoding=decoding, max_new_tokens=12, return_dict_in_generate=True)
    for prompt, sequence, stats in zip(PROMPTS, out.sequences, out.stats.per_sequence, strict=True):
        expected = dream_oracle.diffusion_generate(
            full(pair[0]),
            torch.tensor([prompt]),
            mask_id=MASK,
            max_new_tokens=12,
            steps=steps,
            alg=alg,
            quirks=False,
        )
        assert sequence == expected.ids[0].tolist()
        assert stats.forwards == steps - expected.empty


@pytest.mark.parametrize("rule", [{"threshold": 0.6}, {"threshold": 0.2}, {"factor": 1.0}, {"factor": 2.5}])
def test_fast_dllm(llada: fs.LM, pair: tuple[Any, Path], rule: dict[str, float]) -> None:
    decoding = fs.MaskedDiffusion(block_length=6, **rule)  # type: ignore[arg-type]
    out = llada.generate(PROMPTS, decoding=decoding, max_new_tokens=12, return_dict_in_generate=True)
    for prompt, sequence in zip(PROMPTS, out.sequences, strict=True):
        expected = fast_dllm_oracle.generate(
            full(pair[0]),
            torch.tensor([prompt]),
            mask_id=MASK,
            steps=12,
            gen_length=12,
            block_length=6,
            cache="none",
            quirks=False,
            **rule,
        )
        assert sequence == expected.ids[0].tolist()
    assert out.stats.approximations == tuple(f"{name}={value}" for name, value in rule.items())
    assert out.stats.forwards < 36


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_caches_do_not_depend_on_the_batch(llada: fs.LM, dream: fs.LM, cache: Any) -> None:
    for lm in (llada, dream):
        options: dict[str, Any] = {
            "decoding": fs.MaskedDiffusion(block_length=4, cache=cache),
            "max_new_tokens": 8,
            "return_dict_in_generate": True,
        }
        together = lm.generate(PROMPTS, **options)
        alone = [lm.generate([prompt], **options) for prompt in PROMPTS]
        assert together.sequences == [out.sequences[0] for out in alone]
        plain = lm.generate(PROMPTS, **{**options, "decoding": fs.MaskedDiffusion(block_length=4)})
        assert together.stats.rows < plain.stats.rows
        assert together.stats.approximations == (f"cache={cache}",)


def test_infilling(llada: fs.LM) -> None:
    prompt = [3, MASK, 15, MASK, MASK, 6]
    out = llada.generate([prompt], return_dict_in_generate=True)
    assert out.new_positions == [[1, 3, 4]]
    assert [t for i, t in enumerate(out.sequences[0]) if i in (0, 2, 5)] == [3, 15, 6]
    assert MASK not in out.sequences[0]
    assert out.new_tokens[0] == [out.sequences[0][i] for i in (1, 3, 4)]
    padded = np.array([[0, *prompt], [1, 2, MASK, 4, 5, 6, 7]])
    arrays = llada.generate(padded, attention_mask=np.array([[0] + [1] * 6, [1] * 7]))
    assert arrays[0, 1:].tolist() == out.sequences[0]


def test_eos_cuts_once_everything_before_it_is_final(llada: fs.LM) -> None:
    whole = llada.generate(PROMPTS[:1], max_new_tokens=12)[0]
    eos = whole[len(PROMPTS[0]) + 4]
    first = whole.index(eos, len(PROMPTS[0]))
    out = llada.generate(PROMPTS[:1], max_new_tokens=12, eos_token_id=eos, return_dict_in_generate=True)
    assert out.sequences[0] == whole[: first + 1]
    assert out.finish_reasons == ["eos"]
    none = llada.generate(
        PROMPTS[:1], max_new_tokens=12, eos_token_id=eos, decoding=fs.MaskedDiffusion(forbid_eos=True)
    )
    assert eos not in none[0][len(PROMPTS[0]) :]


def test_a_stream_hands_out_the_final_prefix(llada: fs.LM) -> None:
    whole = llada.generate(PROMPTS[:1], max_new_tokens=12)[0]
    streamed: list[int] = []
    places: list[int] = []
    for event in llada.stream(PROMPTS[:1], max_new_tokens=12):
        streamed += event.tokens
        places += event.positions
    assert streamed == whole[len(PROMPTS[0]) :]
    assert places == list(range(len(PROMPTS[0]), len(whole)))


def test_sampling_is_a_function_of_seed_and_prompt(llada: fs.LM) -> None:
    options: dict[str, Any] = {"do_sample": True, "top_k": 0, "max_new_tokens": 8, "seed": [5, 6, 7]}
    together = llada.generate(PROMPTS, **options)
    alone = [llada.generate([p], **{**options, "seed": [5 + i]})[0] for i, p in enumerate(PROMPTS)]
    assert together == alone
    assert together != llada.generate(PROMPTS, **{**options, "seed": [8, 9, 10]})


def test_one_masked_token_is_sampled_from_its_distribution(llada: fs.LM, pair: tuple[Any, Path]) -> None:
    prompt = [3, 14, MASK, 9]
    law = full(pair[0])(torch.tensor([prompt]))[0, 2].double()
    law[MASK] = -torch.inf
    expected = law.softmax(-1).numpy()
    n = 4000
    options: dict[str, Any] = {"do_sample": True, "top_k": 0, "seed": list(range(n))}
    counts = np.bincount([s[2] for s in llada.generate([prompt] * n, **options)], minlength=VOCAB)
    likely = expected * n > 5
    chi = ((counts - n * expected)[likely] ** 2 / (n * expected[likely])).sum()
    assert chi < likely.sum() + 5 * (2 * likely.sum()) ** 0.5
    assert counts[MASK] == 0


@pytest.mark.parametrize("order", ["confidence", "random"])
def test_trimmed_and_untrimmed_forwards_are_bit_identical(pair: tuple[Any, Path], order: Any) -> None:
    """Masks after the candidates change nothing: with their rows the log-probabilities are the same bits."""
    lm = load(pair[1], attention="semi_causal")
    ids = [3, MASK, 15, MASK, MASK, 6, MASK]
    rows = lm.logits([ids])[0]
    cut = lm.logits([ids[:6]])[0]
    assert np.array_equal(rows[:6], cut)
    candidates = 2 if order == "confidence" else None
    decoding = fs.MaskedDiffusion(order=order, latent_tokens=1, candidates=candidates)
    out = lm.generate([ids], decoding=decoding, seed=3, return_dict_in_generate=True)
    assert out.stats.exact
    # Masks left: 4, 3, 2, 1; clean rows: 3, 4, 5, 6.
    latents, undecided = ([1, 1, 0, 0], [1, 1, 1, 0]) if candidates else ([1, 1, 1, 0], [0, 0, 0, 0])
    assert (out.stats.latent_rows, out.stats.candidate_rows) == (sum(latents), sum(undecided))
    assert out.stats.rows == 3 + 4 + 5 + 6 + 4 + sum(latents) + sum(undecided)


def untrimmed(model: Any, ids: list[int], seed: int, policy: str, latents: int, candidates: int) -> list[int]:
    """The semi-causal sampler, one token per step, with every mask in every forward: [clean | latents | candidates | rest]."""
    ids = list(ids)
    for step in range(ids.count(MASK)):
        masks = [p for p, token in enumerate(ids) if token == MASK]
        masks.sort(key=lambda p: order_uniform(seed, p, step))
        eligible = masks[-(1 if policy == "random" else candidates) :]
        others = [p for p in masks if p not in eligible]
        clean = [p for p, token in enumerate(ids) if token != MASK]
        rows = [*clean, *others[:latents], *eligible, *others[latents:]]
        rank = torch.tensor([0] * len(clean) + list(range(1, len(masks) + 1)))
        tokens = torch.tensor([[ids[p] for p in rows]])
        logits = logits_under(model, tokens, rank[None, :] <= rank[:, None], torch.tensor(rows))[0].double()
        confidence = logits.softmax(-1)
        logits[:, MASK] = -torch.inf
        best = max(eligible, key=lambda p: float(confidence[rows.index(p)][logits[rows.index(p)].argmax()]))
        ids[best] = int(logits[rows.index(best)].argmax())
    return ids


@pytest.mark.parametrize(
    ("policy", "candidates"), [("confidence", 8), ("confidence", 2), ("confidence", 1), ("random", 1)]
)
@pytest.mark.parametrize("latents", [0, 2, 20])
def test_the_dial(pair: tuple[Any, Path], policy: Any, candidates: int, latents: int) -> None:
    """What is decoded from the trimmed rows is what the untrimmed ones give, for every setting of the dial."""
    lm = load(pair[1], attention="semi_causal")
    given = [3, MASK, 15, MASK, MASK, 6, MASK, MASK, 9, MASK, MASK, MASK, 4]
    decoding = fs.MaskedDiffusion(
        order=policy, latent_tokens=latents, candidates=candidates if policy == "confidence" else None
    )
    seeds = [5, 6, 7]
    expected = [untrimmed(pair[0], given, seed, policy, latents, candidates) for seed in seeds]
    assert lm.generate([given] * 3, decoding=decoding, seed=seeds) == expected


def test_latents_on_full_attention_are_labelled(llada: fs.LM) -> None:
    out = llada.generate(
        PROMPTS[:1],
        max_new_tokens=6,
        decoding=fs.MaskedDiffusion(latent_tokens=2, candidates=1),
        return_dict_in_generate=True,
    )
    assert out.stats.approximations == ("latent_tokens=2",)


@pytest.mark.parametrize(
    ("decoding", "options", "message"),
    [
        ({"steps": 0}, {}, "steps is 0"),
        ({"block_length": 5}, {}, "block_length is 5, which does not divide the 12"),
        ({"block_length": 4, "steps": 4}, {}, "not a multiple of the 3 blocks"),
        ({"order": "best"}, {}, "order is 'best'"),
        ({"cache": "all"}, {}, "cache is 'all'"),
        ({"threshold": 1.5}, {}, "threshold is 1.5"),
        ({"threshold": 0.5, "factor": 1.0}, {}, "set one"),
        ({"order": "random", "threshold": 0.5}, {}, "threshold compares confidences"),
        ({"latent_tokens": -1}, {}, "latent_tokens is -1"),
        ({"cache": "dual", "latent_tokens": 3}, {}, "cache='dual'"),
        ({"forbid_eos": True}, {}, "eos_token_id"),
        ({}, {"repetition_penalty": 1.2}, "decided in any order"),
        ({}, {"logits_processor": [lambda ids, scores: scores]}, "accepts_masks"),
    ],
)
def test_mistakes_are_named_before_any_work(
    llada: fs.LM, decoding: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        llada.generate(PROMPTS, decoding=fs.MaskedDiffusion(**decoding), max_new_tokens=12, **options)


def test_strategies_that_a_checkpoint_cannot_do(llada: fs.LM, pair: tuple[Any, Path]) -> None:
    causal = fs.LM.from_pretrained(pair[1])
    with pytest.raises(ValueError, match=r"fs\.Autoregressive\(\)"):
        causal.generate(PROMPTS, decoding=fs.MaskedDiffusion(), max_new_tokens=4)
    with pytest.raises(ValueError, match=r"fs\.MaskedDiffusion\(\)"):
        llada.generate(PROMPTS, decoding=fs.Autoregressive(), max_new_tokens=4)
    with pytest.raises(ValueError, match=r"outside|vocabulary"):
        llada.generate([[1, VOCAB]], max_new_tokens=4)


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_latent_autoregressive(pair: tuple[Any, Path], attention: str) -> None:
    lm = load(pair[1], attention=attention, shifted=False)
    for window in (1, 3, 20):
        sequences = lm.generate(PROMPTS, decoding=fs.LatentAutoregressive(window), max_new_tokens=6)
        for prompt, sequence in zip(PROMPTS, sequences, strict=True):
            x = list(prompt)
            while len(x) < len(prompt) + 6:
                n, masks = len(x), min(window, len(prompt) + 6 - len(x))
                rank = torch.arange(n + masks).clamp(max=n) if attention == "causal" else torch.zeros(n + masks)
                sees = rank[None, :] <= rank[:, None]
                logits = logits_under(pair[0], torch.tensor([[*x, *[MASK] * masks]]), sees)[0, n]
                logits[MASK] = -torch.inf
                x.append(int(logits.argmax()))
            assert sequence == x
