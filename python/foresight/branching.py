"""The branches of a call: from what `branches=` takes to what the core is told, and back to results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foresight import answers, tasks
from foresight.answers import AnswerError, AnswerReader
from foresight.branches import Probe
from foresight.checkpoint import bundled_name
from foresight.controllers import core_controller, num_branches, resolve
from foresight.output import Branch

if TYPE_CHECKING:
    from foresight._core import Job
    from foresight.call import LoadedModel
    from foresight.generation import Settings
    from foresight.strategies import Strategy
    from foresight.tasks import Task

__all__ = ["Branching", "branching_for"]

_CLOSE_THINK = "</think>"
_BOXED_SUFFIX = "\n\nThe final answer is \\boxed{"


def branching_for(branches: Any, model: LoadedModel, strategy: Strategy, settings: Settings) -> Branching | None:
    """The checked `branches=` of a call; None where there is none.

    Raises TypeError for what is no controller, ValueError for branches that would all be alike (greedy decoding), for
    num_return_sequences beside them, and for probes where they make no sense; NotImplementedError for
    confidences of strategies that do not read them.
    """
    if branches is None:
        return None
    return Branching(resolve(branches), model, strategy, settings)


class Branching:
    """How the branches of every prompt of a call are controlled."""

    def __init__(self, controller: Any, model: LoadedModel, strategy: Strategy, settings: Settings) -> None:
        from foresight import _core

        self.controller = controller
        self.model = model
        self.task = _task_of(model)
        self.width = num_branches(controller)
        self._check(settings)
        self.core = core_controller(controller)
        self.needs = _core.controller_needs(self.core)
        self._check_needs(strategy)
        self.reads_ids, self._extract = self._extractor(getattr(controller, "answer", None))
        AnswerReader(self._extract, getattr(controller, "equal", None))  # raises for what is none
        probe = getattr(controller, "probe", None)
        self.probe = probe if isinstance(probe, Probe) else Probe()
        self.suffix = self._probe_suffix()

    def _check(self, settings: Settings) -> None:
        if settings["num_return_sequences"] not in (None, 1):
            raise ValueError(
                f"num_return_sequences is {settings['num_return_sequences']} beside branches, which are several"
                " sequences already: only the winner of each prompt is returned; all are in out.branches"
            )
        if self.width > 1 and not settings["do_sample"]:
            raise ValueError(f"{self.width} branches of greedy decoding would all be alike: set do_sample=True")

    def _check_needs(self, strategy: Strategy) -> None:
        name = type(self.controller).__name__
        if self.needs["probe_interval"] and strategy.writes_canvas:
            raise ValueError(
                f"branches={name}: {type(strategy.decoding).__name__} decides tokens in any order, so there is no prefix to"
                " probe; use a controller without probes, such as fs.SelfConsistency or fs.BetaStop"
            )
        if self.needs["confidence"] and strategy.policy != "autoregressive":
            raise NotImplementedError(
                f"branches={name} needs confidences, which only fs.Autoregressive() reads, not"
                f" {type(strategy.decoding).__name__}"
            )

    def _extractor(self, answer: Any) -> tuple[bool, Callable[[Any], Any]]:
        """Whether it takes ids, and what finds the answer in them or in their text."""
        if answer is None and self.task is not None:
            return True, self.task.answer
        if self.model.tokenizer is not None:
            return False, answers.boxed() if answer is None else answer
        if answer is None:
            raise ValueError(
                "the checkpoint has no tokenizer, so no \\boxed{} can be found: give the controller answer=, a function"
                " from token ids to a str or None"
            )
        return True, answer

    def _probe_suffix(self) -> list[int] | None:
        """Token ids of what is appended to a branch to make it answer; None where there is none and none may be needed."""
        suffix = self.probe.suffix
        if suffix is None and self.task is not None and self.task.probe_ids is not None:
            return list(self.task.probe_ids)
        tokenizer = self.model.tokenizer
        is_usual = suffix is None
        if suffix is None:
            if tokenizer is None:
                if self.needs["probe_interval"]:
                    raise ValueError("probes need fs.Probe(suffix=[token ids]): the checkpoint has no tokenizer")
                return None
            suffix = self._usual_suffix()
        if not isinstance(suffix, str):
            return [_token_id(i, self.model.config.vocab_size) for i in suffix]
        if tokenizer is None:
            raise ValueError(
                f"the probe's suffix {suffix!r:.60} is a text, and the checkpoint has no tokenizer: use ids"
            )
        ids = tokenizer.encode(suffix, add_special_tokens=False)
        if not ids or _lost(tokenizer.decode(ids), suffix):
            if is_usual and not self.needs["probe_interval"]:
                return None
            raise ValueError(f"the probe's suffix {suffix!r:.60} cannot be written in the checkpoint's vocabulary")
        return ids

    def _usual_suffix(self) -> str:
        """Ends the thinking of models that think aloud, and opens a box."""
        template = self.model.chat_template
        thinks = template is not None and any(_CLOSE_THINK in text for text in template.templates.values())
        return ("\n" + _CLOSE_THINK if thinks else "") + _BOXED_SUFFIX

    @property
    def approximations(self) -> tuple[str, ...]:
        """What keeps the answers from being those of all branches."""
        return () if getattr(self.controller, "exact", False) else (f"branches={type(self.controller).__name__}",)

    def policy_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """A strategy's options with what the controller must be told of each token."""
        return {**options, "confidence": "top_mean"} if self.needs["confidence"] else options

    def control(self) -> dict[str, Any]:
        """What the core is told for one prompt."""
        reader = AnswerReader(self._extract, getattr(self.controller, "equal", None))
        tokenizer = self.model.tokenizer

        def read_answer(tokens: list[int], where: str) -> str | None:
            written: Any = tokens if self.reads_ids or tokenizer is None else tokenizer.decode(tokens)
            try:
                return reader.read(written)
            except AnswerError as error:
                raise AnswerError(f"{where}: {error}") from error.__cause__

        order = getattr(self.controller, "order", None)
        return {
            "controller": self.core,
            "name": getattr(self.controller, "name", "") or type(self.controller).__name__,
            "read_answer": read_answer,
            "probe_suffix": self.suffix,
            "max_probe_tokens": self.probe.max_new_tokens,
            "order": "arrival" if order is None else order,
        }

    def result(self, job: Job, prompt: int) -> BranchResult:
        """What became of a prompt's branches, once they are done."""
        records = job.branches(prompt)
        branches = [
            Branch(
                tokens=job.new_tokens(prompt, number),
                status=record["status"],
                reason=record["reason"],
                answer=record["answer"],
                probes=[tuple(reading) for reading in record["probes"]],
            )
            for number, record in enumerate(records)
        ]
        outcome = job.outcome(prompt)
        return BranchResult(
            branches=branches,
            winner=outcome["winner"],
            answer=outcome["answer"],
            votes=dict(outcome["votes"]),
            clock=outcome["clock"],
            approximations=self.approximations + (("order=arrival",) if outcome["early_events"] else ()),
        )

    def winning_tokens(self, job: Job, prompt: int, result: BranchResult) -> list[int]:
        """The winner's new tokens; where it never finished and its answer was forced, with the probe that forced it."""
        branch = result.branches[result.winner]
        probe = job.probe_tokens(prompt, result.winner)
        forced = branch.status != "finished" and branch.answer is not None and branch.answer == result.answer
        if not forced or probe is None:
            return branch.tokens
        length, tokens = probe
        return branch.tokens[:length] + list(tokens)


@dataclass(frozen=True)
class BranchResult:
    """What became of one prompt's branches. winner: number of the branch that stands for the answer. votes: the heaviest
    first. clock: sequential tokens.
    """

    branches: list[Branch]
    winner: int
    answer: str | None
    votes: dict[str, float]
    clock: int
    approximations: tuple[str, ...]


def _task_of(model: LoadedModel) -> Task | None:
    """The bundled task that the model was trained for, if it is one of the bundled models."""
    name = None if model.folder is None else bundled_name(model.folder)
    return None if name is None else tasks.for_model(name)


def _token_id(value: Any, vocab_size: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"the probe's suffix holds {value!r}, expected token ids or a text")
    if not 0 <= int(value) < vocab_size:
        raise ValueError(f"the probe's suffix holds token id {value}; the vocabulary has ids 0 to {vocab_size - 1}")
    return int(value)


def _lost(written: str, wanted: str) -> bool:
    """Whether a text does not come back from its token ids (unknown characters)."""
    return "".join(written.split()) != "".join(wanted.split())
