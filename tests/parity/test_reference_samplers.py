"""The reference samplers of tests/reference against known facts, and against one another where they must agree."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from reference import (
    bd3lm,
    chance,
    dream,
    fast_dllm,
    fast_dllm_v2,
    idlm,
    latent_ar,
    likelihood,
    llada,
    llada2,
    scdm,
    sdar,
)
from reference.network import ReferenceNetwork, Shape
from reference.record import Run
from reference.rules import shift, without

MASK = 37
PROMPT = torch.tensor([[3, 14, 15, 9, 26]])


@pytest.fixture(scope="module")
def full() -> ReferenceNetwork:
    return ReferenceNetwork()


@pytest.fixture(scope="module")
def blocks(full: ReferenceNetwork) -> ReferenceNetwork:
    return full.reading("block_causal", 4)


@pytest.fixture(scope="module")
def tiny() -> ReferenceNetwork:
    """Causal, four tokens of which the last is the mask, in float64."""
    shape = Shape(vocab_size=4, hidden_size=8, intermediate_size=8, num_heads=2, num_kv_heads=1, head_dim=4)
    return ReferenceNetwork(shape, "causal", seed=3).double()


def permutations(seed: int) -> scdm.Permute:
    rng = random.Random(seed)
    return lambda n: rng.sample(range(n), n)


class Constant:
    """A network whose logits do not depend on its ids, so that every bound is tight."""

    row = torch.linspace(-1, 1, 40, dtype=torch.float64)

    def __call__(self, ids: Any, attention_mask: Any = None) -> Any:
        return self.row.expand(*ids.shape, -1)


class TestNetwork:
    @pytest.mark.hf
    @pytest.mark.parametrize(("bias", "norm"), [(False, False), (True, False), (False, True)])
    def test_saved_it_is_a_checkpoint_of_transformers(self, tmp_path: Path, bias: bool, norm: bool) -> None:
        transformers = pytest.importorskip("transformers")
        network = ReferenceNetwork(Shape(head_dim=8, qkv_bias=bias, qk_norm=norm), "causal")
        model = transformers.AutoModelForCausalLM.from_pretrained(network.save(tmp_path), attn_implementation="eager")
        torch.testing.assert_close(network(PROMPT), model(PROMPT).logits, atol=1e-4, rtol=0)

    def test_a_cache_changes_nothing_under_a_causal_rule(self, full: ReferenceNetwork) -> None:
        causal, rows = full.reading("causal"), torch.arange(5)
        sees = torch.ones(5, 5).tril().bool()
        _, past = full.with_cache(PROMPT[:, :3], rows[:3], sees[:3, :3])
        logits, _ = full.with_cache(PROMPT[:, 3:], rows[3:], sees[3:], past)
        torch.testing.assert_close(logits, causal(PROMPT)[:, 3:])


class TestLLaDA:
    @pytest.mark.parametrize(("steps", "block"), [(12, 12), (6, 12), (12, 4), (24, 4), (3, 4)])
    def test_it_costs_its_steps(self, full: ReferenceNetwork, steps: int, block: int) -> None:
        run = llada.generate(full, PROMPT, steps=steps, gen_length=12, block_length=block, mask_id=MASK, quirks=False)
        assert run.forwards == steps
        assert run.empty == max(0, steps - 12)
        assert sorted(run.steps()) == list(range(5, 17))

    def test_a_padded_row_is_what_it_is_alone(self, full: ReferenceNetwork) -> None:
        options: dict[str, Any] = {"steps": 6, "gen_length": 12, "block_length": 6, "mask_id": MASK, "cfg_scale": 0.5}
        padded = torch.tensor([[0, 0, 5, 35, 1], [3, 14, 15, 9, 26]])
        visible = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
        together = llada.generate(full, padded, attention_mask=visible, **options)
        assert together.ids[0, 2:].tolist() == llada.generate(full, padded[:1, 2:], **options).ids[0].tolist()
        assert together.ids[1].tolist() == llada.generate(full, padded[1:], **options).ids[0].tolist()

    @pytest.mark.parametrize(("temperature", "quirks", "last"), [(0, True, True), (1, True, False), (1, False, True)])
    def test_deferred_eos(self, temperature: float, quirks: bool, last: bool) -> None:
        """As published, eos has confidence 0 at temperature 0 only: there the noisy logits are the clean ones."""
        options = llada.Options(
            mask_id=MASK, temperature=temperature, confidence_eos_eot_inf=True, eos_id=39, eot_id=38, quirks=quirks
        )
        logits = torch.full((1, 1, 40), -50.0).index_fill(2, torch.tensor([39]), 0.0)
        tokens, confidence = options.proposals(logits)
        assert tokens.item() == 39
        assert (confidence.item() == 0) == last

    def test_infilling_keeps_what_is_given(self, full: ReferenceNetwork) -> None:
        ids = torch.tensor([[3, MASK, 15, MASK, MASK, 6, 7, MASK]])
        run = llada.infill(full, ids, steps=8, block_length=4, mask_id=MASK, quirks=False)
        assert sorted(run.steps()) == [1, 3, 4, 7]
        assert max(run.steps()[place] for place in (1, 3)) < min(run.steps()[place] for place in (4, 7))


class TestDream:
    def test_counts(self) -> None:
        assert dream.counts(256, 512).count(0) == 257
        assert dream.counts(24, 24) == [0, *[1] * 22, 2]
        assert dream.counts(24, 48).count(0) == 25
        assert [sum(dream.counts(n, n)) for n in (1, 7, 512)] == [1, 7, 512]

    @pytest.mark.parametrize("alg", dream.ALGORITHMS[1:])
    def test_empty_forwards(self, full: ReferenceNetwork, alg: str) -> None:
        run = dream.diffusion_generate(full, PROMPT, mask_id=MASK, max_new_tokens=12, steps=24, alg=alg, quirks=False)
        assert (run.forwards, run.empty) == (24, dream.counts(12, 24).count(0))

    def test_the_mean_of_a_batch(self, full: ReferenceNetwork) -> None:
        """With rows of 6 and 2 masks, each row decides as if it had 4, and the second loses given tokens."""
        batch = torch.tensor([[3, 14, *[MASK] * 6], [3, 14, 15, 9, 26, 5, MASK, MASK]])
        options: dict[str, Any] = {"mask_id": MASK, "max_new_tokens": 0, "steps": 1, "alg": "entropy"}
        own = dream.diffusion_generate(full, batch, quirks=False, **options)
        assert (own.ids == MASK).sum(1).tolist() == [0, 0]
        assert own.ids[1, :6].tolist() == batch[1, :6].tolist()
        mean = dream.diffusion_generate(full, batch, **options)
        assert (mean.ids == MASK).sum(1).tolist() == [2, 2]


class TestFastDLLM:
    def test_without_a_rule_it_is_llada(self, full: ReferenceNetwork) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "steps": 6, "gen_length": 12, "block_length": 4}
        run = fast_dllm.generate(full, PROMPT, **options)
        assert run.ids.tolist() == llada.generate(full, PROMPT, quirks=False, **options).ids.tolist()

    def test_rules(self) -> None:
        sure = torch.tensor([0.9, 0.7, 0.7, 0.2])
        count = fast_dllm.count_passing
        assert [count(sure, bound, None) for bound in (0.95, 0.8, 0.7, 0.1)] == [1, 1, 3, 4]
        assert [count(sure, None, factor) for factor in (0.5, 1.0, 1.2)] == [1, 2, 4]  # bounds of 1.2: .6, .7, .76
        assert [count(sure, None, 1.2, quirks=quirks) for quirks in (True, False)] == [4, 3]
        assert [count(sure[:2] / 9, None, 1.0, quirks=quirks) for quirks in (True, False)] == [2, 1]

    @pytest.mark.parametrize("cache", ["prefix", "dual"])
    def test_a_block_that_opens_complete_wastes_a_forward(self, full: ReferenceNetwork, cache: str) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "threshold": 0.0, "cache": cache, "block_length": 4}
        wasteful, plain = (
            fast_dllm.generate(full, PROMPT, steps=12, gen_length=12, quirks=quirks, **options)
            for quirks in (True, False)
        )
        assert (wasteful.forwards, wasteful.empty, plain.forwards, plain.empty) == (6, 3, 3, 0)
        assert wasteful.ids.tolist() == plain.ids.tolist()
        through_dream = fast_dllm.generate_dream(full, PROMPT, max_new_tokens=12, **options)
        assert (through_dream.forwards, through_dream.empty) == (6, 0)
        assert [through_dream.steps()[low] for low in (5, 9, 13)] == [0, 2, 4]

    @pytest.mark.parametrize("cache", ["prefix", "dual"])
    def test_blocks_of_one_need_no_cache(self, full: ReferenceNetwork, cache: str) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "steps": 8, "gen_length": 8, "block_length": 1}
        plain, cached = (fast_dllm.generate(full, PROMPT, cache=c, **options) for c in ("none", cache))
        assert (plain.ids.tolist(), cached.empty) == (cached.ids.tolist(), 8)

    def test_a_threshold_only_slows_the_quota_down(self, full: ReferenceNetwork) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "max_new_tokens": 12, "steps": 4}
        costs = [
            fast_dllm.generate_dream_by_quota(full, PROMPT, threshold=threshold, **options).forwards
            for threshold in (0.0, 0.3, 1.1)
        ]
        assert costs[0] == 4 <= costs[1] <= costs[2] == 12


class TestBlocks:
    @pytest.mark.parametrize(
        ("strategy", "threshold", "cost"), [("sequential", 0, 5), ("low_confidence_dynamic", 0, 2)]
    )
    def test_a_block_of_four_costs_two_to_five_forwards(
        self, blocks: ReferenceNetwork, strategy: str, threshold: float, cost: int
    ) -> None:
        options: dict[str, Any] = {"block_length": 4, "denoising_steps": 4, "threshold": threshold, "temperature": 0}
        run = sdar.generate(blocks, PROMPT[:, :4], mask_id=MASK, gen_length=4, strategy=strategy, **options)
        assert (run.forwards - 1, run.stores) == (cost, 1)  # one prefill
        plain = sdar.generate(
            blocks, PROMPT[:, :4], mask_id=MASK, gen_length=4, strategy=strategy, quirks=False, **options
        )
        assert (plain.forwards - 1, plain.stores) == (cost - 1, 0)

    @pytest.mark.parametrize("strategy", sdar.STRATEGIES)
    def test_sdar_keeps_the_prompt(self, blocks: ReferenceNetwork, strategy: str) -> None:
        options: dict[str, Any] = {"block_length": 4, "denoising_steps": 1, "strategy": strategy, "temperature": 0}
        run = sdar.generate(blocks, PROMPT, mask_id=MASK, gen_length=6, quirks=False, threshold=1.1, **options)
        assert run.ids[0, :5].tolist() == PROMPT[0].tolist()
        assert run.ids.shape == (1, 11)

    def test_sdar_quirks(self, blocks: ReferenceNetwork) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "gen_length": 6, "block_length": 4, "denoising_steps": 1}
        run = sdar.generate(blocks, PROMPT, strategy="low_confidence_static", temperature=0, **options)
        assert run.ids.shape == (1, 12)  # whole blocks
        assert run.ids[0, 4] != PROMPT[0, 4]  # the step owes four, three masks are left
        certain = sdar.generate(blocks, PROMPT, top_k=1, threshold=0.99, **options)
        assert set(certain.confidences().values()) == {1.0}

    def test_entropy_bound(self) -> None:
        entropies = torch.tensor([0.05, 0.06, 0.2, 0.3])
        assert [sdar.within_entropy(entropies, bound) for bound in (0.0, 0.05, 0.1, 0.11, 0.4)] == [1, 2, 2, 3, 4]

    def test_llada2_reveals_at_least_its_share(self, blocks: ReferenceNetwork) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "gen_length": 11, "block_length": 4}
        slow = llada2.generate_2_0(blocks, PROMPT, steps=4, threshold=1.1, **options)
        assert slow.forwards == slow.ids.shape[1] - 5 == 11
        fast = llada2.generate_2_1(blocks, PROMPT, threshold=0.0, editing_threshold=None, **options)
        assert (fast.forwards, fast.empty) == (3, 0)
        assert llada2.generate_2_1(blocks, PROMPT, threshold=0.0, editing_threshold=1.0, **options).empty == 3

    @pytest.mark.parametrize("post", [0, 1, 5])
    def test_llada2_edits_end_and_spare_the_prompt(self, blocks: ReferenceNetwork, post: int) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "gen_length": 11, "block_length": 4, "max_post_steps": post}
        run = llada2.generate_2_1(blocks, PROMPT, threshold=0.3, editing_threshold=0.0, **options)
        assert run.ids[0, :5].tolist() == PROMPT[0].tolist()
        assert run.forwards <= 11 + 3 * post
        assert len(run.decisions) > 11

    @pytest.mark.parametrize("length", [1, 4, 5])
    @pytest.mark.parametrize("cached", [False, True])
    def test_fast_dllm_v2_opens_blocks_by_the_row_before(
        self, blocks: ReferenceNetwork, length: int, cached: bool
    ) -> None:
        options: dict[str, Any] = {"block_length": 4, "sub_block_length": 2, "sub_block_cache": cached}
        run = fast_dllm_v2.generate(
            blocks, PROMPT[:, :length], mask_id=MASK, max_new_tokens=8, threshold=0.4, **options
        )
        assert run.ids.shape[1] == (length // 4 + 2) * 4 + 1
        for low in {4, 8} - set(range(length)):
            before = without(blocks(run.ids[:, :low]), MASK)[0, -1]
            assert run.ids[0, low] == before.argmax()
            assert run.passes[run.steps()[low]].kind in ("prefill", "store")
        assert run.steps()[5] < run.steps()[7]  # of two sub-blocks

    def test_bd3lm(self, full: ReferenceNetwork) -> None:
        assert bd3lm.transfers(32, 32) == [1] * 32
        assert bd3lm.transfers(32, 5) == [6, 6, 7, 6, 7]
        options: dict[str, Any] = {"mask_id": MASK, "max_new_tokens": 10, "block_length": 4, "steps_per_block": 2}
        run = bd3lm.generate(full, PROMPT, quirks=False, **options)
        assert (run.forwards, run.empty) == (9, 0)  # 3 prefixes, blocks of 4, 4, 2 in two steps each
        assert [run.passes[i].rows for i in (0, 3, 6, 8)] == [5, 9, 13, 2]
        aligned = bd3lm.generate(full, PROMPT, quirks=False, alignment="absolute", **options)
        assert max(aligned.steps()[place] for place in (5, 6, 7)) < aligned.steps()[8]


class TestLatents:
    @pytest.mark.parametrize("policy", scdm.POLICIES)
    @pytest.mark.parametrize("latents", [0, 2, 9])
    def test_masks_behind_the_candidates_change_nothing(
        self, full: ReferenceNetwork, policy: str, latents: int
    ) -> None:
        ids = torch.tensor([[3, MASK, MASK, 5, MASK, MASK, MASK, 9, MASK]])
        options: dict[str, Any] = {"policy": policy, "num_latents": latents, "candidates_max": 2, "steps": 3}
        trimmed, whole = (
            scdm.generate(full, ids, mask_id=MASK, permute=permutations(1), trim=trim, **options)
            for trim in (True, False)
        )
        assert trimmed.ids.tolist() == whole.ids.tolist()
        assert trimmed.steps() == whole.steps()
        assert trimmed.forwards == 3
        assert trimmed.rows <= whole.rows == 27

    def test_rows_of_the_uniform_policy(self, full: ReferenceNetwork) -> None:
        ids = torch.tensor([[3, MASK, MASK, 5, MASK]])
        run = scdm.generate(full, ids, mask_id=MASK, permute=permutations(2), policy="uniform", num_latents=1)
        assert [one.rows for one in run.passes] == [2 + 1 + 1, 3 + 1 + 1, 4 + 0 + 1]

    def test_candidates_take_precedence_over_latents(self, full: ReferenceNetwork) -> None:
        ids = torch.tensor([[3, *[MASK] * 6]])
        options: dict[str, Any] = {"candidates_min": 4, "candidates_max": 4, "num_latents": 9}
        run = scdm.generate(full, ids, mask_id=MASK, permute=permutations(3), **options)
        assert [one.rows for one in run.passes] == [7] * 6  # 2 latents and 4 candidates, then fewer latents

    @pytest.mark.parametrize("attention", latent_ar.ATTENTION)
    def test_window_one_has_no_latents(self, full: ReferenceNetwork, attention: str) -> None:
        run = latent_ar.generate(full, PROMPT, mask_id=MASK, max_new_tokens=4, window=1, attention=attention)
        assert [one.rows for one in run.passes] == [6, 7, 8, 9]
        reading = full.reading("full" if attention == "full" else "causal")
        ids = PROMPT
        for _ in range(4):
            row = without(reading(torch.cat([ids, torch.tensor([[MASK]])], 1)), MASK)[0, -1]
            ids = torch.cat([ids, row.argmax()[None, None]], 1)
        assert run.ids.tolist() == ids.tolist()


class TestStrided:
    @pytest.mark.parametrize("rule", idlm.RULES)
    def test_greedy_is_autoregressive(self, full: ReferenceNetwork, rule: str) -> None:
        causal, prompt = full.reading("causal"), PROMPT[0].tolist()
        options = idlm.Options(mask_id=MASK, stride=3, rule=rule, temperature=0.0)
        choose = chance.by_uniforms(random.Random(0).random)
        run = idlm.generate(causal, prompt, 15, choose, options)
        assert run.ids[0].tolist() == idlm.autoregressive(causal, prompt, 15, choose, options)
        assert run.cold + run.verify == run.forwards
        assert run.rows == 5 * run.forwards

    @pytest.mark.parametrize("rule", ["exact_argmax", "exact_sampled"])
    @pytest.mark.parametrize(("stride", "new"), [(2, 4), (3, 3)])
    def test_exact_rules_have_the_autoregressive_law(
        self, tiny: ReferenceNetwork, rule: str, stride: int, new: int
    ) -> None:
        options = idlm.Options(mask_id=3, stride=stride, rule=rule, temperature=0.8, eos_ids=(2,))
        strided, plain = idlm.exact_laws(tiny, [1, 2], new, options)
        assert sum(strided.values()) == pytest.approx(1, abs=1e-12)
        assert chance.total_variation(strided, plain) < 1e-12

    def test_the_published_rule_has_not(self, tiny: ReferenceNetwork) -> None:
        strided, plain = idlm.exact_laws(tiny, [1, 2], 3, idlm.Options(mask_id=3, stride=2, rule="published"))
        assert sum(strided.values()) == pytest.approx(1, abs=1e-12)
        assert chance.total_variation(strided, plain) > 0.01

    def test_sampling_follows_the_law(self, tiny: ReferenceNetwork) -> None:
        options = idlm.Options(mask_id=3, stride=2, rule="exact_sampled")
        expected, _ = idlm.exact_laws(tiny, [1, 2], 2, options)
        choose, n = chance.by_uniforms(random.Random(0).random), 150
        drawn = [tuple(idlm.generate(tiny, [1, 2], 2, choose, options).ids[0, 2:].tolist()) for _ in range(n)]
        observed = {key: drawn.count(key) / n for key in set(drawn)}
        assert chance.total_variation(observed, expected) < 0.2


class TestLikelihood:
    IDS = torch.tensor([3, 14, 15, 9, 26, 5, 35])

    def test_every_estimator_is_right_where_context_does_not_matter(self) -> None:
        network, options = Constant(), {"mask_id": MASK}
        truth = float(likelihood.chain(network, self.IDS, 2).sum())
        assert likelihood.exact(network, self.IDS, 2, **options) == pytest.approx(truth)
        assert likelihood.blockwise_exact(network, self.IDS, 2, block_length=3, **options) == pytest.approx(truth)
        generator = torch.Generator().manual_seed(0)
        mean, draws = likelihood.monte_carlo(network, self.IDS, 2, quirks=False, generator=generator, **options)
        assert mean == pytest.approx(truth, rel=0.1)
        assert draws.shape == (128,)

    @pytest.mark.parametrize("shifted", [False, True])
    def test_monte_carlo_approaches_its_expectation(self, full: ReferenceNetwork, shifted: bool) -> None:
        options: dict[str, Any] = {"mask_id": MASK, "shifted": shifted}
        expected = likelihood.exact(full, self.IDS, 2, **options)
        generator = torch.Generator().manual_seed(0)
        mean, draws = likelihood.monte_carlo(
            full, self.IDS, 2, samples=1024, batch=64, quirks=False, generator=generator, **options
        )
        assert abs(mean - expected) < 4 * float(draws.std()) / 1024**0.5

    def test_counts_of_a_batch(self) -> None:
        generator = torch.Generator().manual_seed(0)
        assert sorted(likelihood.mask_counts(6, 12, generator, quirks=False).tolist()) == sorted([*range(1, 7)] * 2)
        published = likelihood.mask_counts(6, 12, generator).bincount(minlength=7)[1:]
        assert published.tolist() in ([1, 3, 1, 3, 1, 3], [3, 1, 3, 1, 3, 1])  # half to even

    def test_blocks_follow_one_another(self, blocks: ReferenceNetwork) -> None:
        assert likelihood.block_spans(3, 11, 4) == [(3, 4), (4, 8), (8, 11)]
        single = likelihood.blockwise_exact(
            blocks.reading("block_causal", 1), self.IDS, 2, mask_id=MASK, block_length=1
        )
        rows = [torch.cat([self.IDS[:p], torch.tensor([MASK])])[None] for p in range(2, 7)]
        causal = blocks.reading("causal")
        steps = [causal(row)[0, -1].double().log_softmax(-1)[t] for row, t in zip(rows, self.IDS[2:], strict=True)]
        assert single == pytest.approx(float(sum(steps)))
        options: dict[str, Any] = {"mask_id": MASK, "block_length": 4}
        sampled = likelihood.blockwise_monte_carlo(
            blocks, self.IDS, 2, samples=512, generator=torch.Generator().manual_seed(1), **options
        )
        assert sampled == pytest.approx(likelihood.blockwise_exact(blocks, self.IDS, 2, **options), rel=0.03)


def test_a_record_keeps_every_change() -> None:
    run = Run(torch.tensor([[1, MASK, MASK]]))
    run.forward(3)
    run.write(0, [0, 1], {0: 1, 1: 5}, {0: 0.5, 1: 0.5})
    run.forward(3)
    run.forward(3, "store")
    assert (run.forwards, run.empty, run.stores, run.rows) == (3, 1, 1, 9)
    assert run.steps() == {1: 0}
    assert shift(torch.arange(3.0)[:, None])[:, 0].tolist() == [0, 0, 1]
