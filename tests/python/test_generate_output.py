"""GenerateOutput, seeds, streams, streamers, processors and criteria, against the scripted core."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight._core import prompt_seed
from foresight.checkpoint.tokenizer import load_tokenizer
from support.fake_core import VOCAB, FakeEngine, fake_lm
from support.tiny import tiny_tokenizer


@pytest.fixture
def lm() -> Any:
    return fake_lm()


def generate(lm: Any, inputs: Any, **kwargs: Any) -> Any:
    return lm.generate(inputs, return_dict_in_generate=True, **kwargs)


def test_output_holds_what_the_core_reports(lm: Any) -> None:
    out = generate(lm, [[46], [5, 6]], max_new_tokens=4, seed=7)
    assert out.sequences == [[46, 47, 48, 49], [5, 6, 7, 8, 9, 10]]
    assert out.new_tokens == [[47, 48, 49], [7, 8, 9, 10]]
    assert out.new_positions == [[1, 2, 3], [2, 3, 4, 5]]
    assert out.finish_reasons == ["eos", "length"]
    assert out.texts is None
    assert out.scores is out.logits is out.logprobs is None
    assert out.decoding == fs.Autoregressive()
    assert out.seed == out.stats.seed == 7
    assert out.stats.exact
    assert [s.generated_tokens for s in out.stats.per_sequence] == [3, 4]
    assert out.stats.tokens_per_forward == 1.0
    assert [s.seed for s in out.stats.per_sequence] == [prompt_seed(7, 0), prompt_seed(7, 1)]


def test_sequences_of_a_flat_list_and_of_arrays(lm: Any) -> None:
    assert generate(lm, [5], max_new_tokens=1).sequences == [5, 6]
    assert generate(lm, np.array([[5]]), max_new_tokens=1).sequences.tolist() == [[5, 6]]


def test_scores_have_one_entry_per_new_token(lm: Any) -> None:
    out = generate(lm, [[47], [5]], max_new_tokens=3, output_scores=True, output_logits=True)
    assert len(out.scores) == len(out.logits) == 3
    assert all(row.shape == (2, VOCAB) and row.dtype == np.float32 for row in out.scores)
    assert [row.argmax(axis=1).tolist() for row in out.scores] == [[48, 6], [49, 7], [0, 8]]
    ended = out.scores[2][0]
    assert ended[0] == 0.0
    assert np.isneginf(ended[1:]).all()


def test_scores_are_torch_for_torch(lm: Any) -> None:
    torch = pytest.importorskip("torch")
    out = generate(lm, torch.tensor([[5]]), max_new_tokens=2, output_scores=True)
    assert isinstance(out.scores[0], torch.Tensor)


def test_log_probabilities_are_returned_on_request(lm: Any) -> None:
    out = generate(lm, [[5]], max_new_tokens=2, output_logprobs=True)
    assert out.logprobs[0].tolist() == [-1, -1]
    assert out.raw_logprobs[0].tolist() == [-2, -2]
    assert out.top_logprobs == [[[], []]]
    out = generate(lm, [[5]], max_new_tokens=2, output_logprobs=2)
    assert out.top_logprobs == [[[(0, -1.0), (1, -1.0)]] * 2]


def test_seeds(lm: Any) -> None:
    def seeds(**kwargs: Any) -> list[int]:
        lm.generate([[5], [6]], max_new_tokens=1, **kwargs)
        return [r[0].options["seed"] for r in lm._model.engine.jobs[-1].requests]

    assert seeds(seed=3) == seeds(seed=np.int64(3)) == [prompt_seed(3, 0), prompt_seed(3, 1)]
    assert seeds(seed=[11, 12]) == [11, 12]
    assert seeds() != seeds()
    assert generate(lm, [[5]], max_new_tokens=1).seed != generate(lm, [[5]], max_new_tokens=1).seed
    assert generate(lm, [[5]], max_new_tokens=1, seed=[4]).seed == [4]


def test_stream_hands_out_tokens_as_they_come(lm: Any) -> None:
    events = list(lm.stream([[46], [5, 6]], max_new_tokens=4))
    assert [e.tokens for e in events if e.index == 0] == [[47], [48], [49]]
    assert [e.positions for e in events if e.index == 1] == [[2], [3], [4], [5]]
    assert [e.finish_reason for e in events if e.index == 1] == [None, None, None, "length"]
    assert {e.branch for e in events} == {0}
    several = list(lm.stream([5], max_new_tokens=1, do_sample=True, num_return_sequences=2))
    assert [(e.index, e.branch) for e in several] == [(0, 0), (0, 1)]
    assert several[0].text is None


def test_arguments_of_a_stream_are_checked_at_once(lm: Any) -> None:
    with pytest.raises(ValueError, match="prompt 0 is empty"):
        lm.stream([[]])
    with pytest.raises(TypeError, match="streamer"):
        lm.stream([[5]], streamer=object())
    assert lm._model.engine.jobs == []


def test_closing_a_stream_early_closes_its_job(lm: Any) -> None:
    for events in (lm.stream([[5], [6]], max_new_tokens=9), lm.generate_iter([[5], [6]], max_new_tokens=9)):
        next(events)
        assert not lm._model.engine.jobs[-1].closed
        events.close()
        assert lm._model.engine.jobs[-1].closed


def test_prompts_come_back_in_order_of_completion(lm: Any) -> None:
    out = list(lm.generate_iter([[5], [46], [47, 48]], max_new_tokens=[9, 9, 9]))
    assert out == [(2, [47, 48, 49]), (1, [46, 47, 48, 49]), (0, [5, *range(6, 15)])]
    array = np.array([[0, 46], [3, 4]])
    mask = np.array([[0, 1], [1, 1]])
    pairs = list(lm.generate_iter(array, attention_mask=mask, max_new_tokens=4))
    assert [(i, x.tolist()) for i, x in pairs] == [(0, [[0, 46, 47, 48, 49]]), (1, [[3, 4, 5, 6, 7, 8]])]


def test_a_finished_prompt_brings_all_its_sequences(lm: Any) -> None:
    options = {"do_sample": True, "num_return_sequences": 2, "return_dict_in_generate": True}
    ((index, out),) = lm.generate_iter([5], max_new_tokens=1, **options)
    assert (index, out.sequences, len(out.stats.per_sequence)) == (0, [[5, 6], [5, 6]], 2)


def test_an_exception_closes_the_job_and_leaves_the_lm_usable(lm: Any) -> None:
    def broken(ids: Any, scores: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lm.generate([[5]], max_new_tokens=3, logits_processor=[broken])
    assert lm._model.engine.jobs[-1].closed
    assert lm.generate([5], max_new_tokens=1) == [5, 6]


def test_threads_do_not_disturb_each_other(lm: Any) -> None:
    results: dict[int, Any] = {}

    def work(start: int) -> None:
        results[start] = lm.generate([start], max_new_tokens=20, stopping_criteria=lambda ids, scores: False)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {start: list(range(start, start + 21)) for start in range(8)}


class Streamer:
    def __init__(self) -> None:
        self.got: list[Any] = []

    def put(self, value: Any) -> None:
        self.got.append((type(value).__module__, value.shape, value.tolist()))

    def end(self) -> None:
        self.got.append("end")


def test_streamers_get_the_prompt_then_tokens_then_the_end(lm: Any) -> None:
    streamer = Streamer()
    lm.generate([5, 6], max_new_tokens=2, streamer=streamer)
    assert streamer.got == [("numpy", (1, 2), [[5, 6]]), ("numpy", (1,), [7]), ("numpy", (1,), [8]), "end"]
    with pytest.raises(ValueError, match="this call makes 2"):
        lm.generate([[5], [6]], max_new_tokens=2, streamer=streamer)


def test_streamers_of_transformers_work(lm: Any) -> None:
    transformers = pytest.importorskip("transformers")

    class Plain:
        def decode(self, ids: list[int], **kwargs: Any) -> str:
            return " ".join(map(str, ids)) + " "

    streamer = transformers.TextIteratorStreamer(Plain())
    lm.generate(np.array([[5]]), max_new_tokens=2, streamer=streamer)
    assert "".join(streamer) == "5 6 7 "


def test_processors_see_ids_and_scores_and_change_them(lm: Any) -> None:
    seen: list[Any] = []

    def skip(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        seen.append((type(ids).__module__, ids.shape, ids.dtype, scores.shape, scores.dtype))
        scores[0, ids[0, -1] + 2] = 9.0
        return scores

    assert lm.generate([5, 6], max_new_tokens=2, logits_processor=skip) == [5, 6, 8, 10]
    assert seen == [("numpy", (1, n), np.int64, (1, VOCAB), np.float32) for n in (2, 3)]

    def short(ids: Any, scores: Any) -> Any:
        return [1.0, 2.0, 3.0]

    with pytest.raises(ValueError, match=r"short returned shape \[3\]"):
        lm.generate([5], max_new_tokens=1, logits_processor=[short])
    with pytest.raises(TypeError, match="cannot be called"):
        lm.generate([5], max_new_tokens=1, logits_processor=[3])


def test_processors_of_transformers_get_torch(lm: Any) -> None:
    transformers = pytest.importorskip("transformers")
    processors = transformers.LogitsProcessorList([transformers.SuppressTokensLogitsProcessor([6])])
    assert lm.generate([5], max_new_tokens=1, logits_processor=processors) == [5, 0]
    with pytest.raises(ValueError, match="choose one"):
        lm.generate([5], max_new_tokens=1, logits_processor=processors, suppress_tokens=[3])


def test_who_gets_torch(lm: Any) -> None:
    torch = pytest.importorskip("torch")
    kinds: list[type] = []

    def look(ids: Any, scores: Any) -> Any:
        kinds.append(type(ids))
        return scores

    class Wants:
        wants_torch = True

        def __call__(self, ids: Any, scores: Any) -> Any:
            return look(ids, scores)

    lm.generate(torch.tensor([[5]]), max_new_tokens=1, logits_processor=look)
    lm.generate([5], max_new_tokens=1, logits_processor=Wants())
    lm.generate([5], max_new_tokens=1, logits_processor=look)
    assert kinds == [torch.Tensor, torch.Tensor, np.ndarray]


def test_prefix_function_bounds_what_may_follow(lm: Any) -> None:
    calls: list[Any] = []

    def allowed(prompt: int, ids: Any) -> list[int]:
        calls.append((prompt, ids.tolist()))
        return [20, 21]

    assert lm.generate([[5], [19]], max_new_tokens=2, prefix_allowed_tokens_fn=allowed) == [
        [5, 20, 21],
        [19, 20, 21],
    ]
    assert calls[:2] == [(0, [5]), (1, [19])]
    with pytest.raises(ValueError, match="allows no token after 1 of prompt 0"):
        lm.generate([5], max_new_tokens=1, prefix_allowed_tokens_fn=lambda prompt, ids: [])
    with pytest.raises(ValueError, match="outside"):
        lm.generate([5], max_new_tokens=1, prefix_allowed_tokens_fn=lambda prompt, ids: [VOCAB])


@pytest.mark.parametrize("per_step", [1, 3])
def test_criteria_end_a_sequence_at_the_first_token_that_meets_them(per_step: int) -> None:
    lm = fake_lm(FakeEngine(per_step=per_step))
    seen: list[Any] = []

    def eight(ids: Any, scores: Any) -> bool:
        seen.append((ids.tolist(), scores))
        return bool(ids[0, -1] == 8)

    out = generate(lm, [[5], [30]], max_new_tokens=4, stopping_criteria=[eight])
    assert out.sequences == [[5, 6, 7, 8], [30, 31, 32, 33, 34]]
    assert out.finish_reasons == ["criteria", "length"]
    assert [ids for (ids,), _ in seen if ids[0] == 5] == [[5, 6], [5, 6, 7], [5, 6, 7, 8]]
    assert all(scores is None for _, scores in seen)
    assert dict(lm.generate_iter([[5], [30]], max_new_tokens=4, stopping_criteria=[eight])) == dict(
        enumerate(out.sequences)
    )
    ends = [e.index for e in lm.stream([[5], [30]], max_new_tokens=4, stopping_criteria=[eight]) if e.finish_reason]
    assert sorted(ends) == [0, 1]
    events = list(lm.stream([5], max_new_tokens=9, stopping_criteria=[eight]))
    assert [t for e in events for t in e.tokens] == [6, 7, 8]
    assert events[-1].finish_reason == "criteria"


def test_criteria_get_scores_when_they_are_returned(lm: Any) -> None:
    seen: list[Any] = []

    def look(ids: Any, scores: Any) -> bool:
        seen.append([row.shape for row in scores])
        return False

    generate(lm, [[5]], max_new_tokens=2, stopping_criteria=look, output_scores=True)
    assert seen == [[(1, VOCAB)], [(1, VOCAB)] * 2]


def test_criteria_of_transformers_work(lm: Any) -> None:
    transformers = pytest.importorskip("transformers")
    criteria = transformers.StoppingCriteriaList([transformers.EosTokenCriteria(9)])
    assert lm.generate([5], max_new_tokens=9, stopping_criteria=criteria) == [5, 6, 7, 8, 9]
    length = transformers.StoppingCriteriaList([transformers.MaxLengthCriteria(4)])
    assert lm.generate([5], stopping_criteria=length) == [5, 6, 7, 8]


def test_progress_is_shown_on_demand(
    lm: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lm.generate([[5], [6]], max_new_tokens=2)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORESIGHT_PROGRESS", "1")
    lm.generate([[5], [6]], max_new_tokens=2)
    assert "/2 " in capsys.readouterr().err
    monkeypatch.setenv("FORESIGHT_PROGRESS", "maybe")
    with pytest.raises(ValueError, match="FORESIGHT_PROGRESS"):
        lm.generate([[5], [6]], max_new_tokens=2)


def test_beyond_the_context_there_is_a_warning() -> None:
    lm = fake_lm(eos_token_id=None)
    with pytest.warns(UserWarning, match="66 tokens is longer"):
        lm.generate([5, 6], max_new_tokens=64)


@fs.policy
def count_up(view: Any, step: int, *, ask: str = "argmax") -> Any:
    yield fs.Plan([fs.Row(view.tokens[-1], position=0, rank=0, limit=0, ask="argmax")])
    yield fs.Commit(tokens=[view.tokens[-1] + step])


def test_a_policy_reaches_the_core_as_a_factory(lm: Any) -> None:
    mine = count_up(2, ask="sample")
    out = generate(lm, [[5]], max_new_tokens=1, decoding=mine)
    options = lm._model.engine.jobs[-1].requests[0][0].options
    assert options["policy"] is mine
    assert (mine.args, mine.kwargs) == ((2,), {"ask": "sample"})
    assert out.decoding is mine
    assert out.stats.approximations == ("policy=count_up",)

    class View:
        tokens = (5,)

    steps = mine(View())  # type: ignore[arg-type]
    plan = next(steps)
    assert isinstance(plan, fs.Plan)
    assert plan.rows is not None
    assert plan.rows[0].token == 5
    assert steps.send([]) == fs.Commit(tokens=[7])
    with pytest.raises(TypeError, match="call it first"):
        lm.generate([5], max_new_tokens=1, decoding=count_up)


def test_plans_are_checked() -> None:
    row = fs.Row(1, position=0, rank=0, limit=0)
    for bad in ({}, {"rows": [row], "segments": []}, {"segments": [], "ancestors": [1]}):
        with pytest.raises(ValueError, match="rows"):
            fs.Plan(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one bit set for each"):
        fs.Plan([row], ancestors=[1, 1])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def writing(tokenizer: Any, text: str) -> FakeEngine:
    """A core that writes a text, then eos, whatever the prompt (whose length must be 1)."""
    ids = [*tokenizer.encode(text, add_special_tokens=False), 2]
    return FakeEngine(lambda tokens: ids[min(len(tokens) - 1, len(ids) - 1)])


@pytest.mark.usefixtures("wide_vocabulary")
class TestText:
    @pytest.fixture
    def wide_vocabulary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("support.fake_core.VOCAB", 400)

    def lm(self, tokenizer: Any, text: str, **kwargs: Any) -> Any:
        return fake_lm(writing(tokenizer, text), tokenizer=tokenizer, vocab_size=400, eos_token_id=2, **kwargs)

    def test_texts(self, tokenizer: Any) -> None:
        lm = self.lm(tokenizer, "the cat")
        out = generate(lm, [[1]], max_new_tokens=30)
        assert out.texts == ["the cat"]
        assert "".join(e.text for e in lm.stream([1], max_new_tokens=30)) == "the cat"

    def test_incomplete_characters_wait(self, tokenizer: Any) -> None:
        events = list(self.lm(tokenizer, "aé€😀b").stream([1], max_new_tokens=30))
        assert "".join(e.text for e in events) == "aé€😀b"
        assert all("\ufffd" not in e.text for e in events)

    @pytest.mark.parametrize("stop", ["sat on", ["zzz", "sat on"], "at o"])
    def test_stop_strings_end_at_the_token_that_completes_them(self, tokenizer: Any, stop: Any) -> None:
        lm = self.lm(tokenizer, "the cat sat on the mat")
        out = generate(lm, [[1]], max_new_tokens=30, stop_strings=stop)
        assert out.finish_reasons == ["stop_string"]
        needle = stop if isinstance(stop, str) else stop[1]
        assert needle in out.texts[0]
        assert needle not in tokenizer.decode(out.new_tokens[0][:-1])

    def test_complete(self, tokenizer: Any) -> None:
        lm = self.lm(tokenizer, "the cat")
        assert lm.complete("") == "the cat"
        assert lm.complete([""]) == ["the cat"]
        assert lm.complete("", do_sample=True, num_return_sequences=2) == ["the cat"] * 2
        assert lm.complete("", max_new_tokens=1) == tokenizer.decode(tokenizer.encode("the cat")[1:2])
        options = lm._model.engine.jobs[0].requests[0][0].options
        assert options["max_new_tokens"] == 63
        for bad in (3, [], [3]):
            with pytest.raises(TypeError, match="complete"):
                lm.complete(bad)
        with pytest.raises(TypeError, match=r"lm\.generate"):
            lm.complete("", return_dict_in_generate=True)
        with pytest.raises(ValueError, match="the context is 64"):
            lm.complete("x" * 100)

    def test_complete_without_a_tokenizer(self) -> None:
        with pytest.raises(ValueError, match=r"no tokenizer\.json"):
            fake_lm().complete("x")

    def test_chat(self, tokenizer: Any) -> None:
        class Template:
            def render(self, messages: Any, **variables: Any) -> str:
                assert variables == {"tools": None, "add_generation_prompt": True, "mood": "calm"}
                return "<s>"

        lm = self.lm(tokenizer, "the cat", chat_template=Template())
        messages = [{"role": "user", "content": "hello"}]
        template = {"mood": "calm"}
        assert lm.chat(messages, chat_template_kwargs=template) == "the cat"
        assert lm.chat([messages, messages], chat_template_kwargs=template) == ["the cat"] * 2
        for bad in ([], "hello", [["hello"]]):
            with pytest.raises(TypeError, match="chat"):
                lm.chat(bad)
        with pytest.raises(ValueError, match="no chat template"):
            self.lm(tokenizer, "x").chat(messages)

    def test_score_of_texts(self, tokenizer: Any) -> None:
        lm = self.lm(tokenizer, "the cat")
        (score,) = lm.score(["the"], [" cat"])
        assert score.num_tokens == len(tokenizer.encode("the cat")) - len(tokenizer.encode("the"))
        (moved,) = lm.score(["the "], ["cat"])
        assert moved.num_tokens == score.num_tokens
        (rolled,) = lm.score(None, ["the cat"])
        assert rolled.num_tokens == len(tokenizer.encode("the cat")) - 1


def test_scores_of_tokens(lm: Any) -> None:
    good, bad, empty, free = lm.score([[5], [5], [5], []], [[6, 7], [6, 9], [], [2]])
    assert (good.logprob, good.is_greedy, good.num_tokens) == (-1.0, True, 2)
    assert (bad.logprob, bad.is_greedy) == (-2.5, False)
    assert bad.token_logprobs.tolist() == [-0.5, -2.0]
    assert (empty.logprob, empty.is_greedy, empty.num_tokens) == (0.0, True, 0)
    assert free.is_greedy
    assert (good.estimator, good.standard_error) == ("chain", 0.0)
    assert lm.score([], []) == []


def test_rolling_scores_cover_every_token_once(lm: Any) -> None:
    tokens = [(2 + i) % 49 for i in range(150)]
    windows: list[Any] = []
    score = lm._model.engine.score

    def spy(sequences: Any, starts: Any) -> Any:
        windows.extend(zip(sequences, starts, strict=True))
        return score(sequences, starts)

    lm._model.engine.score = spy
    (result,) = lm.score(None, [tokens])
    assert result.num_tokens == 150
    assert [(len(w), s) for w, s in windows] == [(65, 1), (65, 1), (65, 43)]
    assert [t for w, s in windows for t in w[s:]] == tokens
    assert lm.score(None, [[]])[0].num_tokens == 0


def test_bad_scores_are_named(lm: Any) -> None:
    with pytest.raises(ValueError, match="causal models take 'chain'"):
        lm.score([[5]], [[6]], estimator="monte_carlo")
    with pytest.raises(ValueError, match="1 contexts for 2"):
        lm.score([[5]], [[6], [7]])
    with pytest.raises(TypeError, match="both be"):
        lm.score(["a"], [[6]])
    with pytest.raises(ValueError, match="neither bos nor eos"):
        fake_lm(bos_token_id=None, eos_token_id=None).score(None, [[5]])


def test_sessions(lm: Any) -> None:
    with lm.session([5, 6]) as session:
        assert (session.tokens, len(session)) == ([5, 6], 2)
        assert session.next_logits.argmax() == 7
        assert session.append([7, 8], logits="all").shape == (2, VOCAB)
        assert session.append([9]).shape == (1, VOCAB)
        assert session.append([10], logits="none") is None
        assert session.next_logits.argmax() == 11
        first, second = session.fork(2)
        first.append([20])
        assert (first.tokens[-1], second.tokens, session.tokens) == (20, session.tokens, session.tokens)
        session.truncate(2)
        assert session.next_logits.argmax() == 7
        assert session.generate(max_new_tokens=2) == [5, 6, 7, 8]
        assert lm._model.engine.jobs[-1].requests[0][0].options["session"] is session._core
        assert session.tokens == [5, 6]
        rows = lm.append([session, second], [[7], [11, 12]], logits="all")
        assert [row.shape[0] for row in rows] == [1, 2]
    assert session._core.closed
    with pytest.raises(ValueError, match="empty"):
        _ = lm.session().next_logits


def test_bad_uses_of_sessions_are_named(lm: Any) -> None:
    session = lm.session([5])
    for call, text in (
        (lambda: session.append([]), "empty"),
        (lambda: session.append([99]), "99"),
        (lambda: session.append([6], logits="some"), "all, last, none"),
        (lambda: session.truncate(3), "cannot truncate"),
        (lambda: session.fork(0), "at least 1"),
        (lambda: lm.append([session], [[6], [7]]), "2 lists of ids for 1"),
        (lambda: fake_lm().append([session], [[6]]), "another model"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    with pytest.raises(TypeError, match="own tokens"):
        session.generate(inputs=[[5]])


def test_logits_and_hidden_states(lm: Any) -> None:
    assert [x.shape for x in lm.logits([[5, 6], [7]])] == [(2, VOCAB), (1, VOCAB)]
    assert [x.shape for x in lm.hidden_states([[5, 6]], layers=(0, -1))] == [(2, 2, 4)]
    assert all(session.closed for session in lm._model.engine.sessions)
    assert lm.logits([]) == []
    with pytest.raises(ValueError, match="layer 3: expected -3 to 2"):
        lm.hidden_states([[5]], layers=(3,))


def test_what_is_not_built_says_so(lm: Any) -> None:
    with pytest.raises(NotImplementedError, match="causal"):
        lm.infill(["a", "b"])
    with pytest.raises(NotImplementedError, match="only the CPU"):
        fs.LM.from_pretrained("x", device="cuda:0")
    with pytest.raises(NotImplementedError, match="int8"):
        fs.LM.from_pretrained("x", quantization="int8")
    for bad in ({"device": "tpu"}, {"quantization": "int3"}, {"dtype": "float64"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            fs.LM.from_pretrained("x", **bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="from_torch"):
        lm.refresh()
