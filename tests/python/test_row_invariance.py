"""A row of logits is the same bit for bit alone, in any batch, chunk and number of threads, after forks, truncations
and preemptions: on every instruction set this machine runs, for every kind of attention and storage type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight import _core, checkpoint
from foresight.core_config import core_config
from support.tiny import make_tiny

pytest.importorskip("torch")

# Beyond 256 tokens, where attention goes from one chunk of its sums to the next; pages hold 16.
LENGTH = 275
CUTS = [1, 2, 15, 16, 17, 33, 100, 255, 256, 257, 258, 272, 273, LENGTH]
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "mistral": {"variant": "sliding", "sliding_window": 262},
    "gemma3": {},
}
CASES = [(family, dtype) for family in MODELS for dtype in ("float32", "bfloat16")] + [("llama", "float16")]
NEUTRAL: dict[str, Any] = {"eos_token_ids": []}
SAMPLED = {**NEUTRAL, "do_sample": True, "temperature": 1.3, "top_k": 40, "top_p": 0.95, "repetition_penalty": 1.1}


def tokens(count: int, seed: int) -> list[int]:
    drawn: list[int] = np.random.default_rng(seed).integers(0, 320, count).tolist()
    return drawn


MAIN = tokens(LENGTH, 0)
# Short and long, with a common beginning and without.
MATES = [tokens(3, 1), tokens(40, 2), MAIN[:20] + tokens(11, 3), tokens(270, 4), [7], MAIN[:64]]


@pytest.fixture(scope="module")
def make_engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., _core.Engine]:
    folders: dict[str, Path] = {}

    def make(family: str, dtype: str, isa: str, num_threads: int, kv_cache_bytes: int = 32 << 20) -> _core.Engine:
        if family not in folders:
            folders[family] = make_tiny(tmp_path_factory.mktemp(family), family, num_hidden_layers=2, **layers(family))
        loaded = checkpoint.load(folders[family])
        tensors = {name: (view.array, view.dtype, view.shape) for name, view in loaded.tensors.items()}
        config = core_config(checkpoint.with_dtype(loaded.config, dtype))
        return _core.Engine(
            config, tensors, dtype=dtype, kv_cache_bytes=kv_cache_bytes, num_threads=num_threads, isa=isa
        )

    return make


def layers(family: str) -> dict[str, Any]:
    """One layer of each kind is enough."""
    if family == "gemma3":
        return {"layer_types": ["sliding_attention", "full_attention"]}
    return MODELS[family]


@pytest.fixture(params=_core.supported_isas())
def isa(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def engine(make_engine: Callable[..., _core.Engine], case: tuple[str, str], isa: str) -> Iterator[_core.Engine]:
    engine = make_engine(*case, isa, 2)
    yield engine
    engine.check_integrity()
    assert engine.memory()["cache_used"] == 0


def append(engine: _core.Engine, session: _core.Session, ids: list[int], logits: str = "last") -> Any:
    (rows,) = engine.extend([session], [ids], logits)
    return rows


def all_rows(engine: _core.Engine, ids: list[int]) -> Any:
    session = engine.session()
    rows = append(engine, session, ids, "all")
    session.close()
    return rows


def rows_at_cuts(engine: _core.Engine, chunk: int, preempts: bool = False) -> Any:
    """The rows at the ends of the cuts, what lies between them computed in chunks."""
    engine.fix_chunk_rows(chunk)
    session = engine.session()
    rows = []
    for begin, end in zip([0, *CUTS], CUTS, strict=False):
        rows.append(append(engine, session, MAIN[begin:end])[0])
        if preempts:
            engine.preempt_all()
    session.close()
    engine.fix_chunk_rows(0)
    return np.stack(rows)


def same(found: Any, wanted: Any) -> bool:
    assert found.shape == wanted.shape
    assert np.isfinite(found).all()
    return bool((found.view(np.uint32) == wanted.view(np.uint32)).all())


def test_chunks_batches_forks_and_preemption(engine: _core.Engine) -> None:
    wanted = all_rows(engine, MAIN)
    at_cuts = wanted[np.array(CUTS) - 1]
    assert len(np.unique(wanted, axis=0)) == LENGTH
    for chunk in (1, 3, 16, 64, 1000):
        assert same(rows_at_cuts(engine, chunk), at_cuts), chunk
    assert same(rows_at_cuts(engine, 1000, preempts=True), at_cuts)

    sessions = [engine.session() for _ in range(len(MATES) + 1)]
    together = engine.extend(sessions, [*MATES[:3], MAIN, *MATES[3:]], logits="all")
    assert same(together[3], wanted)
    for i, mate in enumerate(MATES):
        assert same(together[i if i < 3 else i + 1], all_rows(engine, mate)), i

    for cut in (1, 16, 100, 257):
        parent = engine.session()
        append(engine, parent, MAIN[:cut], "none")
        child = parent.fork()
        append(engine, parent, tokens(30, 5), "none")
        assert same(append(engine, child, MAIN[cut:], "all"), wanted[cut:]), cut
        parent.truncate(cut)
        both = engine.extend([child.fork(), parent], [[1], MAIN[cut:]], logits="all")
        assert same(both[1], wanted[cut:]), cut
        parent.truncate(cut // 2)
        assert same(append(engine, parent, MAIN[cut // 2 :], "all"), wanted[cut // 2 :]), cut
        parent.close()
        child.close()
    for session in sessions:
        session.close()


def test_number_of_threads(make_engine: Callable[..., _core.Engine], case: tuple[str, str], isa: str) -> None:
    rows = []
    for num_threads in (1, 2, 3):
        engine = make_engine(*case, isa, num_threads)
        assert engine.num_threads == num_threads
        rows.append(np.concatenate([all_rows(engine, MAIN), rows_at_cuts(engine, 16)]))
    assert same(rows[1], rows[0])
    assert same(rows[2], rows[0])


def add(job: _core.Job, prompt: list[int], seed: int, sampling: dict[str, Any], num_sequences: int = 1) -> int:
    return job.add(
        prompt,
        sampling=sampling,
        max_new_tokens=20,
        seed=seed,
        num_sequences=num_sequences,
        output_logits=True,
        logprobs=2,
    )


def results(job: _core.Job, request: int, sequence: int = 0) -> tuple[list[int], Any]:
    return job.new_tokens(request, sequence), job.logits(request, sequence)


@pytest.mark.parametrize("sampling", [NEUTRAL, SAMPLED], ids=["greedy", "sampled"])
def test_generation(make_engine: Callable[..., _core.Engine], case: tuple[str, str], isa: str, sampling: Any) -> None:
    engine = make_engine(*case, isa, 2)
    prompts = [MAIN[:250], *MATES[:3]]
    wanted = []
    for i, prompt in enumerate(prompts):
        job = engine.job()
        add(job, prompt, i, sampling)
        job.advance()
        wanted.append(results(job, 0))
        job.close()

    def check(order: list[int], num_sequences: int, drive: Callable[[_core.Engine, _core.Job], None]) -> None:
        job = engine.job()
        for i in order:
            add(job, prompts[i], i, sampling, num_sequences)
        drive(engine, job)
        for place, i in enumerate(order):
            ids, logits = results(job, place)
            assert ids == wanted[i][0]
            assert same(logits, wanted[i][1])
        job.close()

    check([3, 0, 2, 1], 1, drive_to_the_end)
    check([0, 1, 2, 3], 2, drive_to_the_end)
    check([0, 1], 1, preempt_after_every_step)
    # Room for the longest one and little more.
    page = engine.memory()["cache"] // engine.max_cached_tokens * 16
    engine = make_engine(*case, isa, 1, kv_cache_bytes=20 * page)
    check([1, 0, 3, 2], 2, drive_to_the_end)
    engine.check_integrity()
    assert engine.memory()["cache_used"] == 0


def drive_to_the_end(_engine: _core.Engine, job: _core.Job) -> None:
    job.advance()


def preempt_after_every_step(engine: _core.Engine, job: _core.Job) -> None:
    # A step must hold a whole sequence, or nothing would ever be kept.
    engine.fix_chunk_rows(1000)
    while not job.done():
        job.advance("step")
        engine.preempt_all()
    engine.fix_chunk_rows(0)
