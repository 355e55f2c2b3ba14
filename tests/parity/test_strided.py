"""fs.Strided on a tiny causal checkpoint with a mask token, against transformers and plain loops over its logits."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from reference import idlm
from support.tiny import make_tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.hf

VOCAB, MASK = 14, 13
PROMPTS = [[1, 7, 4, 9], [5], [3, 3, 8, 10, 2, 6, 6, 12, 1, 0, 11], [2, 9]]
NEVER = {"eos_token_id": None, "pad_token_id": 0}
READING = {"attention": "causal", "shifted": True, "mask_token_id": MASK}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(
        tmp_path_factory.mktemp("strided"),
        "qwen3",
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=2,
        intermediate_size=48,
    )


@pytest.fixture(scope="module")
def lm(folder: Path) -> Any:
    return fs.LM.from_pretrained(folder, num_threads=1, kv_cache_bytes=64 << 20, config=READING)


@pytest.fixture(scope="module")
def hf(folder: Path) -> Any:
    transformers.logging.set_verbosity_error()
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def rows(hf: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return hf(torch.tensor([ids])).logits[0].float()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("stride", [None, 2, 3, 4, 8])
def test_greedy_tokens_are_those_of_plain_decoding(lm: Any, hf: Any, stride: int | None, exact: bool) -> None:
    decoding = fs.Strided(stride=stride, exact=exact)
    out = lm.generate(PROMPTS, decoding=decoding, max_new_tokens=40, return_dict_in_generate=True, **NEVER)
    assert out.sequences == lm.generate(PROMPTS, max_new_tokens=40, **NEVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for prompt, ours in zip(PROMPTS, out.sequences, strict=True):
            ids = torch.tensor([prompt])
            theirs = hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False, **NEVER)
            assert ours == theirs[0].tolist()
    assert out.decoding == decoding
    assert out.stats.exact


def simulated(hf: Any, prompt: list[int], stride: int, exact: bool, new: int) -> tuple[list[int], int, int, int]:
    """Tokens, forwards, drafted and accepted tokens of the greedy algorithm, without any cache."""
    ids: list[int] = list(prompt)
    drafts: list[int] = []
    end = len(prompt) + new
    forwards = drafted = accepted = 0
    while len(ids) < end:
        forwards += 1
        drafts = drafts[: end - len(ids) - exact]
        drafted += len(drafts)
        k = 0
        best = rows(hf, ids + drafts).argmax(-1).tolist()
        while k < len(drafts) and best[len(ids) + k - 1] == drafts[k]:
            k += 1
        accepted += k
        prefix = ids + drafts[:k]
        token = best[len(prefix) - 1]
        ids = [*prefix, token]
        if exact or k == len(drafts):
            masked = rows(hf, prefix + [MASK] * (stride - 1))[len(prefix) :]
            masked[:, MASK] = -torch.inf
            drafts = masked.argmax(-1).tolist()
        else:
            drafts = []
    return ids[:end], forwards, drafted, accepted


@pytest.mark.parametrize(("stride", "exact"), [(2, True), (4, True), (3, False), (4, False)])
def test_rounds_are_those_of_the_algorithm(lm: Any, hf: Any, stride: int, exact: bool) -> None:
    for prompt in PROMPTS:
        ids, forwards, drafted, accepted = simulated(hf, prompt, stride, exact, 30)
        out = lm.generate(
            [prompt],
            decoding=fs.Strided(stride, exact),
            max_new_tokens=30,
            return_dict_in_generate=True,
            **NEVER,
        )
        assert out.sequences == [ids]
        stats = out.stats.per_sequence[0]
        assert (stats.forwards, stats.drafted_tokens, stats.accepted_tokens) == (forwards, drafted, accepted)
        assert stats.generated_tokens == 30
        assert stats.tokens_per_forward == pytest.approx(30 / forwards)
        assert accepted > 0, "a model that never accepts tests nothing"


def law(hf: Any, prompt: list[int], new: int, processors: Any) -> dict[tuple[int, ...], float]:
    """The probability of every continuation under transformers' own processors."""
    found: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(new):
        longer: dict[tuple[int, ...], float] = {}
        for tokens, probability in found.items():
            ids = [*prompt, *tokens]
            scores = processors(torch.tensor([ids]), rows(hf, ids)[-1:])
            weights = torch.softmax(scores[0].double(), -1).tolist()
            longer.update({(*tokens, v): probability * w for v, w in enumerate(weights) if w > 0.0})
        found = longer
    return found


def excess(counts: Counter[tuple[int, ...]], expected: dict[tuple[int, ...], float]) -> float:
    """Chi-square against a law, in its standard deviations above its mean; what cannot come counts as infinite."""
    if not counts.keys() <= expected.keys():
        return float("inf")
    total = counts.total()
    cells = [(counts[key], p * total) for key, p in expected.items()]
    large = [(seen, mean) for seen, mean in cells if mean >= 8]
    rest = [(seen, mean) for seen, mean in cells if mean < 8]
    if rest:
        large.append((sum(seen for seen, _ in rest), sum(mean for _, mean in rest)))
    freedom = len(large) - 1
    statistic = sum((seen - mean) ** 2 / mean for seen, mean in large)
    return float((statistic - freedom) / np.sqrt(2 * freedom))


SAMPLING: list[dict[str, Any]] = [
    {"top_k": 4, "temperature": 1.5},
    {"top_k": 0, "top_p": 0.7, "temperature": 2.0},
    {"top_k": 5, "repetition_penalty": 1.5, "temperature": 1.2},
    {"top_k": 4, "temperature": 1.5, "logits_processor": "user"},
]


