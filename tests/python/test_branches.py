"""lm.generate(..., branches=...): what is written, decided, told and counted, and what goes wrong."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight.trace_branches import read_requests

TASK = fs.tasks.get("reasoner")
PROMPTS = [problem.prompt for problem in TASK.problems(3)]
OPTIONS: dict[str, Any] = {"do_sample": True, "max_new_tokens": 120, "seed": 3, "return_dict_in_generate": True}

CONTROLLERS: dict[str, Any] = {
    "self_consistency": fs.SelfConsistency(6),
    "by confidence": fs.SelfConsistency(6, vote="confidence"),
    "parallel_probe": fs.ParallelProbe(8, interval=16, stable=3, patience=2, warmup=1),
    "likely_lead": fs.LikelyLead(8),
    "lossless_lead": fs.LosslessLead(8),
    "shortest_first": fs.ShortestFirst(8, 3),
    "beta_stop": fs.BetaStop(8),
    "waves": fs.Waves((3, 5)),
    "adaptive_consistency": fs.AdaptiveConsistency(6),
    "early_stopping": fs.EarlyStoppingConsistency(8, 2),
    "deep_conf": fs.DeepConf(8, warmup=3, keep=0.5, group=8),
    "deep_conf offline": fs.DeepConf(4, warmup=4, keep=0.5, group=8),
    "threshold_stop": fs.ThresholdStop(interval=16, window=3),
    "auto": "auto",
    "int": 5,
}


class Busy(fs.Controller):
    """Does everything that a controller may do."""

    width = 6
    interval = 12
    order = "virtual"
    forks = True

    def __init__(self, forks: bool = True) -> None:
        self.forks = forks
        self.looks = 0

    def on_start(self, view: Any) -> list[Any]:
        return [fs.Start(4)]

    def on_interval(self, view: Any) -> list[Any]:
        self.looks += 1
        running = [branch.index for branch in view.branches if branch.status == "running"]
        if self.looks == 1:
            return [fs.Probe(i) for i in running]
        if self.looks == 2:
            return [fs.Prune(running[0], "the first"), *([fs.Fork(running[-1])] if self.forks else [])]
        return [fs.Start(1)] if self.looks == 3 else []

    def on_finish(self, view: Any, branch: int) -> list[Any]:
        answer, votes = next(iter(view.vote().items()), (None, 0))
        return [fs.Stop(answer, "two agree")] if votes >= 2 else []


@pytest.fixture(scope="module")
def lm() -> fs.LM:
    return fs.LM.bundled("reasoner")


@pytest.fixture(scope="module")
def small() -> fs.LM:
    """Room for about four branches."""
    return fs.LM.bundled("reasoner", kv_cache_bytes=_bytes_for(4))


def _bytes_for(width: int) -> int:
    out = fs.LM.bundled("reasoner").generate(PROMPTS[:1], branches=width, eos_token_id=-1, **OPTIONS)
    return int(out.stats.peak_cache_bytes)


def decided(out: Any, prompt: int = 0) -> Any:
    return out.answers[prompt], out.votes[prompt], out.branches[prompt], out.new_tokens[prompt]


def test_branches_are_the_sequences_of_plain_sampling(lm: fs.LM) -> None:
    plain = lm.generate(PROMPTS, num_return_sequences=8, **OPTIONS)
    out = lm.generate(PROMPTS, branches=fs.SelfConsistency(8), **OPTIONS)
    assert [branch.tokens for branches in out.branches for branch in branches] == plain.new_tokens
    assert [branch.reason for branches in out.branches for branch in branches] == plain.finish_reasons
    for i, branches in enumerate(out.branches):
        answers = [TASK.answer(branch.tokens) for branch in branches]
        assert [branch.answer for branch in branches] == answers
        assert out.votes[i] == {a: float(answers.count(a)) for a in answers if a is not None}
        assert out.sequences[i] == PROMPTS[i] + branches[answers.index(out.answers[i])].tokens
    assert out.stats.approximations == ()


@pytest.mark.parametrize("name", [*CONTROLLERS, "own"])
def test_a_live_run_decides_as_the_replay_of_its_trace(lm: fs.LM, tmp_path: Path, name: str) -> None:
    controller = Busy(forks=False) if name == "own" else CONTROLLERS[name]
    path = tmp_path / "trace.jsonl"
    out = lm.generate(PROMPTS, branches=controller, trace=path, **OPTIONS)
    gold = [answer or "?" for answer in out.answers]
    (replayed,) = fs.replay(path, controller, draws=0, gold=gold)
    for i, (traced, question) in enumerate(zip(read_requests(path), replayed.per_question, strict=True)):
        branches, stats = out.branches[i], out.stats.per_sequence[i]
        assert question.accuracy == (out.answers[i] is not None)
        assert question.total_tokens == sum(len(branch.tokens) for branch in branches) == stats.generated_tokens
        assert question.sequential_tokens == stats.sequential_tokens == traced.clock == traced.outcome_clock
        assert question.probes == sum(len(branch.probes) for branch in branches) == traced.num_probes
        assert stats.probe_tokens >= traced.probe_tokens
        assert traced.answer == out.answers[i]
        winner = branches[-1 if traced.winner is None else traced.winner]
        assert winner.tokens == out.new_tokens[i] or winner.status == "stopped"
        for branch, seen in zip(branches, traced.branches, strict=True):
            assert (branch.status, branch.answer, len(branch.tokens)) == (seen.status, seen.answer, seen.num_tokens)
            assert branch.probes == [(probe.num_tokens, probe.answer) for probe in seen.probes]
            assert branch.reason == seen.reason


@pytest.mark.parametrize("name", ["parallel_probe", "waves", "deep_conf", "own"])
def test_a_prompt_alone_decides_as_in_a_batch(lm: fs.LM, name: str) -> None:
    controller = Busy() if name == "own" else CONTROLLERS[name]
    seeds = [11, 12, 13]
    options = {**OPTIONS, "seed": seeds}
    together = lm.generate(PROMPTS, branches=controller, **options)
    for i, seed in enumerate(seeds):
        alone = lm.generate(PROMPTS[i : i + 1], branches=controller, **{**options, "seed": [seed]})
        assert decided(alone) == decided(together, i)


@pytest.mark.parametrize("name", ["parallel_probe", "own"])
@pytest.mark.parametrize("drafter", [fs.SuffixTree(), fs.PromptLookup()], ids=["suffix tree", "lookup"])
def test_drafts_change_no_decision(lm: fs.LM, name: str, drafter: Any) -> None:
    controller = Busy() if name == "own" else CONTROLLERS[name]
    plain = lm.generate(PROMPTS, branches=controller, **OPTIONS)
    drafted = lm.generate(
        PROMPTS, branches=controller, decoding=fs.Speculative(drafter, adaptive=False, verification="match"), **OPTIONS
    )
    assert drafted.stats.accepted_tokens > 0
    for i in range(len(PROMPTS)):
        assert decided(drafted, i) == decided(plain, i)


@pytest.mark.parametrize("name", ["self_consistency", "parallel_probe", "own"])
def test_little_memory_changes_no_decision_in_virtual_order(lm: fs.LM, small: fs.LM, name: str) -> None:
    controllers: dict[str, Any] = {
        "self_consistency": fs.SelfConsistency(16, order="virtual"),
        "parallel_probe": fs.ParallelProbe(16, interval=16, stable=3, patience=2, warmup=1, order="virtual"),
        "own": Busy(),
    }
    wanted = lm.generate(PROMPTS, branches=controllers[name], **OPTIONS)
    found = small.generate(PROMPTS, branches=controllers[name], **OPTIONS)
    for i in range(len(PROMPTS)):
        assert decided(found, i) == decided(wanted, i)
    assert found.stats.recomputed_rows > 0
    assert "order=arrival" not in found.stats.approximations


def test_arrival_order_says_so(lm: fs.LM, small: fs.LM) -> None:
    controller = fs.ParallelProbe(16, interval=16, stable=3, patience=2, warmup=1)
    assert "order=arrival" not in lm.generate(PROMPTS, branches=controller, **OPTIONS).stats.approximations
    assert "order=arrival" in small.generate(PROMPTS, branches=controller, **OPTIONS).stats.approximations


def test_forks_and_counts_add_up(lm: fs.LM, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    out = lm.generate(PROMPTS, branches=Busy(), trace=path, **OPTIONS)
    total = 0
    for i, traced in enumerate(read_requests(path)):
        branches, stats = out.branches[i], out.stats.per_sequence[i]
        assert len(branches) == 6
        fork = traced.branches[4]
        assert fork.parent == 3
        assert branches[4].tokens[: fork.inherited] == branches[3].tokens[: fork.inherited]
        assert branches[4].tokens != branches[3].tokens
        assert (branches[0].status, branches[0].reason) == ("pruned", "the first")
        assert traced.branches[5].start > 0
        assert stats.generated_tokens == traced.total_tokens
        assert stats.sequential_tokens == max(branch.clock for branch in traced.branches)
        probed = [probe for branch in traced.branches for probe in branch.probes]
        assert [probe.num_tokens for probe in probed] == [12] * 4
        assert stats.probe_tokens == sum(probe.probe_tokens for probe in probed)
        total += stats.generated_tokens
    assert out.stats.generated_tokens == total
    assert out.stats.sequential_tokens == max(stats.sequential_tokens for stats in out.stats.per_sequence)
    assert out.stats.probe_tokens == sum(stats.probe_tokens for stats in out.stats.per_sequence)


def test_probes_read_what_the_forced_branch_would_say(lm: fs.LM) -> None:
    suffix = TASK.probe_ids
    controller = fs.ParallelProbe(4, interval=20, stable=99, patience=99, warmup=0)
    out = lm.generate(PROMPTS[:1], branches=controller, **OPTIONS)
    plain = lm.generate(PROMPTS[:1], branches=4, **OPTIONS)
    assert [b.tokens for b in out.branches[0]] == [b.tokens for b in plain.branches[0]]
    for branch in out.branches[0]:
        assert branch.probes
        for length, answer in branch.probes:
            forced = PROMPTS[0] + branch.tokens[:length] + list(suffix)
            said = lm.generate([forced], do_sample=False, max_new_tokens=24)[0][len(forced) :]
            assert answer == TASK.answer([*suffix, *said])


def test_a_forced_winner_ends_with_its_probe(lm: fs.LM) -> None:
    class First(fs.Controller):
        width = 3
        probe_interval = 20

        def on_probe(self, view: Any, branch: int) -> list[Any]:
            answer = view.branches[branch].answer
            return [fs.Stop(answer)] if answer is not None else []

    out = lm.generate(PROMPTS[:1], branches=First(), **OPTIONS)
    (branches,) = out.branches
    winner = next(b for b in branches if b.answer == out.answers[0])
    assert winner.status == "stopped"
    length = winner.probes[-1][0]
    assert out.new_tokens[0][:length] == winner.tokens[:length]
    assert out.new_tokens[0][length : length + len(TASK.probe_ids)] == list(TASK.probe_ids)
    assert TASK.answer(out.sequences[0]) == out.answers[0]
    assert out.finish_reasons == ["controller"]


def test_votes_of_ones_own(lm: fs.LM) -> None:
    def least(view: Any) -> dict[str, float]:
        weights = view.vote(finished=True)
        return {answer: 1.0 / weight for answer, weight in weights.items()}

    plain = lm.generate(PROMPTS, branches=8, **OPTIONS)
    out = lm.generate(PROMPTS, branches=fs.SelfConsistency(8, vote=least), **OPTIONS)
    for votes, wanted, answer in zip(out.votes, plain.votes, out.answers, strict=True):
        assert votes == {a: 1.0 / weight for a, weight in wanted.items()}
        assert answer is None or votes[answer] == max(votes.values())
    with pytest.raises(TypeError, match="a vote gave 3"):
        lm.generate(PROMPTS, branches=fs.SelfConsistency(2, vote=lambda view: 3), **OPTIONS)  # type: ignore[arg-type,return-value]
    by_confidence = lm.generate(PROMPTS, branches=fs.SelfConsistency(8, vote="confidence"), **OPTIONS)
    weights = [weight for votes in by_confidence.votes for weight in votes.values()]
    assert weights
    assert all(weight != round(weight) for weight in weights)


def test_equal_answers_are_counted_together(lm: fs.LM) -> None:
    out = lm.generate(PROMPTS, branches=fs.SelfConsistency(8, equal=lambda a, b: True), **OPTIONS)
    assert all(len(votes) <= 1 for votes in out.votes)
    assert any(len(votes) == 1 and sum(votes.values()) > 1 for votes in out.votes)


def failing(prompt: int, method: str) -> fs.Controller:
    """Raises KeyError for one of the prompts."""
    numbers = itertools.count()

    class Fails(fs.Controller):
        width = 3

        def on_start(self, view: Any) -> list[Any]:
            self.is_failing = next(numbers) == prompt
            return self.act("on_start", [fs.Start(3)])

        def on_finish(self, view: Any, branch: int) -> list[Any]:
            return self.act("on_finish", [])

        def act(self, name: str, actions: list[Any]) -> list[Any]:
            if self.is_failing and name == method:
                raise KeyError("no more")
            return actions

    return Fails()


@pytest.mark.parametrize("method", ["on_start", "on_finish"])
@pytest.mark.parametrize("prompt", [0, 2])
def test_the_prompts_of_a_call_fail_alone(lm: fs.LM, method: str, prompt: int) -> None:
    wanted = lm.generate(PROMPTS, branches=3, **OPTIONS)
    found: dict[int, Any] = {}
    results = lm.generate_iter(PROMPTS, branches=failing(prompt, method), **OPTIONS)
    for _ in range(2):
        i, out = next(results)
        found[i] = out
    with pytest.raises(KeyError, match="no more"):
        next(results)
    assert found.keys() == {0, 1, 2} - {prompt}
    for i, out in found.items():
        assert decided(out) == decided(wanted, i)


@pytest.mark.parametrize("method", ["on_start", "on_probe", "on_finish", "on_interval"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_controllers_that_raise(lm: fs.LM, method: str, error: type[BaseException]) -> None:
    def fail(*_: Any) -> Any:
        raise error(method)

    controller: Any = type("Raises", (fs.Controller,), {method: fail, "interval": 8, "probe_interval": 8, "width": 3})()
    with pytest.raises(error, match=method):
        lm.generate(PROMPTS, branches=controller, **OPTIONS)
    with pytest.raises(error, match=method):
        list(lm.stream(PROMPTS, branches=controller, do_sample=True, max_new_tokens=30))
    assert lm.generate(PROMPTS, branches=2, **OPTIONS).answers  # the LM works


@pytest.mark.parametrize(
    ("extract", "text"),
    [
        (lambda ids: 1 / 0, r"branch [0-2] of prompt 0: the answer extractor raised ZeroDivisionError"),
        (lambda ids: 7, r"branch [0-2] of prompt 0: the answer extractor returned 7, expected a str or None"),
        (lambda ids: "\ud800", r"branch [0-2] of prompt 0: the answer extractor returned '\\ud800'"),
    ],
)
def test_extractors_that_fail_name_the_branch(lm: fs.LM, extract: Any, text: str) -> None:
    with pytest.raises(ValueError, match="^" + text):
        lm.generate(PROMPTS[:1], branches=fs.SelfConsistency(3, answer=extract), **OPTIONS)
    probing = fs.ParallelProbe(3, interval=4, answer=extract)
    with pytest.raises(ValueError, match="^a probe of " + text):
        lm.generate(PROMPTS[:1], branches=probing, **OPTIONS)


def test_interrupts_in_an_extractor_pass_through(lm: fs.LM) -> None:
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lm.generate(PROMPTS, branches=fs.SelfConsistency(2, answer=stop), **OPTIONS)
    assert lm.generate(PROMPTS, branches=2, **OPTIONS).answers


def test_a_controller_may_decode_with_the_same_model(lm: fs.LM) -> None:
    class Asks(fs.Controller):
        width = 2

        def on_finish(self, view: Any, branch: int) -> list[Any]:
            found.append(lm.generate([PROMPTS[0]], do_sample=False, max_new_tokens=4)[0])
            return []

    found: list[list[int]] = []
    lm.generate(PROMPTS[:1], branches=Asks(), **OPTIONS)
    assert found == [lm.generate([PROMPTS[0]], do_sample=False, max_new_tokens=4)[0]] * 2


@pytest.mark.parametrize("width", [0, -1, 2**40])
def test_widths_that_are_none(lm: fs.LM, width: int) -> None:
    with pytest.raises(ValueError, match="width is"):
        lm.generate(PROMPTS, branches=width, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"branches": 2, "do_sample": False}, ValueError, "2 branches of greedy decoding would all be alike"),
        ({"branches": 2, "num_return_sequences": 2}, ValueError, "num_return_sequences is 2 beside branches"),
        ({"branches": "best"}, ValueError, "controller 'best' is not known"),
        ({"branches": True}, TypeError, "True is no controller"),
        ({"branches": fs.SelfConsistency}, TypeError, "is a class"),
        ({"branches": fs.ParallelProbe(2, probe=fs.Probe(suffix="\u96ea"))}, ValueError, "cannot be written"),
        ({"branches": fs.ParallelProbe(2, probe=fs.Probe(suffix=[99999]))}, ValueError, "holds token id 99999"),
        ({"branches": fs.ParallelProbe(2, probe=fs.Probe(suffix=[1.5]))}, TypeError, "expected token ids"),  # type: ignore[list-item]
        (
            {"branches": fs.DeepConf(4, warmup=2), "decoding": fs.Speculative(fs.PromptLookup())},
            NotImplementedError,
            "needs confidences",
        ),
    ],
)
def test_mistakes_are_named(lm: fs.LM, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        lm.generate(PROMPTS, **{**OPTIONS, **options})


def test_one_branch_may_be_greedy_but_not_its_fork(lm: fs.LM) -> None:
    options = {**OPTIONS, "do_sample": False}
    plain = lm.generate(PROMPTS, **options)
    assert lm.generate(PROMPTS, branches=1, **options).new_tokens == plain.new_tokens

    class Forks(fs.Controller):
        width = 1
        interval = 4

        def on_interval(self, view: Any) -> list[Any]:
            return [fs.Fork(0)]

    with pytest.raises(ValueError, match="a second branch of greedy decoding"):
        lm.generate(PROMPTS, branches=Forks(), **options)


def test_a_request_may_stop_before_anything_runs(lm: fs.LM) -> None:
    class Knows(fs.Controller):
        def on_start(self, view: Any) -> list[Any]:
            return [fs.Start(2), fs.Stop("7")]

    out = lm.generate(PROMPTS, branches=Knows(), **OPTIONS)
    assert out.answers == ["7"] * len(PROMPTS)
    assert len(dict(lm.generate_iter(PROMPTS, branches=Knows(), do_sample=True, max_new_tokens=9))) == len(PROMPTS)

    class Nothing(fs.Controller):
        def on_start(self, view: Any) -> list[Any]:
            return [fs.Stop("7")]

    with pytest.raises(ValueError, match="starts no branch"):
        lm.generate(PROMPTS, branches=Nothing(), **OPTIONS)


def test_streams_tell_every_branch(lm: fs.LM) -> None:
    options = {key: value for key, value in OPTIONS.items() if key != "return_dict_in_generate"}
    out = lm.generate(PROMPTS, branches=Busy(), **OPTIONS)
    written: dict[tuple[int, int], list[int]] = {}
    ends: dict[tuple[int, int], str] = {}
    for event in lm.stream(PROMPTS, branches=Busy(), **options):
        key = (event.index, event.branch)
        assert key not in ends
        written.setdefault(key, []).extend(event.tokens)
        if event.finish_reason is not None:
            ends[key] = event.finish_reason
    assert len(ends) == sum(map(len, out.branches))
    for (i, number), reason in ends.items():
        branch = out.branches[i][number]
        inherited = len(branch.tokens) - len(written[i, number])
        if reason != "controller" and number != 4:
            assert inherited == 0
        assert branch.tokens[max(inherited, 0) :] == written[i, number][: len(branch.tokens)]
        assert (reason == "controller") == (branch.status != "finished")


def test_results_come_in_order_of_completion(lm: fs.LM) -> None:
    options = {**OPTIONS, "max_new_tokens": [40, 5, 120]}
    together = lm.generate(PROMPTS, branches=CONTROLLERS["parallel_probe"], **options)
    found = list(lm.generate_iter(PROMPTS, branches=CONTROLLERS["parallel_probe"], **options))
    assert found[0][0] == 1
    for i, out in found:
        assert decided(out) == decided(together, i)


def test_stop_strings_and_criteria_end_branches(lm: fs.LM) -> None:
    plain = lm.generate(PROMPTS, branches=6, **OPTIONS)

    def at_thirty(ids: Any, scores: Any) -> bool:
        return bool(ids.shape[1] % 30 == 0)

    for decoding in (None, fs.Speculative(fs.PromptLookup(), verification="match")):
        out = lm.generate(PROMPTS, branches=6, stopping_criteria=[at_thirty], decoding=decoding, **OPTIONS)
        for i, branches in enumerate(out.branches):
            room = 30 - len(PROMPTS[i]) % 30
            for branch, whole in zip(branches, plain.branches[i], strict=True):
                assert branch.tokens == whole.tokens[:room]
                assert branch.reason == ("criteria" if len(whole.tokens) > room else whole.reason)
        found = dict(lm.generate_iter(PROMPTS, branches=6, stopping_criteria=[at_thirty], decoding=decoding, **OPTIONS))
        assert [decided(found[i]) for i in range(3)] == [decided(out, i) for i in range(3)]
    forked = lm.generate(PROMPTS, branches=Busy(), stopping_criteria=[at_thirty], **OPTIONS)
    for i, branches in enumerate(forked.branches):
        assert all(len(branch.tokens) <= 30 - len(PROMPTS[i]) % 30 for branch in branches)


def test_time_ends_branches(lm: fs.LM) -> None:
    out = lm.generate(PROMPTS, branches=4, max_time=1e-6, **OPTIONS)
    assert {branch.reason for branches in out.branches for branch in branches} == {"time"}
    assert all(len(branch.tokens) == 1 for branches in out.branches for branch in branches)


def test_sessions_lend_their_cache(lm: fs.LM) -> None:
    with lm.session(PROMPTS[0]) as session:
        own = session.generate(branches=CONTROLLERS["parallel_probe"], **OPTIONS)
    plain = lm.generate(PROMPTS[:1], branches=CONTROLLERS["parallel_probe"], **OPTIONS)
    assert [(b.tokens, b.status) for b in own.branches[0]] == [(b.tokens, b.status) for b in plain.branches[0]]
    assert own.stats.rows < plain.stats.rows


def test_guidance_goes_with_branches(lm: fs.LM) -> None:
    plain = lm.generate(PROMPTS, num_return_sequences=4, guidance_scale=1.5, **OPTIONS)
    out = lm.generate(PROMPTS, branches=4, guidance_scale=1.5, **OPTIONS)
    assert [branch.tokens for branches in out.branches for branch in branches] == plain.new_tokens
    lm.generate(PROMPTS, branches=Busy(), guidance_scale=1.5, **OPTIONS)


def test_scores_and_arrays(lm: fs.LM) -> None:
    prompts = np.array([prompt[:20] for prompt in PROMPTS])
    out = lm.generate(
        prompts, branches=Busy(), output_scores=True, output_logprobs=2, attention_mask=np.ones_like(prompts), **OPTIONS
    )
    assert out.sequences.shape[0] == 3
    for i, new in enumerate(out.new_tokens):
        assert out.sequences[i, 20 : 20 + len(new)].tolist() == new
        assert len(out.logprobs[i]) <= len(new)


def test_a_streamer_follows_one_branch(lm: fs.LM) -> None:
    class Streamer:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def put(self, value: Any) -> None:
            self.seen.extend(np.ravel(value).tolist())

        def end(self) -> None:
            self.ended = True

    streamer = Streamer()
    out = lm.generate(PROMPTS[:1], branches=1, streamer=streamer, **OPTIONS)
    assert streamer.seen == out.sequences[0]
    with pytest.raises(ValueError, match="a streamer follows one sequence"):
        lm.generate(PROMPTS[:1], branches=2, streamer=Streamer(), **OPTIONS)


class TestCanvas:
    """Sequences whose masks are decided in any order."""

    def test_branches_differ_by_seed(self) -> None:
        lm = fs.LM.bundled("sudoku")
        prompt = fs.tasks.get("sudoku").problems(1)[0].prompt
        options: dict[str, Any] = {"do_sample": True, "temperature": 1.5, "seed": 1, "return_dict_in_generate": True}
        plain = lm.generate([prompt], num_return_sequences=4, **options)
        out = lm.generate([prompt], branches=4, **options)
        assert [branch.tokens for branch in out.branches[0]] == plain.new_tokens
        winner = next(b for b in out.branches[0] if b.answer == out.answers[0])
        assert out.new_tokens[0] == winner.tokens

    def test_probes_and_forks_raise(self) -> None:
        lm = fs.LM.bundled("sudoku")
        prompt = fs.tasks.get("sudoku").problems(1)[0].prompt
        with pytest.raises(ValueError, match="no prefix to probe"):
            lm.generate([prompt], branches=fs.ParallelProbe(4), do_sample=True)
        for action, text in ((fs.Probe(0), "cannot be probed"), (fs.Fork(0), "cannot be forked")):

            class Acts(fs.Controller):
                width = 2
                interval = 1
                wanted = action
                probe = fs.Probe(suffix=[1])

                def on_interval(self, view: Any) -> list[Any]:
                    return [self.wanted]

            with pytest.raises(ValueError, match=text):
                lm.generate(
                    [prompt], branches=Acts(), do_sample=True, decoding=fs.MaskedDiffusion(order="left_to_right")
                )


def test_tiny_models(tmp_path: Path) -> None:
    """Dynamic rope scaling, block diffusion and strided decoding, on random weights without a tokenizer."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from support.tiny import make_tiny

    def last(ids: list[int]) -> str | None:
        return str(ids[-1] % 3) if ids else None

    options: dict[str, Any] = {"do_sample": True, "max_new_tokens": 24, "seed": 2, "return_dict_in_generate": True}
    prompts = [[5, 6, 7, 8], [9, 10, 11]]
    probing = fs.ParallelProbe(
        4, interval=5, stable=9, patience=9, warmup=0, answer=last, probe=fs.Probe(suffix=[3, 4], max_new_tokens=6)
    )
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    folder = make_tiny(tmp_path / "rope", "llama", rope_parameters=dynamic, max_position_embeddings=16)
    lm = fs.LM.from_pretrained(folder, num_threads=1)
    plain = lm.generate(prompts, num_return_sequences=4, eos_token_id=None, **options)
    out = lm.generate(prompts, branches=probing, eos_token_id=None, **options)
    assert [branch.tokens for branches in out.branches for branch in branches] == plain.new_tokens
    assert all(len(branch.probes) == 4 for branches in out.branches for branch in branches)
    with pytest.raises(ValueError, match="has no tokenizer"):
        lm.generate(prompts, branches=4, **options)
    with pytest.raises(ValueError, match=r"fs.Probe\(suffix="):
        lm.generate(prompts, branches=fs.ParallelProbe(4, answer=last), **options)

    class Probes(fs.Controller):
        width = 1
        interval = 2
        answer = staticmethod(last)

        def on_interval(self, view: Any) -> list[Any]:
            return [fs.Probe(0)]

    with pytest.raises(ValueError, match="a probe needs a suffix"):
        lm.generate(prompts, branches=Probes(), **options)

    folder = make_tiny(tmp_path / "block", "qwen3")
    reading = {"attention": "block_causal", "block_length": 8, "mask_token_id": 319, "shifted": False}
    block = fs.LM.from_pretrained(folder, config=reading, num_threads=1)
    plain = block.generate(prompts, num_return_sequences=3, **options)
    out = block.generate(prompts, branches=fs.SelfConsistency(3, answer=last), **options)
    assert [branch.tokens for branches in out.branches for branch in branches] == plain.new_tokens


def test_traces_hold_only_branches_between_steps(lm: fs.LM, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    out = lm.generate(PROMPTS, branches=Busy(), trace=path, **OPTIONS)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    starts = [event for event in events if event["kind"] == "start"]
    assert [event["branch"] for event in starts] == list(range(len(starts)))
    assert len(starts) == sum(map(len, out.branches))
    written: dict[int, list[int]] = {}
    for event in events:
        if event["kind"] == "commit":
            written.setdefault(event["branch"], []).extend(event["tokens"])
    for start in starts:
        branch = out.branches[start["request"]][start["number"]]
        own = branch.tokens[start["inherited"] :]
        assert written.get(start["branch"], [])[: len(own)] == own
