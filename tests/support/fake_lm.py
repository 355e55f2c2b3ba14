"""A language model that only plays one: the face of `fs.LM` that the command line uses, without a core.

Its words are those of the bundled reasoner. It answers the reasoner's problems, wrongly once in four times. Any other
prompt is continued with its own last tokens in reverse order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from foresight.branches import ParallelProbe
from foresight.controllers import num_branches, resolve
from foresight.decoding import Autoregressive
from foresight.output import Branch, GenerateOutput, Stats, StreamEvent
from foresight.tasks import get
from foresight.tasks.reasoner import ANSWER, BOS, EOS, VOCABULARY, Definition, decode, encode, evaluate
from support.branch_trace import branch_trace

END = VOCABULARY.index(EOS)


class FakeTokenizer:
    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [VOCABULARY.index(BOS)] * add_special_tokens + encode(text)

    def decode(self, ids: list[int]) -> str:
        return decode(ids)

    def stream(self) -> SimpleNamespace:
        return SimpleNamespace(put=decode, end=lambda: "")


class FakeTemplate:
    def render(self, messages: list[dict[str, Any]], **_: Any) -> str:
        return "".join(str(message["content"]) + "\n" for message in messages)


@dataclass
class FakeLM:
    """calls: what every generating call was given. before: called at the beginning of each, and may raise."""

    tokenizer: FakeTokenizer | None = field(default_factory=FakeTokenizer)
    chat_template: FakeTemplate | None = field(default_factory=FakeTemplate)
    calls: list[dict[str, Any]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    config: Any = field(default_factory=lambda: SimpleNamespace(vocab_size=len(VOCABULARY)))

    def memory(self) -> dict[str, int]:
        return {"weights": 3_400_000, "packed": 3_400_000, "cache": 1_000_000}

    def generate(self, inputs: list[list[int]], **options: Any) -> Any:
        self._begin(inputs, options)
        width = options.get("num_return_sequences", 1)
        if options.get("trace") is not None:
            events = branch_trace(options["branches"].num_branches, answer="1")
            Path(options["trace"]).write_text("".join(json.dumps(event) + "\n" for event in events))
        outs = [self._out(ids, options, i) for i, ids in enumerate(inputs)]
        new_tokens = [tokens for out in outs for tokens in out.new_tokens]
        sequences = [[*inputs[i // width], *new] for i, new in enumerate(new_tokens)]
        if not options.get("return_dict_in_generate"):
            return sequences
        result = outs[0]
        result.sequences, result.new_tokens = sequences, new_tokens
        result.stats = Stats(
            forwards=max(map(len, new_tokens)),
            rows=sum(map(len, new_tokens)),
            generated_tokens=sum(out.stats.generated_tokens for out in outs),
            probe_tokens=sum(out.stats.probe_tokens for out in outs),
            per_sequence=[out.stats for out in outs],
        )
        if options.get("branches") is not None:
            for name in ("branches", "answers", "votes"):
                setattr(result, name, [getattr(out, name)[0] for out in outs])
        return result

    def generate_iter(self, inputs: list[list[int]], **options: Any) -> Iterator[tuple[int, GenerateOutput]]:
        """The last prompt is finished first."""
        self._begin(inputs, options)
        for index in reversed(range(len(inputs))):
            yield index, self._out(inputs[index], options, index)

    def stream(self, inputs: list[list[int]], **options: Any) -> Iterator[StreamEvent]:
        self._begin(inputs, options)
        for index, ids in enumerate(inputs):
            for token in self._out(ids, options, index).new_tokens[0]:
                yield StreamEvent(index, 0, [0], [token], decode([token]), None)

    def chat(self, messages: list[dict[str, Any]], *, streamer: Any, **options: Any) -> str:
        assert self.tokenizer is not None
        assert self.chat_template is not None
        ids = self.tokenizer.encode(self.chat_template.render(messages), add_special_tokens=False)
        streamer.put(np.array([ids]))
        try:
            for event in self.stream([ids], **options):
                streamer.put(np.array(event.tokens))
        finally:
            streamer.end()
        return ""

    def _begin(self, inputs: list[list[int]], options: dict[str, Any]) -> None:
        self.calls.append({"inputs": inputs, **options})
        self.before()

    def _out(self, ids: list[int], options: dict[str, Any], index: int) -> GenerateOutput:
        limit = options.get("max_new_tokens") or 768
        limit = limit[index] if isinstance(limit, list) else limit
        width = options.get("num_return_sequences", 1)
        full = [_continue(ids, sequence) for sequence in range(width)]
        new = [tokens[:limit] for tokens in full]
        result = GenerateOutput(
            sequences=[[*ids, *tokens] for tokens in new],
            new_tokens=new,
            new_positions=[list(range(len(ids), len(ids) + len(tokens))) for tokens in new],
            texts=[decode(tokens) for tokens in new] if self.tokenizer else None,
            finish_reasons=["eos" if tokens[-1] == END else "length" for tokens in new],
            stats=Stats(),
            decoding=Autoregressive(),
            seed=0,
        )
        return result if options.get("branches") is None else _decided(result, ids, options)


def _decided(result: GenerateOutput, ids: list[int], options: dict[str, Any]) -> GenerateOutput:
    """The same with branches, all of which finish; where they are probed, a probe of 3 tokens each."""
    task = get("reasoner")
    width = num_branches(resolve(options["branches"]))
    written = [_continue(ids, number) for number in range(width)]
    answers = [task.answer(tokens) for tokens in written]
    result.branches = [
        [Branch(tokens, "finished", "eos", answer, []) for tokens, answer in zip(written, answers, strict=True)]
    ]
    result.votes = [{str(answer): float(number) for answer, number in Counter(answers).most_common()}]
    result.answers = [next(iter(result.votes[0]))]
    probed = isinstance(options["branches"], ParallelProbe)
    result.stats = Stats(
        sequential_tokens=max(map(len, written)),
        generated_tokens=sum(map(len, written)),
        probe_tokens=3 * len(written) * probed,
    )
    return result


def _continue(ids: list[int], sequence: int) -> list[int]:
    text = decode(ids)
    problem, question, thought = text.partition("?\n")
    if not question:
        return [*reversed([token for token in ids if token > END]), END]
    *definitions, name = problem.split(";")
    right = int(_solve(definitions)[name])
    given = (right + 1) % 31 if sequence % 4 == 3 else right
    words = str(given) if thought.endswith(ANSWER) else f"{name}={given}\n{ANSWER}{given}"
    return [*encode(words), END]


def _solve(definitions: list[str]) -> dict[str, int]:
    chain = []
    for definition in sorted(definitions):  # the task's names are in the order of the chain
        name, formula = definition.split("=")
        operator = next((sign for sign in "+-*" if sign in formula), "")
        left, _, right = formula.partition(operator) if operator else (formula, "", "")
        chain.append(Definition(name, left, operator, right))
    return evaluate(chain)
