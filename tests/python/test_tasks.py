"""The bundled tasks: problems, splits, checks, and that the bundled model's files agree with them."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from foresight import tasks
from foresight.tasks import reasoner
from foresight.tasks.base import SPLITS

FOLDER = Path(tasks.__file__).resolve().parents[1] / "models" / "reasoner"


@pytest.fixture
def task() -> tasks.Task:
    return tasks.get("reasoner")


def brute_force(text: str) -> str:
    """Solve a problem by substituting in whatever order works, independently of the generator."""
    *definitions, question = text.split(";")
    values: dict[str, int] = {}
    while len(values) < len(definitions):
        for definition in definitions:
            name, formula = definition.split("=")
            if set(re.findall("[a-z]", formula)) <= values.keys():
                values[name] = eval(formula, {}, values) % 31
    return str(values[question.rstrip("?")])


def test_names_and_get(task: tasks.Task) -> None:
    assert "reasoner" in tasks.names()
    assert tasks.names() == sorted(tasks.names())
    assert task.name == "reasoner"
    assert task.models[0] == "reasoner"
    with pytest.raises(ValueError, match="reasoner"):
        tasks.get("no such task")


@pytest.mark.parametrize("split", SPLITS)
def test_answers_are_right(task: tasks.Task, split: str) -> None:
    problems = task.problems(200, seed=3, split=split)
    assert len(problems) == 200
    assert len({problem.text for problem in problems}) == 200
    for problem in problems:
        assert problem.answer == brute_force(problem.text)
        assert reasoner.MIN_STEPS <= problem.size <= reasoner.MAX_STEPS
        assert problem.prompt == [1, *reasoner.encode(problem.text + "\n")]
        assert reasoner.VOCABULARY.index(reasoner.UNK) not in problem.prompt


def test_every_size_occurs(task: tasks.Task) -> None:
    sizes = {problem.size for problem in task.problems(300)}
    assert sizes == set(range(reasoner.MIN_STEPS, reasoner.MAX_STEPS + 1))


def test_problems_depend_on_seed_and_split_only(task: tasks.Task) -> None:
    assert task.problems(20, seed=1) == task.problems(20, seed=1)
    assert task.problems(20, seed=1) == task.problems(40, seed=1)[:20]
    assert task.problems(20, seed=1) != task.problems(20, seed=2)
    assert task.problems(0) == []


def test_bad_requests(task: tasks.Task) -> None:
    with pytest.raises(ValueError, match="-1"):
        task.problems(-1)
    with pytest.raises(ValueError, match="dev"):
        task.problems(1, split="dev")


def test_splits_do_not_overlap(task: tasks.Task) -> None:
    canonical = {
        split: {tuple(sorted(problem.text.split(";"))) for problem in task.problems(1500, seed=seed, split=split)}
        for seed, split in enumerate(SPLITS)
    }
    assert not canonical["train"] & canonical["test"]
    assert not canonical["train"] & canonical["validation"]
    assert not canonical["validation"] & canonical["test"]


def test_split_ignores_the_order_of_definitions() -> None:
    rng = random.Random(5)
    for _ in range(100):
        chain = reasoner.draw_chain(rng, "validation")
        assert reasoner.split_of(rng.sample(chain, len(chain))) == "validation"


def test_problem_is_frozen(task: tasks.Task) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.problems(1)[0].answer = "1"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=7\nanswer:12", "12"),
        ("a=7\nanswer:3\nwait\nanswer:4", "4"),
        ("12", "12"),
        (" 07 ", "7"),
        ("a=7\n", None),
        ("a=7\nanswer:", None),
        ("a=7\nanswer:12*3", None),
        ("", None),
    ],
)
def test_answer(task: tasks.Task, text: str, expected: str | None) -> None:
    assert task.answer(text) == expected
    assert task.answer(reasoner.encode(text)) == expected


def test_check_takes_what_generate_returns(task: tasks.Task) -> None:
    problem = task.problems(1)[0]
    right = [*problem.prompt, *reasoner.encode(f"a=7\nanswer:{problem.answer}"), 2]
    assert task.check(problem, right)
    assert task.check(problem, np.array([0, 0, *right, 0, 0]))
    assert not task.check(problem, problem.prompt)
    wrong = str((int(problem.answer) + 1) % 31)
    assert not task.check(problem, [*problem.prompt, *reasoner.encode(f"answer:{wrong}"), 2])


def test_ids_outside_the_vocabulary_are_left_out(task: tasks.Task) -> None:
    assert task.answer([-1, 10_000, *reasoner.encode("answer:5")]) == "5"


def test_probe_ids_are_the_suffix() -> None:
    task = tasks.get("reasoner")
    assert task.probe_ids is not None
    assert reasoner.decode(task.probe_ids) == task.probe_suffix
    assert task.answer([*task.probe_ids, *reasoner.encode("17")]) == "17"
    assert task.answer(reasoner.encode("17")) == "17"
    assert tasks.get("sudoku").probe_ids is None


def test_the_task_of_a_bundled_model() -> None:
    found = {name: tasks.for_model(name) for name in ("reasoner", "sudoku-ar", "nobody")}
    assert {name: task and task.name for name, task in found.items()} == {
        "reasoner": "reasoner",
        "sudoku-ar": "sudoku",
        "nobody": None,
    }


def test_probe_suffix_asks_for_an_answer(task: tasks.Task) -> None:
    assert task.probe_suffix == "\nanswer:"
    problem = task.problems(1)[0]
    probed = [*problem.prompt, *reasoner.encode("a=" + task.probe_suffix + problem.answer)]
    assert task.check(problem, probed)


def test_tokenizer_file_agrees(task: tasks.Task) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    assert tokenizer.get_vocab() == {token: index for index, token in enumerate(reasoner.VOCABULARY)}
    thought = "a=7\nb=a+25=7+25=1 no\nb=a+25=7+25=1 ok\nwait\nanswer:30"
    for problem in task.problems(50):
        text = problem.text + "\n" + thought
        assert tokenizer.encode(text).ids == [1, *reasoner.encode(text)]
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.encode(problem.text + "\n").ids == problem.prompt


def test_chat_template_gives_the_prompt(task: tasks.Task) -> None:
    jinja2 = pytest.importorskip("jinja2")
    settings = json.loads((FOLDER / "tokenizer_config.json").read_text())
    template = jinja2.Template(settings["chat_template"])
    for problem in task.problems(10):
        messages = [{"role": "user", "content": problem.text}]
        rendered = template.render(messages=messages, bos_token="<bos>", eos_token="<eos>", add_generation_prompt=True)
        assert rendered == "<bos>" + problem.text + "\n"


def test_model_files() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    generation = json.loads((FOLDER / "generation_config.json").read_text())
    assert config["model_type"] == "qwen3"
    assert config["vocab_size"] == len(reasoner.VOCABULARY)
    for settings in (config, generation):
        assert settings["pad_token_id"] == reasoner.VOCABULARY.index(reasoner.PAD)
        assert settings["bos_token_id"] == reasoner.VOCABULARY.index(reasoner.BOS)
        assert settings["eos_token_id"] == reasoner.VOCABULARY.index(reasoner.EOS)
    longest = 1 + max(len(problem.prompt) for problem in tasks.get("reasoner").problems(300))
    assert longest + generation["max_new_tokens"] <= config["max_position_embeddings"]
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 6_000_000


@pytest.mark.hf
def test_transformers_runs_the_model(task: tasks.Task) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    problems = [problem for problem in task.problems(60) if problem.size <= 3][:8]
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": problem.text}], tokenize=True, return_dict=False)
        for problem in problems
    ]
    assert prompts == [problem.prompt for problem in problems]
    batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    sequences = model.generate(**batch, do_sample=False, max_new_tokens=120)
    right = [task.check(problem, sequence) for problem, sequence in zip(problems, sequences, strict=True)]
    assert sum(right) >= len(problems) / 2
