"""Draft heads against plain PyTorch: guesses token for token, and the distributions that they are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import foresight as fs
from foresight import _core
from foresight.draft_head import DraftHead, core_head
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
    tiny_dflash,
    tiny_eagle3,
    tiny_mtp,
)

# Per kind and variant: the target's layers as the engine numbers them.
LAYERS_OF = {
    ("eagle3", "official"): [2, 3, 3],
    ("eagle3", "specforge"): [1, 3, 5],
    ("eagle3", "speculators"): [1, 3, 5],
    ("dflash", "zlab"): [1, 3, 6],
    ("dflash", "sliding"): [1, 3, 6],
    ("dflash", "speculators"): [2, 4],
    ("dflash", "deepspec"): [0, 2, 4],
    ("dflash", "vanilla"): [0, 2, 4],
    ("dflash", "gated"): [0, 2, 4],
    ("dflash", "rnn"): [0, 2, 4],
    ("mtp", "deepseek"): [LAYERS],
    ("mtp", "qwen"): [LAYERS],
    ("mtp", "mimo"): [LAYERS],
}


@dataclass
class Case:
    head: _core.Head
    oracle: Any
    kind: str
    num_states: int

    def drafter(self, num_slots: int = 512, num_sequences: int = 8) -> _core.DraftHead:
        return _core.DraftHead(self.head, num_slots=num_slots, num_sequences=num_sequences)

    def states(self, count: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, self.num_states, HIDDEN, generator=generator)


@dataclass
class Target:
    lm: fs.LM
    embed: torch.Tensor
    head: torch.Tensor


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = make_tiny(
        tmp_path_factory.mktemp("target"),
        "qwen3",
        num_hidden_layers=LAYERS,
        head_dim=HEAD_DIM,
        intermediate_size=INNER,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    weights = load_file(folder / "model.safetensors")
    lm = fs.LM.from_pretrained(folder, kv_cache_bytes=1 << 20)
    return Target(lm, weights["model.embed_tokens.weight"], weights["lm_head.weight"])


def oracle_of(kind: str, variant: str, folder: Path, target: Target) -> Any:
    if kind == "eagle3":
        return Eagle3(folder, target.embed, target.head)
    if kind == "mtp":
        names, feature_first = MTP_SPELLINGS[variant]
        return Mtp(folder, target.embed, target.head, names, feature_first)
    block = 6 if variant in ("zlab", "sliding") else 5
    from_anchor = variant not in ("zlab", "sliding", "speculators")
    return Block(folder, target.embed, target.head, block=block, mask=7, from_anchor=from_anchor)


MAKERS: dict[str, Callable[..., Path]] = {"eagle3": tiny_eagle3, "dflash": tiny_dflash, "mtp": tiny_mtp}


@pytest.fixture(scope="module", params=list(LAYERS_OF), ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Case:
    kind, variant = request.param
    folder = MAKERS[kind](tmp_path_factory.mktemp(f"{kind}-{variant}"), variant)
    checkpoint = DraftHead(folder).load(target.lm.config, None)
    assert list(checkpoint.config.target_layers) == LAYERS_OF[kind, variant]
    head = core_head(checkpoint, target.lm.loaded.engine)
    return Case(head, oracle_of(kind, variant, folder, target), kind, len(checkpoint.config.target_layers))


def tokens_of(count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(8, VOCAB, count).tolist()


def show(drafter: _core.Drafter, branch: int, tokens: list[int], states: torch.Tensor, chunks: list[int]) -> None:
    """The states of positions 0, 1, ... in chunks of these lengths."""
    first = 0
    for count in chunks:
        part = states[first : first + count].numpy()
        _core.testing.observe(drafter, branch, tokens, first, part)
        first += count


def check(case: Case, drafter: _core.Drafter, branch: int, tokens: list[int], states: torch.Tensor) -> None:
    """Drawn guesses come from the oracle's distributions, given the guesses before them."""
    ((guesses, weights),) = _core.testing.draw_drafts(drafter, [branch], [tokens], 4, seed=len(tokens))
    assert len(guesses) == 4
    logits = case.oracle.logits(tokens, states, guesses[:-1])
    expected = np.zeros((4, VOCAB))
    expected[:, [case.oracle.token_of(i) for i in range(logits.shape[1])]] = logits.softmax(-1).numpy()
    seen = expected > 1e-5
    np.testing.assert_allclose(np.log(weights[seen]), np.log(expected[seen]), atol=2e-4)
    assert weights[~seen].max(initial=0) < 2e-5


def test_greedy_guesses_are_the_references(case: Case) -> None:
    drafter = case.drafter()
    tokens = tokens_of(23, 1)
    states = case.states(22, 2)
    show(drafter, 0, tokens, states, [22])
    (guesses,) = drafter.propose([tokens], 4)
    assert [token for token, _ in guesses] == case.oracle.greedy(tokens, states, 4)
    assert [parent for _, parent in guesses] == [-1, 0, 1, 2]


