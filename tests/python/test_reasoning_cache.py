"""`fs.ReasoningCache`: what each round sees, and that an interrupted run ends as an uninterrupted one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import foresight as fs
from foresight._core import prompt_seed
from foresight.reasoning_cache import NO_SUMMARY
from support.tiny import make_tiny, tiny_tokenizer

PROBLEMS = ["the cat", "one two three"]
OPTIONS: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "eos_token_id": None}
SMALL = fs.ReasoningCache(
    rounds=3,
    round_tokens=12,
    summary_tokens=7,
    reason_prompt="Q {problem} S {summary}",
    summary_prompt="P {problem} S {summary} T {trace}",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    return tiny_tokenizer(make_tiny(tmp_path_factory.mktemp("tiny"), "qwen3"))


@pytest.fixture(scope="module")
def lm(folder: Path) -> fs.LM:
    return fs.LM.from_pretrained(folder)


class Scripted:
    """An LM whose every answer is a text that was written before; remembers what it was asked."""

    def __init__(self, lm: fs.LM, *answers: str) -> None:
        self.loaded, self.chat_template = lm.loaded, lm.chat_template
        self.tokenizer: Any = lm.tokenizer
        self.answers = list(answers)
        self.prompts: list[str] = []
        self.calls: list[dict[str, Any]] = []

    def generate(self, prompts: list[list[int]], **options: Any) -> Any:
        self.prompts += [self.tokenizer.decode(ids) for ids in prompts]
        self.calls.append(options)
        new = [self.tokenizer.encode(self.answers.pop(0), add_special_tokens=False) for _ in prompts]
        reasons = ["eos"] * len(new)
        return fs.GenerateOutput([], new, [], None, reasons, fs.Stats(), fs.Autoregressive(), 0)


def bare(state: Any) -> Any:
    return json.loads(json.dumps(state))


def test_a_round_sees_the_problem_and_the_last_summary_only(lm: fs.LM) -> None:
    fake: Any = Scripted(
        lm, "one</think>A", "first", "<think>two", "<think>hm</think>second", "three </think> \\boxed{C}\n"
    )
    result = SMALL.run(fake, "p{summary}", seed=1)
    assert [prompt.removeprefix("user|>") for prompt in fake.prompts] == [
        f"<|user|>Q p{{summary}} S {NO_SUMMARY}\n<|assistant|>",
        f"<|user|>P p{{summary}} S {NO_SUMMARY} T one\n<|assistant|>",
        "<|user|>Q p{summary} S first\n<|assistant|>",
        "<|user|>P p{summary} S first T two\n<|assistant|>",
        "<|user|>Q p{summary} S second\n<|assistant|>",
    ]
    assert [call["max_new_tokens"] for call in fake.calls] == [12, 7, 12, 7, 12]
    assert result.answer == "\\boxed{C}"
    assert result.summaries == ["first", "second"]
    assert [(one.reasoning, one.answer) for one in result.rounds] == [
        ("one", "A"),
        ("two", None),
        ("three", "\\boxed{C}"),
    ]
    assert result.num_tokens == sum(one.num_tokens + one.summary_num_tokens for one in result.rounds) > 0
    seeds = [call["seed"][0] for call in fake.calls]
    assert len(set(seeds)) == 5


@pytest.mark.parametrize(
    ("written", "reasoning", "answer"),
    [
        ("thoughts", "thoughts", None),
        ("<think>a</think>b", "a", "b"),
        ("a</think>b</think>c", "a</think>b", "c"),
        ("<think>\n\n</think>\n\nplain", "plain", "plain"),
        ("cut</think>", "cut", ""),
        ("", "", None),
    ],
)
def test_what_counts_as_reasoning(lm: fs.LM, written: str, reasoning: str, answer: str | None) -> None:
    fake: Any = Scripted(lm, written)
    (only,) = fs.ReasoningCache(rounds=1).run(fake, "p").rounds
    assert (only.reasoning, only.answer, only.summary) == (reasoning, answer, None)
    assert len(fake.calls) == 1


def test_a_close_think_token_without_text_is_found_among_the_ids(lm: fs.LM) -> None:
    fake: Any = Scripted(lm, "the<mask>cat")
    (only,) = fs.ReasoningCache(rounds=1, close_think="<mask>").run(fake, "p").rounds
    assert (only.reasoning, only.answer) == ("the", "cat")


def test_rounds_are_what_chat_gives(lm: fs.LM) -> None:
    result = SMALL.run(lm, PROBLEMS[0], seed=5, **OPTIONS)
    asked = [{"role": "user", "content": f"Q the cat S {NO_SUMMARY}"}]
    text = lm.chat(asked, seed=[prompt_seed(result.seed, 0)], max_new_tokens=12, **OPTIONS)
    assert result.rounds[0].reasoning == text.strip()
    assert [one.num_tokens for one in result.rounds] == [12] * 3
    assert [one.summary_num_tokens for one in result.rounds] == [7, 7, 0]
    assert result.num_tokens == 50
    assert result.answer == result.rounds[-1].reasoning


def test_a_batch_gives_what_each_problem_gives(lm: fs.LM) -> None:
    both = SMALL.run(lm, PROBLEMS, seed=3, **OPTIONS)
    alone = [SMALL.run(lm, one.problem, seed=[one.seed], **OPTIONS) for one in both]
    assert [one.rounds for one in both] == [one.rounds for one in alone]
    assert both[0].rounds != both[1].rounds
    twice = SMALL.run(lm, PROBLEMS[:1] * 2, seed=3, **OPTIONS)
    assert twice[0].rounds == both[0].rounds
    assert twice[0].answer != twice[1].answer


def test_a_run_continues_from_every_half_round(lm: fs.LM) -> None:
    whole = SMALL.run(lm, PROBLEMS, seed=9, **OPTIONS)
    states = [copy.deepcopy(state) for state in SMALL.steps(lm, PROBLEMS, seed=9, **OPTIONS)]
    assert len(states) == 6
    for state in states:
        continued = SMALL.run(lm, state=bare(state), **OPTIONS)
        assert [one.rounds for one in continued] == [one.rounds for one in whole]
    assert bare(whole[0].state) == bare(states[-1])


def test_more_rounds_may_be_added(lm: fs.LM) -> None:
    fields = {
        name: getattr(SMALL, name) for name in ("round_tokens", "summary_tokens", "reason_prompt", "summary_prompt")
    }
    short = fs.ReasoningCache(rounds=1, **fields).run(lm, PROBLEMS[0], seed=2, **OPTIONS)
    assert (
        SMALL.run(lm, PROBLEMS[0], state=short.state, **OPTIONS).rounds
        == SMALL.run(lm, PROBLEMS[0], seed=2, **OPTIONS).rounds
    )
    assert len(short.rounds) == len(short.state["rounds"][0]) == 1
    full = SMALL.run(lm, PROBLEMS[0], seed=2, **OPTIONS)
    with pytest.raises(ValueError, match="holds 3 rounds already, more than rounds=1"):
        fs.ReasoningCache(rounds=1, **fields).run(lm, state=full.state, **OPTIONS)


def test_the_file_survives_an_interruption(lm: fs.LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    calls = 0
    generate = fs.LM.generate

    def failing(self: fs.LM, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return generate(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(fs.LM, "generate", failing)
        with pytest.raises(KeyboardInterrupt):
            SMALL.run(lm, PROBLEMS, seed=4, path=path, **OPTIONS)
    kept = json.loads(path.read_text())
    assert [len(rounds) for rounds in kept["rounds"]] == [2, 2]
    assert kept["rounds"][0][1]["summary"] is None
    assert list(tmp_path.iterdir()) == [path]
    continued = SMALL.run(lm, PROBLEMS, seed=4, path=path, **OPTIONS)
    assert [one.rounds for one in continued] == [one.rounds for one in SMALL.run(lm, PROBLEMS, seed=4, **OPTIONS)]
    assert bare(continued[0].state) == json.loads(path.read_text())


def test_a_path_that_cannot_be_written_costs_no_work(lm: fs.LM, tmp_path: Path) -> None:
    fake: Any = Scripted(lm)
    with pytest.raises(FileNotFoundError):
        SMALL.run(fake, "p", path=tmp_path / "none" / "state.json")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(format="x"), "this is 'x', version 1"),
        (lambda s: s.update(version=2), "version 2"),
        (lambda s: s.update(problems=[]), "problems"),
        (lambda s: s.update(problems=[1, 2]), "problems"),
        (lambda s: s.update(problems="ab"), "problems is not a list"),
        (lambda s: s.update(seeds=[1]), "seeds are not 2 integers"),
        (lambda s: s.update(seeds=[1, -1]), "seeds are not 2 integers"),
        (lambda s: s.update(rounds=[[]]), "rounds has 1 lists for 2 problems"),
        (lambda s: s["rounds"].__setitem__(0, 7), r"rounds\[0\] is not a list"),
        (lambda s: s["rounds"][1].pop(), r"rounds\[1\] is not a list of as many rounds"),
        (lambda s: s["rounds"][1].__setitem__(0, None), r"rounds\[1\]\[0\]: expected an object, got NoneType"),
        (lambda s: s["rounds"][0][0].update(num_tokens=-1), r"rounds\[0\]\[0\]: num_tokens is -1, expected int"),
        (lambda s: s["rounds"][0][0].update(num_tokens=True), "num_tokens is True"),
        (lambda s: s["rounds"][0][0].pop("answer"), "answer is missing, expected str or null"),
        (lambda s: s["rounds"][0][0].update(summary=None), "its summary is missing"),
        (lambda s: s["rounds"][1][0].update(summary=None), "its summary is missing"),
        (lambda s: s["rounds"][1][-1].update(summary="x"), "comes before the others'"),
        (lambda s: s.update(settings=[]), "settings"),
        (lambda s: s["settings"].update(round_tokens={}), "settings"),
        (lambda s: s["settings"].update(round_tokens=13), "begun with another round_tokens"),
        (lambda s: s["settings"].pop("close_think"), "begun with another close_think"),
    ],
)
def test_a_state_that_is_none(lm: fs.LM, change: Any, message: str, tmp_path: Path) -> None:
    fake: Any = Scripted(lm, *"abcdefghij")
    state = bare(SMALL.run(fake, PROBLEMS, seed=1)[0].state)
    change(state)
    with pytest.raises(ValueError, match=message):
        SMALL.run(fake, state=state)
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    with pytest.raises(ValueError, match=message):
        SMALL.run(fake, path=path)


def test_a_state_of_another_run(lm: fs.LM, tmp_path: Path) -> None:
    fake: Any = Scripted(lm, *"abcdefghij")
    state = SMALL.run(fake, PROBLEMS, seed=1)[0].state
    with pytest.raises(ValueError, match="the state is of other problems"):
        SMALL.run(fake, "another", state=state)
    with pytest.raises(ValueError, match="begun with another seed than 2"):
        SMALL.run(fake, state=state, seed=2)
    with pytest.raises(ValueError, match="expected an object, got list"):
        SMALL.run(fake, state=[])  # type: ignore[arg-type]
    broken = tmp_path / "state.json"
    broken.write_text("{")
    with pytest.raises(fs.CheckpointError, match="is not JSON"):
        SMALL.run(fake, path=broken)


def test_what_a_model_must_have(lm: fs.LM, folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="no chat template"):
        SMALL.run(fs.LM.from_pretrained(tmp_path), "p")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        SMALL.run(fs.LM.from_pretrained(tmp_path), "p")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"rounds": 0}, ValueError, "rounds is 0, expected at least 1"),
        ({"round_tokens": 1.5}, TypeError, "round_tokens is 1.5"),
        ({"summary_tokens": True}, TypeError, "summary_tokens is True"),
        ({"reason_prompt": "{problem}"}, ValueError, "reason_prompt has no {summary}"),
        ({"reason_prompt": "{problem}{summary}{trace}"}, ValueError, "sees only the problem and the summary"),
        ({"summary_prompt": "{problem}"}, ValueError, "summary_prompt has no {trace}"),
        ({"summary_prompt": 5}, TypeError, "summary_prompt is 5"),
        ({"close_think": ""}, ValueError, "close_think is ''"),
    ],
)
def test_what_is_no_reasoning_cache(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fs.ReasoningCache(**fields)


@pytest.mark.parametrize("name", ["max_new_tokens", "num_return_sequences", "trace", "streamer", "input_ids"])
def test_options_that_are_its_own(lm: fs.LM, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} does not go with a ReasoningCache"):
        SMALL.run(lm, "p", **{name: 1})


@pytest.mark.parametrize("problems", [None, [], [1], 5])
def test_problems_that_are_none(lm: fs.LM, problems: Any) -> None:
    with pytest.raises(TypeError):
        SMALL.run(lm, problems)
