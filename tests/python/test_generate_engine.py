"""The whole way through the real core, on a tiny checkpoint."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight._core import prompt_seed
from support.tiny import make_tiny, tiny_tokenizer

pytest.importorskip("torch")

PROMPTS = [[1, 17, 40, 9], [5], [200, 31, 7, 7, 7, 90, 12], [1, *range(60, 83)], [300, 2, 4]]
NEVER = {"eos_token_id": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tokenizer(make_tiny(tmp_path_factory.mktemp("tiny"), "qwen3"))


@pytest.fixture(scope="module")
def lm(folder: Path) -> Any:
    return fs.LM.from_pretrained(folder, num_threads=2, kv_cache_bytes=16 << 20)


@pytest.fixture(autouse=True)
def books_balance(lm: Any) -> Any:
    before = lm.memory()["cache_used"]
    yield
    lm._model.engine.check_integrity()
    assert lm.memory()["cache_used"] == before


def sample(lm: Any, prompts: Any, **kwargs: Any) -> Any:
    return lm.generate(prompts, do_sample=True, max_new_tokens=24, **NEVER, **kwargs)


def test_seeds_alone_decide_what_is_drawn(lm: Any) -> None:
    seeds = [3, 1, 4, 1, 5]
    together = sample(lm, PROMPTS, seed=seeds)
    assert together == sample(lm, PROMPTS, seed=seeds)
    assert together[::-1] == sample(lm, PROMPTS[::-1], seed=seeds[::-1])
    for prompt, seed, sequence in zip(PROMPTS, seeds, together, strict=True):
        assert sample(lm, prompt, seed=[seed]) == sequence
    assert sample(lm, PROMPTS, seed=8) != sample(lm, PROMPTS, seed=9)
    fresh = sample(lm, PROMPTS, return_dict_in_generate=True)
    assert fresh.sequences == sample(lm, PROMPTS, seed=fresh.seed)


def test_sequences_of_a_prompt_differ_and_the_first_ones_do_not_depend_on_their_number(lm: Any) -> None:
    four = sample(lm, PROMPTS[0], seed=5, num_return_sequences=4)
    assert len({tuple(s) for s in four}) == 4
    assert sample(lm, PROMPTS[0], seed=5, num_return_sequences=2) == four[:2]
    assert sample(lm, PROMPTS[0], seed=5) == four[0]


def test_frequencies_are_the_processed_probabilities(lm: Any) -> None:
    options = {"do_sample": True, "temperature": 1.5, "top_k": 12, "max_new_tokens": 1, **NEVER}
    scores = lm.generate([PROMPTS[0]], **options, return_dict_in_generate=True, output_scores=True).scores[0][0]
    probabilities = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    count = 3000
    drawn = lm.generate(PROMPTS[0], **options, seed=1, num_return_sequences=count)
    frequencies = np.bincount([s[-1] for s in drawn], minlength=len(scores)) / count
    spread = np.sqrt(probabilities * (1 - probabilities) / count)
    assert (np.abs(frequencies - probabilities) <= 4.5 * spread).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": 0.0},
        {"top_p": 1.5},
        {"min_p": 2.0},
        {"typical_p": -1.0},
        {"epsilon_cutoff": 2.0},
        {"repetition_penalty": 0.0},
        {"sequence_bias": {(999,): 1.0}},
        {"forced_eos_token_id": 999},
    ],
    ids=lambda o: next(iter(o)),
)
def test_values_out_of_range_are_named(lm: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        lm.generate(PROMPTS, do_sample=True, max_new_tokens=2, **bad)


def test_greedy_does_not_depend_on_the_batch(lm: Any) -> None:
    together = lm.generate(PROMPTS, max_new_tokens=40, **NEVER)
    assert together == [lm.generate(p, max_new_tokens=40, **NEVER) for p in PROMPTS]


def test_every_door_gives_the_same_tokens(lm: Any) -> None:
    wanted = sample(lm, PROMPTS, seed=2)
    options = {"do_sample": True, "max_new_tokens": 24, "seed": 2, **NEVER}
    assert dict(lm.generate_iter(PROMPTS, **options)) == dict(enumerate(wanted))
    streamed: dict[int, list[int]] = {i: list(p) for i, p in enumerate(PROMPTS)}
    texts = dict.fromkeys(streamed, "")
    for event in lm.stream(PROMPTS, **options):
        assert event.positions == list(
            range(len(streamed[event.index]), len(streamed[event.index]) + len(event.tokens))
        )
        streamed[event.index] += event.tokens
        texts[event.index] += event.text
    assert list(streamed.values()) == wanted
    out = lm.generate(PROMPTS, **options, return_dict_in_generate=True)
    assert list(texts.values()) == out.texts
    arrays = lm.generate(np.array([PROMPTS[0]]), **{**options, "seed": [prompt_seed(2, 0)]})
    assert arrays.tolist() == [wanted[0]]
    with lm.session(PROMPTS[2]) as session:
        assert session.generate(**{**options, "seed": [prompt_seed(2, 2)]}) == wanted[2]
        assert session.tokens == PROMPTS[2]


def test_stops_through_single_steps_change_nothing_else(lm: Any) -> None:
    wanted = sample(lm, PROMPTS, seed=2)
    assert sample(lm, PROMPTS, seed=2, stopping_criteria=lambda ids, scores: False) == wanted
    cut = sample(lm, PROMPTS, seed=2, stopping_criteria=lambda ids, scores: ids.shape[1] >= 20)
    assert cut == [sequence[: max(20, len(p) + 1)] for sequence, p in zip(wanted, PROMPTS, strict=True)]


def test_counts_add_up(lm: Any) -> None:
    out = lm.generate(PROMPTS, max_new_tokens=[4, 8, 1, 8, 8], return_dict_in_generate=True, **NEVER)
    stats = out.stats
    assert out.finish_reasons == ["length"] * 5
    assert [len(new) for new in out.new_tokens] == [4, 8, 1, 8, 8]
    assert [s.generated_tokens for s in stats.per_sequence] == [4, 8, 1, 8, 8]
    assert stats.generated_tokens == 29
    assert stats.forwards >= 8
    assert stats.rows == sum(len(p) for p in PROMPTS) + 29 - 5
    assert [s.rows for s in stats.per_sequence] == [
        len(p) + len(n) - 1 for p, n in zip(PROMPTS, out.new_tokens, strict=True)
    ]
    assert stats.tokens_per_forward == 1.0
    assert stats.peak_cache_bytes > 0
    assert stats.seconds > 0
    assert stats.exact


def test_log_probabilities_agree_with_scores_and_logits(lm: Any) -> None:
    out = lm.generate(
        PROMPTS[:2],
        **{"do_sample": True, "temperature": 0.7, "top_k": 30, "seed": 1, "max_new_tokens": 6, **NEVER},
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        output_logprobs=3,
    )
    for i, new in enumerate(out.new_tokens):
        for t, token in enumerate(new):
            for rows, reported in ((out.scores, out.logprobs), (out.logits, out.raw_logprobs)):
                row = rows[t][i].astype(np.float64)
                logprobs = row - np.log(np.exp(row - row.max()).sum()) - row.max()
                assert reported[i][t] == pytest.approx(logprobs[token], abs=1e-4)
            best = [entry[0] for entry in out.top_logprobs[i][t]]
            assert best == np.argsort(-out.scores[t][i], kind="stable")[:3].tolist()


def test_sessions_say_what_logits_say(lm: Any) -> None:
    tokens = PROMPTS[3]
    (rows,) = lm.logits([tokens])
    with lm.session(tokens[:5]) as session:
        np.testing.assert_array_equal(session.next_logits, rows[4])
        middle = session.append(tokens[5:9], logits="all")
        np.testing.assert_array_equal(middle, rows[5:9])
        (branch,) = session.fork()
        session.append(tokens[9:], logits="none")
        np.testing.assert_array_equal(session.next_logits, rows[-1])
        session.truncate(7)
        assert session.tokens == tokens[:7]
        np.testing.assert_array_equal(session.next_logits, rows[6])
        last = lm.append([session, branch], [tokens[7:10], tokens[9:12]])
        np.testing.assert_array_equal(last[0][0], rows[9])
        np.testing.assert_array_equal(last[1][0], rows[11])
        branch.close()


def test_scores_are_those_of_the_logits(lm: Any) -> None:
    tokens = PROMPTS[3]
    (rows,) = lm.logits([tokens])
    greedy = [*tokens, int(rows[-1].argmax())]
    scores = lm.score([tokens[:6], tokens], [tokens[6:], greedy[-1:]])
    wide = rows.astype(np.float64)
    logprobs = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
    wanted = [logprobs[i - 1, tokens[i]] for i in range(6, len(tokens))]
    np.testing.assert_allclose(scores[0].token_logprobs, wanted, atol=1e-4)
    assert scores[1].is_greedy
    (rolled,) = lm.score(None, [tokens[1:]])
    (whole,) = lm.score([tokens[:1]], [tokens[1:]])
    assert rolled.logprob == whole.logprob


def test_closing_a_stream_early_frees_its_cache(lm: Any) -> None:
    events = lm.stream(PROMPTS, max_new_tokens=100, **NEVER)
    next(events)
    assert lm.memory()["cache_used"] > 0
    events.close()


def test_errors_in_callbacks_pass_through(lm: Any) -> None:
    def broken(ids: Any, scores: Any) -> Any:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        lm.generate(PROMPTS, max_new_tokens=3, logits_processor=[broken])
    with pytest.raises(RuntimeError, match="mine"):
        lm.generate(PROMPTS, max_new_tokens=3, stopping_criteria=[broken])


def test_an_interrupt_leaves_the_lm_usable(lm: Any) -> None:
    wanted = lm.generate(PROMPTS, max_new_tokens=8, **NEVER)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        lm.generate(PROMPTS * 40, max_new_tokens=220, **NEVER)
    assert time.monotonic() - start < 30
    assert lm.generate(PROMPTS, max_new_tokens=8, **NEVER) == wanted


def test_several_threads_at_once(lm: Any) -> None:
    wanted = [sample(lm, p, seed=i) for i, p in enumerate(PROMPTS)]
    results: dict[int, Any] = {}

    def work(i: int) -> None:
        results[i] = [sample(lm, PROMPTS[i], seed=i) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: [sequence] * 3 for i, sequence in enumerate(wanted)}


def test_time_runs_out(lm: Any) -> None:
    out = lm.generate(PROMPTS, max_new_tokens=200, max_time=1e-6, return_dict_in_generate=True, **NEVER)
    assert set(out.finish_reasons) == {"time"}
    assert max(map(len, out.new_tokens)) < 200


def test_a_small_cache_changes_no_token(lm: Any, folder: Path) -> None:
    wanted = sample(lm, PROMPTS, seed=6)
    slots = lm._model.engine.max_cached_tokens
    per_slot = (16 << 20) // slots
    small = fs.LM.from_pretrained(folder, num_threads=1, kv_cache_bytes=72 * per_slot)
    out = sample(small, PROMPTS, seed=6, return_dict_in_generate=True)
    assert out.sequences == wanted
    assert out.stats.preemptions > 0
    assert out.stats.recomputed_rows > 0
    with pytest.raises(fs.CacheFullError):
        small.generate(list(range(3, 200)), max_new_tokens=50, **NEVER)
    assert small.generate(PROMPTS[0], max_new_tokens=3) == lm.generate(PROMPTS[0], max_new_tokens=3)


@fs.policy
def one_by_one(view: Any, *, ask: str = "argmax") -> Any:
    while True:
        rows = [fs.Row(view.tokens[i], position=i, rank=i, limit=i) for i in range(view.cached, len(view.tokens))]
        rows[-1].ask = ask  # type: ignore[assignment]
        readout = yield fs.Plan(rows)
        yield fs.Commit(tokens=[readout[0].token])


@pytest.mark.parametrize("ask", ["argmax", "sample"])
def test_a_policy_of_ones_own_writes_what_autoregressive_writes(lm: Any, ask: str) -> None:
    options = {"max_new_tokens": 12, "seed": 4, "do_sample": ask == "sample", **NEVER}
    assert lm.generate(PROMPTS, decoding=one_by_one(ask=ask), **options) == lm.generate(PROMPTS, **options)


def test_text(lm: Any) -> None:
    text = lm.complete("the cat", max_new_tokens=8)
    ids = lm.generate(lm.tokenizer.encode("the cat"), max_new_tokens=8)
    assert text == lm.tokenizer.decode(ids[len(lm.tokenizer.encode("the cat")) :])
    answer = lm.chat([{"role": "user", "content": "the cat"}], max_new_tokens=8)
    prompt = lm.tokenizer.encode("<s><|user|>the cat</s>\n<|assistant|>", add_special_tokens=False)
    assert answer == lm.tokenizer.decode(lm.generate(prompt, max_new_tokens=8)[len(prompt) :])


def test_what_an_lm_is(lm: Any) -> None:
    assert lm.config.family == "qwen3"
    assert lm.memory()["weights"] > 0
    assert "qwen3" in repr(lm)
    assert lm.tokenizer is not None
    assert fs.__version__


def test_a_trace_is_written_on_demand(lm: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    wanted = sample(lm, PROMPTS, seed=3)
    assert sample(lm, PROMPTS, seed=3, trace=path) == wanted
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) > 24
    with pytest.raises(ValueError, match="no/such"):
        sample(lm, PROMPTS, trace="/no/such/folder/trace.jsonl")


def test_options_of_a_named_policy_do_not_go_with_a_generator(lm: Any) -> None:
    job = lm._model.engine.job()
    with pytest.raises(ValueError, match="policy_options"):
        job.add([1], sampling={}, max_new_tokens=1, seed=0, policy=one_by_one(), policy_options={"start": 1})
    job.close()