def even_tokens(ids: Any, scores: Any) -> Any:
    """A user's processor that looks back."""
    assert not np.isin(MASK, np.asarray(ids))
    out = np.array(scores)
    out[:, int(np.asarray(ids)[0, -1]) % 2 :: 2] += 1.0
    return out


def sampled(lm: Any, decoding: Any, options: dict[str, Any]) -> Counter[tuple[int, ...]]:
    options = dict(options)
    if "logits_processor" in options:
        options["logits_processor"] = [even_tokens]
    out = lm.generate(
        [PROMPTS[0]],
        decoding=decoding,
        do_sample=True,
        num_return_sequences=4000,
        max_new_tokens=4,
        seed=11,
        suppress_tokens=[MASK],
        return_dict_in_generate=True,
        **options,
        **NEVER,
    )
    assert out.stats.drafted_tokens >= 4000 or isinstance(decoding, fs.Autoregressive)
    return Counter(tuple(tokens) for tokens in out.new_tokens)


def processors_of(options: dict[str, Any]) -> Any:
    chain = transformers.LogitsProcessorList()
    if "repetition_penalty" in options:
        chain.append(transformers.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    chain.append(transformers.SuppressTokensLogitsProcessor([MASK], device="cpu"))
    if "logits_processor" in options:
        chain.append(lambda ids, scores: torch.from_numpy(even_tokens(ids.numpy(), scores.numpy())))
    chain.append(transformers.TemperatureLogitsWarper(options["temperature"]))
    if options["top_k"]:
        chain.append(transformers.TopKLogitsWarper(options["top_k"]))
    if "top_p" in options:
        chain.append(transformers.TopPLogitsWarper(options["top_p"]))
    return chain


@pytest.mark.parametrize("options", SAMPLING, ids=["top_k", "top_p", "penalty", "user"])
def test_samples_have_the_law_of_plain_decoding(lm: Any, hf: Any, options: dict[str, Any]) -> None:
    expected = law(hf, PROMPTS[0], 4, processors_of(options))
    assert sum(expected.values()) == pytest.approx(1.0)
    assert excess(sampled(lm, fs.Autoregressive(), options), expected) < 4.0
    for stride in (2, 3):
        assert excess(sampled(lm, fs.Strided(stride), options), expected) < 4.0


def test_the_published_rule_has_the_law_of_its_reference_and_no_other(lm: Any, hf: Any) -> None:
    def network(ids: Any, attention_mask: Any = None) -> Any:
        del attention_mask
        with torch.no_grad():
            return hf(ids).logits.float()

    options = idlm.Options(mask_id=MASK, stride=3, rule="published", temperature=1.5, top_k=4)
    published, plain = idlm.exact_laws(network, PROMPTS[0], 4, options)
    counts = sampled(lm, fs.Strided(3, exact=False), SAMPLING[0])
    assert excess(counts, published) < 4.0
    assert excess(counts, {**dict.fromkeys(published, 0.0), **plain}) > 10.0
    assert excess(sampled(lm, fs.Strided(3), SAMPLING[0]), plain) < 4.0


def test_approximations_name_the_published_rule_where_it_matters(lm: Any) -> None:
    for exact, do_sample in itertools.product((True, False), (True, False)):
        out = lm.generate(
            PROMPTS,
            decoding=fs.Strided(2, exact=exact),
            do_sample=do_sample,
            max_new_tokens=4,
            return_dict_in_generate=True,
        )
        assert out.stats.approximations == (("exact=False",) if do_sample and not exact else ())


def test_sequences_do_not_depend_on_the_batch(lm: Any) -> None:
    sampling: dict[str, Any] = {"do_sample": True, "max_new_tokens": 25, "decoding": fs.Strided(), **NEVER}
    seeds = [3, 1, 4, 1]
    together = lm.generate(PROMPTS, seed=seeds, **sampling)
    assert together == [lm.generate([p], seed=[s], **sampling)[0] for p, s in zip(PROMPTS, seeds, strict=True)]


def test_stops_and_eos_inside_a_round(lm: Any) -> None:
    plain = lm.generate(PROMPTS, max_new_tokens=30, **NEVER)
    eos = plain[0][len(PROMPTS[0]) + 4]
    kwargs: dict[str, Any] = {"max_new_tokens": 30, "eos_token_id": eos, "pad_token_id": 0}
    assert lm.generate(PROMPTS, decoding=fs.Strided(4), **kwargs) == lm.generate(PROMPTS, **kwargs)


@pytest.mark.parametrize("stride", [1, 9, 0, True, 2.5, "4"])
def test_strides_out_of_range_are_named(lm: Any, stride: Any) -> None:
    with pytest.raises(ValueError, match="stride is"):
        lm.generate(PROMPTS, decoding=fs.Strided(stride=stride), max_new_tokens=2)


def test_models_that_cannot_are_told_what_they_can(lm: Any, folder: Path) -> None:
    plain = fs.LM.from_pretrained(folder, num_threads=1)
    with pytest.raises(ValueError, match=r"mask token.*can do fs\.Autoregressive"):
        plain.generate(PROMPTS, decoding=fs.Strided(), max_new_tokens=2)
    with pytest.raises(ValueError, match=r"fs\.Autoregressive\(\) and fs\.Strided"):
        lm.generate(PROMPTS, decoding=fs.MaskedDiffusion(), max_new_tokens=2)
    with pytest.raises(ValueError, match="only continues prompts"):
        lm.generate([[1, MASK, 2]], decoding=fs.Strided(), max_new_tokens=2)
