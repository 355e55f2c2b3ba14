"""The reasoning cache: many rounds of thinking in a bounded context, each of which knows only a summary of the last.

Wu et al., "Reasoning Cache", arXiv 2602.03773: think about the problem and the summary so far; then summarise what was
thought, together with the old summary; drop the thoughts; again. The last round's answer counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foresight._core import prompt_seed
from foresight.reasoning_state import State, check_state, load_state, new_state, save_state
from foresight.seeds import parse_seed
from foresight.text import encode_chat, need_tokenizer

if TYPE_CHECKING:
    from foresight.checkpoint import Tokenizer
    from foresight.lm import LM

__all__ = ["ReasoningCache", "ReasoningResult", "ReasoningRound"]

REASON_PROMPT = """\
You are working on a hard problem, in several rounds. All that you know of the earlier rounds is the summary below.

Problem:
{problem}

Summary of the work so far:
{summary}

Go on from this summary: use what it has established, check what it doubts, and when its approach does not lead
anywhere, take another one. If it already holds an answer, confirm it in a different way or correct it.
Think step by step, and end with the final answer in \\boxed{}."""

SUMMARY_PROMPT = """\
Another person will go on with the problem below and will see only your summary, not the work itself.

Problem:
{problem}

Summary of the work before:
{summary}

New work:
{trace}

