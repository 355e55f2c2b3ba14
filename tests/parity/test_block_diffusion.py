"""fs.BlockDiffusion against the published loops in plain PyTorch: the same tokens at temperature 0."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foresight as fs
from support.tiny import make_tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from reference import block_diffusion as loops  # noqa: E402

pytestmark = pytest.mark.hf

MASK = 319
NEVER = {"eos_token_id": None, "pad_token_id": 0}


class Blocks:
    """One network, read with blocks of a length, here and in PyTorch."""

    def __init__(self, folder: Path, block_length: int) -> None:
        self.folder = folder
        self.block_length = block_length
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
        self.net = loops.BlockNet(model.eval(), block_length)
        self.lms: dict[bool, fs.LM] = {}

    def lm(self, shifted: bool = False) -> fs.LM:
        if shifted not in self.lms:
            reading = {
                "attention": "block_causal",
                "block_length": self.block_length,
                "mask_token_id": MASK,
                "shifted": shifted,
            }
            self.lms[shifted] = fs.LM.from_pretrained(
                self.folder, config=reading, num_threads=1, kv_cache_bytes=32 << 20
            )
        return self.lms[shifted]

    def cases(self, infilling: bool = True) -> list[tuple[list[int], int]]:
        """Prompts of one token, of whole blocks, and that end within one; with masks; and how much to add."""
        draw = random.Random(self.block_length)
        b = self.block_length
        cases = [(n, extra) for n, extra in ((1, 2 * b), (b, b), (b + 3, 2 * b + 1), (3 * b, 5), (2 * b + 1, 9))]
        prompts = [([draw.randrange(3, 300) for _ in range(n)], extra) for n, extra in cases]
        if infilling:
            gaps = [MASK if i % 3 == 1 else draw.randrange(3, 300) for i in range(13)]
            prompts += [(gaps, 6), ([*gaps, 7, 8, 9], 0)]
        return prompts

    def compare(
        self, decoding: fs.BlockDiffusion, reference: Callable[..., list[int]], *, shifted: bool = False, **options: Any
    ) -> None:
        """All prompts in one batch, against each by itself."""
        cases = self.cases()
        prompts = [prompt for prompt, _ in cases]
        budgets = [extra for _, extra in cases]
        ours = self.lm(shifted).generate(prompts, max_new_tokens=budgets, decoding=decoding, **NEVER)
        for (prompt, extra), sequence in zip(cases, ours, strict=True):
            theirs = reference(self.net, prompt, len(prompt) + extra, MASK, self.block_length, **options)
            assert sequence == theirs, (decoding, prompt)


@pytest.fixture(scope="module", params=[("qwen3", 4), ("qwen3", 8), ("qwen2", 4), ("qwen2", 1)], ids=str)
def blocks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blocks:
    family, block_length = request.param
    return Blocks(make_tiny(tmp_path_factory.mktemp("tiny"), family), block_length)


@pytest.mark.parametrize("order", ["sequential", "static", "dynamic", "entropy_bound"])
def test_orders(blocks: Blocks, order: Any) -> None:
    b = blocks.block_length
    thresholds = {"dynamic": (0.02, 0.2), "entropy_bound": (0.4, 6.0)}.get(order, (None,))
    for steps, threshold in itertools.product(sorted({1, max(1, b // 2), min(3, b), b}), thresholds):
        decoding = fs.BlockDiffusion(steps=steps, order=order, threshold=threshold)
        blocks.compare(decoding, loops.sdar, steps=steps, order=order, threshold=threshold)


def test_family_defaults(blocks: Blocks) -> None:
    blocks.compare(fs.BlockDiffusion(), loops.sdar, steps=blocks.block_length, order="dynamic", threshold=0.85)


def test_min_transfer_is_a_floor(blocks: Blocks) -> None:
    decoding = fs.BlockDiffusion(threshold=0.3, min_transfer=3)
    blocks.compare(decoding, loops.sdar, steps=blocks.block_length, order="dynamic", threshold=0.3, min_transfer=3)


@pytest.mark.parametrize(
    ("threshold", "edit_threshold", "max_post_steps"),
    [(0.1, 0.05, None), (0.02, 0.0, 3), (0.3, 0.1, 0), (0.05, 0.3, 5)],
)
def test_editing(blocks: Blocks, threshold: float, edit_threshold: float, max_post_steps: int | None) -> None:
    decoding = fs.BlockDiffusion(threshold=threshold, edit_threshold=edit_threshold, max_post_steps=max_post_steps)
    blocks.compare(
        decoding,
        loops.llada21,
        threshold=threshold,
        edit_threshold=edit_threshold,
        max_post_steps=16 if max_post_steps is None else max_post_steps,
    )


@pytest.mark.parametrize("threshold", [0.9, 0.1])
def test_shifted_blocks(blocks: Blocks, threshold: float) -> None:
    b = blocks.block_length
    for window, steps in sorted({(1, 1), (max(1, b // 2), max(1, b // 2)), (b, b), (b, max(1, b // 2))}):
        decoding = fs.BlockDiffusion(block_length=window, steps=steps, threshold=threshold)
        blocks.compare(decoding, loops.fast_dllm_v2, shifted=True, window=window, steps=steps, threshold=threshold)


def test_published_sdar_overwrites(blocks: Blocks) -> None:
    """Also what it does to the prompt's tail: the new tokens depend on it."""
    b = blocks.block_length
    for order, steps in itertools.product(("static", "dynamic"), sorted({1, max(1, b // 2), min(3, b), b})):
        decoding: Any = fs.BlockDiffusion(order=order, steps=steps, reference_quirks=True)
        for prompt, extra in blocks.cases(infilling=False):
            out = blocks.lm().generate(prompt, max_new_tokens=extra, decoding=decoding, **NEVER)
            total = len(prompt) + extra
            theirs = loops.sdar(blocks.net, prompt, total, MASK, b, steps=steps, order=order, published=True)
            assert out[len(prompt) :] == theirs[len(prompt) :], (decoding, prompt)


def test_ends_at_the_first_eos(blocks: Blocks) -> None:
    """The tokens before an eos are those of a run without one."""
    options = {"steps": blocks.block_length, "order": "dynamic", "threshold": 0.2}
    for edit in (None, 0.05):
        decoding: Any = fs.BlockDiffusion(threshold=0.2, edit_threshold=edit)
        for prompt, extra in blocks.cases(infilling=False):
            total = len(prompt) + extra
            if edit is None:
                full = loops.sdar(blocks.net, prompt, total, MASK, blocks.block_length, **options)
            else:
                full = loops.llada21(
                    blocks.net, prompt, total, MASK, blocks.block_length, threshold=0.2, edit_threshold=edit
                )
            eos = full[len(prompt) + extra // 2]
            wanted = full[: full.index(eos, len(prompt)) + 1]
            ours = blocks.lm().generate(
                prompt, max_new_tokens=extra, decoding=decoding, eos_token_id=eos, pad_token_id=0
            )
            assert ours == wanted


def test_sampling_does_not_see_the_batch(blocks: Blocks) -> None:
    prompts = [prompt for prompt, _ in blocks.cases(infilling=False)]
    options: dict[str, Any] = {"do_sample": True, "temperature": 1.3, "top_k": 20, "max_new_tokens": 11, **NEVER}
    for shifted in (False, True):
        lm = blocks.lm(shifted)
        seeds = list(range(len(prompts)))
        together = lm.generate(prompts, seed=seeds, **options)
        alone = [lm.generate([p], seed=[s], **options)[0] for p, s in zip(prompts, seeds, strict=True)]
        assert together == alone
        several = lm.generate([prompts[2]], seed=[2], num_return_sequences=3, **options)
        assert several[0] == alone[2]
        assert len({tuple(sequence) for sequence in several}) == 3


def test_sampled_tokens_follow_their_law(blocks: Blocks) -> None:
    """The first token of a fresh block, one mask per forward from left to right, against its distribution."""
    if blocks.block_length != 4:
        pytest.skip("one network is enough")
    prompt = [9, 8, 7, 6, 5]
    row = blocks.net([*prompt, MASK, MASK, MASK])[5].double()
    row[MASK] = -torch.inf
    law = torch.softmax(row / 0.5, dim=-1)
    best = law.argmax()
    draws = 400
    out = blocks.lm().generate(
        [prompt] * draws,
        max_new_tokens=1,
        decoding=fs.BlockDiffusion(order="sequential"),
        do_sample=True,
        temperature=0.5,
        top_k=0,
        seed=3,
        **NEVER,
    )
    share = sum(sequence[5] == int(best) for sequence in out) / draws
    expected = float(law[best])
    assert abs(share - expected) < 4 * (expected * (1 - expected) / draws) ** 0.5 + 1e-9


@pytest.mark.parametrize(("length", "negative_length"), [(8, 8), (13, 5), (6, 14), (3, 11)])
def test_guidance_with_whole_blocks_between_the_prompts(blocks: Blocks, length: int, negative_length: int) -> None:
    scale, b = 2.5, blocks.block_length
    prompt, negative = [*range(10, 10 + length)], [*range(100, 100 + negative_length)]
    offset = negative_length - length

    def guided(tokens: list[int]) -> Any:
        with_prompt = torch.log_softmax(blocks.net(tokens).double(), dim=-1)
        other = torch.log_softmax(blocks.net([*negative, *tokens[length:]]).double(), dim=-1)
        for p in range(max(0, -offset), len(tokens)):
            with_prompt[p] = other[p + offset] + scale * (with_prompt[p] - other[p + offset])
        return with_prompt

    for shifted in (False, True):
        if shifted:
            theirs = loops.fast_dllm_v2(guided, prompt, length + 9, MASK, b, window=b, threshold=0.9)
        else:
            theirs = loops.sdar(guided, prompt, length + 9, MASK, b, steps=b, order="dynamic", threshold=0.9)
        decoding = fs.BlockDiffusion(threshold=0.9, block_length=b)
        options: dict[str, Any] = {"guidance_scale": scale, "negative_prompt_ids": [negative], "decoding": decoding}
        assert blocks.lm(shifted).generate([prompt], max_new_tokens=9, **options, **NEVER) == [theirs]


def test_forwards_are_no_more_than_the_loops_need(blocks: Blocks) -> None:
    """The published loops spend one forward more per block on its keys and values, and prefill first."""
    for prompt, extra in blocks.cases(infilling=False):
        if (len(prompt) + extra) % blocks.block_length:
            continue
        blocks.net.forwards = 0
        loops.sdar(
            blocks.net,
            prompt,
            len(prompt) + extra,
            MASK,
            blocks.block_length,
            steps=blocks.block_length,
            order="dynamic",
        )
        out = blocks.lm().generate([prompt], max_new_tokens=extra, return_dict_in_generate=True, **NEVER)
        assert out.stats.forwards == blocks.net.forwards
        assert out.stats.exact