def test_a_prompt_in_chunks_and_steps_behind_it(case: Case) -> None:
    drafter = case.drafter()
    tokens, states = tokens_of(40, 3), case.states(39, 4)
    show(drafter, 0, tokens[:30], states[:29], [7, 1, 16, 5])
    check(case, drafter, 0, tokens[:30], states[:29])
    for length in (31, 32, 36, 40):  # one, one, four and four tokens were accepted
        before = length - (1 if length < 33 else 4)
        _core.testing.observe(drafter, 0, tokens[:length], before - 1, states[before - 1 : length - 1].numpy())
        check(case, drafter, 0, tokens[:length], states[: length - 1])


def test_the_same_context_may_be_asked_twice(case: Case) -> None:
    drafter = case.drafter()
    tokens, states = tokens_of(20, 5), case.states(19, 6)
    show(drafter, 0, tokens, states, [19])
    check(case, drafter, 0, tokens, states)
    check(case, drafter, 0, tokens, states)


def test_after_a_truncation(case: Case) -> None:
    drafter = case.drafter()
    tokens, states = tokens_of(30, 7), case.states(29, 8)
    show(drafter, 0, tokens, states, [29])
    check(case, drafter, 0, tokens, states)
    other = tokens[:22] + tokens_of(3, 9)
    changed = torch.cat([states[:22], case.states(2, 10)])
    _core.testing.observe(drafter, 0, other, 22, changed[22:].numpy())
    check(case, drafter, 0, other, changed)


def test_a_fork_goes_on_by_itself(case: Case) -> None:
    drafter = case.drafter()
    tokens, states = tokens_of(30, 11), case.states(29, 12)
    show(drafter, 0, tokens, states, [29])
    check(case, drafter, 0, tokens, states)
    # Branch 1 shares all but the last token with branch 0, which goes on too.
    fork = [*tokens[:29], 9, 11]
    fork_states = torch.cat([states[:29], case.states(1, 13)])
    _core.testing.observe(drafter, 1, fork, 29, fork_states[29:].numpy())
    check(case, drafter, 1, fork, fork_states)
    longer = [*tokens, 13]
    longer_states = torch.cat([states, case.states(1, 14)])
    _core.testing.observe(drafter, 0, longer, 29, longer_states[29:].numpy())
    check(case, drafter, 0, longer, longer_states)
    check(case, drafter, 1, fork, fork_states)


def test_many_branches_in_shared_forwards(case: Case) -> None:
    drafter = case.drafter()
    sequences = [tokens_of(5 + 6 * i, 20 + i) for i in range(5)]
    all_states = [case.states(len(tokens) - 1, 30 + i) for i, tokens in enumerate(sequences)]
    for i, (tokens, states) in enumerate(zip(sequences, all_states, strict=True)):
        show(drafter, i, tokens, states, [len(states)])
    guesses = drafter.propose(sequences, 4)
    for tokens, states, got in zip(sequences, all_states, guesses, strict=True):
        assert [token for token, _ in got] == case.oracle.greedy(tokens, states, 4)


def test_long_prompts_are_cached_on_the_way(case: Case) -> None:
    drafter = case.drafter(num_slots=1024)
    tokens, states = tokens_of(900, 40), case.states(899, 41)
    show(drafter, 0, tokens, states, [300, 300, 299])
    check(case, drafter, 0, tokens, states)


def test_missing_states_only_shorten_the_context(case: Case) -> None:
    drafter = case.drafter()
    tokens, states = tokens_of(30, 50), case.states(29, 51)
    assert drafter.propose([tokens], 4) == [[]]  # nothing is known
    _core.testing.observe(drafter, 0, tokens, 20, states[20:].numpy())
    # Positions only turn queries and keys against each other: a context that begins later is one that is shorter.
    shorter = case.oracle.greedy(tokens[20:], states[20:], 4)
    assert [token for token, _ in drafter.propose([tokens], 4)[0]] == shorter
    _core.testing.observe(drafter, 1, tokens_of(9, 52), 0, case.states(5, 53).numpy())
    assert drafter.propose([tokens, tokens_of(9, 52)], 4)[1] == []  # the last states are missing


def test_a_full_cache_costs_guesses_not_errors(case: Case) -> None:
    drafter = case.drafter(num_slots=64, num_sequences=2)
    sequences = [tokens_of(48, 60 + i) for i in range(3)]
    all_states = [case.states(47, 70 + i) for i in range(3)]
    for i in range(3):
        show(drafter, i, sequences[i], all_states[i], [47])
    together = drafter.propose(sequences, 4)
    assert any(together)
    assert not all(together)
    drafter = case.drafter(num_slots=1, num_sequences=1)
    show(drafter, 0, sequences[0], all_states[0], [47])
    assert drafter.propose(sequences[:1], 4) == [[]]


def test_trees_of_eagle(case: Case) -> None:
    if case.kind == "dflash":
        pytest.skip("blocks are chains")
    drafter = case.drafter()
    tokens, states = tokens_of(20, 80), case.states(19, 81)
    show(drafter, 0, tokens, states, [19])
    (got,) = drafter.propose([tokens], 10, depth=3, width=3, dynamic=True)
    assert len(got) == 10
    pairs = sorted((token, -1 if parent < 0 else got[parent][0]) for token, parent in got)
    assert pairs == case.oracle.tree(tokens, states, 3, 3, 10)
    # A tree leaves nothing behind: the chain is as it was.
    assert [token for token, _ in drafter.propose([tokens], 4)[0]] == case.oracle.greedy(tokens, states, 4)