Write one summary that replaces the old one and takes in the new work, in two paragraphs or more of plain prose.
Say which approaches were tried and how far each one led, which intermediate results hold and why, what is wrong or in
doubt, which answer was reached, if any, and what should be done next. Keep the formulas and numbers that are needed.
Do not solve the problem further."""

NO_SUMMARY = "(none yet)"

_PLACE = re.compile(r"\{(problem|summary|trace)\}")
_OWN = {
    "max_new_tokens": "set round_tokens and summary_tokens of the ReasoningCache",
    "max_length": "set round_tokens and summary_tokens of the ReasoningCache",
    "num_return_sequences": "repeat the problem in the list",
    "return_dict_in_generate": "the result holds texts and token counts",
    "trace": "a trace holds one call, and this is many",
    "streamer": "go through ReasoningCache.steps to see each round",
    **dict.fromkeys(("inputs", "input_ids", "attention_mask"), "the problems are texts"),
}


@dataclass(frozen=True)
class ReasoningRound:
    """One round about one problem.

    reasoning: what was written before the close-think token, all of it where there is none. answer: what came after
    it. num_tokens: of both. finish_reason: as generate's. summary: what the next round knows, None after the last
    one; summary_num_tokens: what writing it took.
    """

    reasoning: str
    answer: str | None
    num_tokens: int
    finish_reason: str
    summary: str | None = None
    summary_num_tokens: int = 0


@dataclass(frozen=True)
class ReasoningResult:
    """What a run made of one problem.

    answer: the last round's text, after its close-think token where it has one. num_tokens: written in all, summaries
    included. seed: this problem's own. state: of the whole run, to continue with more rounds.
    """

    problem: str
    answer: str
    rounds: list[ReasoningRound]
    num_tokens: int
    seed: int
    state: State = field(repr=False)

    @property
    def summaries(self) -> list[str]:
        """The summaries in their order."""
        return [one.summary for one in self.rounds if one.summary is not None]


@dataclass(frozen=True)
class ReasoningCache:
    """Thinks for many rounds within a bounded context (arXiv 2602.03773; the sizes are the paper's).

    rounds: how often it thinks. round_tokens, summary_tokens: the most that one round, and one summary, may write.
    reason_prompt: the user message that asks for a round, with places {problem} and {summary}; summary_prompt: the one
    that asks for a summary, with {problem} and {trace}, and {summary} where it is to see the old one; None: this
    package's own. close_think: the text, of a token or of several, that parts thoughts from the answer; a summary loses its thoughts, too.
    reason_template, summary_template: variables for the chat template, such as {"reasoning_effort": "high"}.

    Raises ValueError or TypeError for what is no such value.
    """

    rounds: int = 12
    round_tokens: int = 16384
    summary_tokens: int = 2048
    reason_prompt: str | None = None
    summary_prompt: str | None = None
    close_think: str = "</think>"
    reason_template: Mapping[str, Any] | None = None
    summary_template: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("rounds", "round_tokens", "summary_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is {value!r:.40}, expected an integer")
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        for name, places in (("reason_prompt", ("problem", "summary")), ("summary_prompt", ("problem", "trace"))):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, str):
                raise TypeError(f"{name} is {value!r:.40}, expected a text")
            for place in places:
                if f"{{{place}}}" not in value:
                    raise ValueError(f"{name} has no {{{place}}}, so the model would not see it")
            if name == "reason_prompt" and "{trace}" in value:
                raise ValueError("reason_prompt has {trace}: a round sees only the problem and the summary")
        if not isinstance(self.close_think, str) or not self.close_think:
            raise ValueError(f"close_think is {self.close_think!r:.40}, expected a text such as '</think>'")

    def run(
        self,
        lm: LM,
        problems: str | Sequence[str] | None = None,
        *,
        seed: Any = None,
        state: Mapping[str, Any] | None = None,
        path: str | os.PathLike[str] | None = None,
        **generate_kwargs: Any,
    ) -> Any:
        """Runs all rounds: a ReasoningResult for a str, a list of them for a list, whose problems run as one batch.

        seed: None, an int, or one per problem; every round's seed follows from the problem's, so that a run that was
        interrupted and continued gives the same as one that was not, bit for bit.
        state: where to go on: the state of an earlier result (with more rounds, if wanted), or of `steps`.
        path: a file that holds the state after every half round; if it exists already, the run goes on from there.
        generate_kwargs: as generate's, the same for every round. With a state, problems and seed may be left out; the
        result is a list then.

        Raises ValueError for a checkpoint without tokenizer or chat template, and for a state of another run.
        """
        final = None
        for final in self.steps(lm, problems, seed=seed, state=state, path=path, **generate_kwargs):  # noqa: B007
            pass
        assert final is not None
        results = [self._result(final, i) for i in range(len(final["problems"]))]
        return results[0] if isinstance(problems, str) else results

    def steps(
        self,
        lm: LM,
        problems: str | Sequence[str] | None = None,
        *,
        seed: Any = None,
        state: Mapping[str, Any] | None = None,
        path: str | os.PathLike[str] | None = None,
        **generate_kwargs: Any,
    ) -> Iterator[State]:
        """As run, half a round at a time: the state it starts from, then the one after every reasoning and summary.

        A state is plain JSON data. It is the running one: copy what is to stay as it is.
        """
        for name in generate_kwargs.keys() & _OWN.keys():
            raise TypeError(f"{name} does not go with a ReasoningCache: {_OWN[name]}")
        encode_chat(lm.loaded, lm.chat_template, [[{"role": "user", "content": "?"}]], None, self.reason_template)
        file = None if path is None else Path(path)
        current = self._start(problems, seed, state, file)
        if file is not None:
            save_state(current, file)  # what cannot be written is told before there is any work
        yield current
        while self._advance(lm, current, generate_kwargs):
            if file is not None:
                save_state(current, file)
            yield current

    def _start(self, problems: Any, seed: Any, given: Any, file: Path | None) -> State:
        if given is None and file is not None and file.exists():
            given = load_state(file)
        elif given is not None:
            given = check_state(given)
        if isinstance(problems, str):
            problems = [problems]
        elif problems is not None:
            problems = list(problems)
            if not problems or not all(isinstance(problem, str) for problem in problems):
                raise TypeError(f"problems are {problems!r:.80}, expected a text or a non-empty list of texts")
        if given is None:
            if problems is None:
                raise TypeError("there are neither problems nor a state to go on from")
            return new_state(self._settings(), problems, parse_seed(seed, len(problems))[1])
        if problems is not None and problems != given["problems"]:
            raise ValueError("the state is of other problems; leave the problems out, or start without the state")
        if seed is not None and parse_seed(seed, len(given["problems"]))[1] != given["seeds"]:
            raise ValueError(f"the state was begun with another seed than {seed!r:.40}; leave the seed out")
        for name, value in self._settings().items():
            if given["settings"].get(name, ...) != value:
                raise ValueError(f"the state was begun with another {name} than that of this ReasoningCache")
        if len(given["rounds"][0]) > self.rounds:
            raise ValueError(
                f"the state holds {len(given['rounds'][0])} rounds already, more than rounds={self.rounds}"
            )
        return given  # type: ignore[no-any-return]

    def _settings(self) -> dict[str, Any]:
        """What must be the same in every round; templates as text, since they may hold anything."""
        kept = {name: value for name, value in asdict(self).items() if name != "rounds"}
        for name in ("reason_template", "summary_template"):
            kept[name] = None if kept[name] is None else repr(dict(kept[name]))
        return kept

    def _advance(self, lm: LM, state: State, options: Mapping[str, Any]) -> bool:
        """Does the next half round of every problem; False where nothing is left to do."""
        done = len(state["rounds"][0])
        summarises = done > 0 and state["rounds"][0][-1]["summary"] is None
        if done == self.rounds:
            return False
        messages = []
        for problem, rounds in zip(state["problems"], state["rounds"], strict=True):
            summaries = [entry["summary"] for entry in rounds if entry["summary"]]
            places = {"problem": problem, "summary": summaries[-1] if summaries else NO_SUMMARY}
            if summarises:
                places["trace"] = rounds[-1]["reasoning"]
            messages.append([{"role": "user", "content": self._prompt(summarises, places)}])
        template = self.summary_template if summarises else self.reason_template
        half = 2 * (done - summarises) + summarises
        prompts = encode_chat(lm.loaded, lm.chat_template, messages, None, template)
        out = lm.generate(
            prompts,
            seed=[prompt_seed(seed, half) for seed in state["seeds"]],
            max_new_tokens=self.summary_tokens if summarises else self.round_tokens,
            return_dict_in_generate=True,
            **options,
        )
        tokenizer = need_tokenizer(lm.loaded, "a ReasoningCache")
        for rounds, tokens, reason in zip(state["rounds"], out.new_tokens, out.finish_reasons, strict=True):
            thoughts, answer = self._parted(tokens, tokenizer)
            if summarises:
                rounds[-1].update(summary=answer or thoughts, summary_num_tokens=len(tokens))
            else:
                rounds.append(asdict(ReasoningRound(thoughts, answer, len(tokens), reason)))
        return True

    def _prompt(self, summarises: bool, places: Mapping[str, str]) -> str:
        own, given = (SUMMARY_PROMPT, self.summary_prompt) if summarises else (REASON_PROMPT, self.reason_prompt)
        return _PLACE.sub(lambda match: places[match[1]], own if given is None else given)

    def _parted(self, tokens: list[int], tokenizer: Tokenizer) -> tuple[str, str | None]:
        """What stands before the last close-think token, and after it; None where there is none.

        One that is a special token leaves no text, so it is looked for among the ids.
        """
        close, answer = tokenizer.token_id(self.close_think), None
        if close is not None and close in tokens:
            at = len(tokens) - 1 - tokens[::-1].index(close)
            thoughts, answer = tokenizer.decode(tokens[:at]), tokenizer.decode(tokens[at + 1 :]).strip()
        else:
            thoughts = tokenizer.decode(tokens)
            before, found, after = thoughts.rpartition(self.close_think)
            if found:
                thoughts, answer = before, after.strip()
        thoughts = thoughts.strip().removeprefix(self.close_think.replace("/", "", 1)).strip()
        # A model that does not think closes at once: then its answer is all that there is to summarise.
        return thoughts or answer or "", answer

    def _result(self, state: State, i: int) -> ReasoningResult:
        rounds = [ReasoningRound(**{name: entry[name] for name in _ROUND_FIELDS}) for entry in state["rounds"][i]]
        last = rounds[-1]
        return ReasoningResult(
            problem=state["problems"][i],
            answer=last.reasoning if last.answer is None else last.answer,
            rounds=rounds,
            num_tokens=sum(one.num_tokens + one.summary_num_tokens for one in rounds),
            seed=state["seeds"][i],
            state=state,
        )


_ROUND_FIELDS = tuple(ReasoningRound.__dataclass_fields__)
