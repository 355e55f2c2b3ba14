"""A call's open job: driven to its end, and its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foresight import arguments
from foresight._warn import warn_caller
from foresight.branching import BranchResult
from foresight.inputs import Prompts
from foresight.output import GenerateOutput, Stats
from foresight.snapshots import Snapshot, snapshot_of

if TYPE_CHECKING:
    from foresight._core import Event, Job
    from foresight.call import Call

__all__ = ["Emitted", "Run"]


@dataclass(frozen=True)
class Emitted:
    """Tokens of one sequence that became final in a step."""

    prompt: int
    sequence: int
    tokens: list[int]
    positions: list[int]
    finish_reason: str | None


class Run:
    """A call's open job."""

    def __init__(self, call: Call, job: Job) -> None:
        self.call = call
        self.job = job
        self._tokens: dict[tuple[int, int], list[int]] = {}
        self._stopped: set[tuple[int, int]] = set()
        self._failures: dict[int, Exception] = {}  # by prompt: its controller's or its answers'
        self._results: dict[int, BranchResult] = {}

    def events(self, until: str) -> Iterator[Emitted]:
        """Drives the job to its end and yields what becomes final, stops applied.

        until: "step", "finished" or "done", how far to go between events; stops need single steps.
        Where a prompt's controller or answer reader raises, the other prompts go on, and in the end that is raised.
        """
        step = "step" if self.call.stops.any else until
        is_done = False
        while not is_done:
            is_done = self.job.done()  # what happened before the first step, or with a failure, is told after it
            for event in self._advance(step):
                emitted = Emitted(event.request, event.sequence, event.tokens, event.positions, event.finish_reason)
                if (event.request, event.sequence) not in self._stopped:
                    yield self._cut(emitted) if self.call.stops.any else emitted

        for error in self._failures.values():
            raise error

    def _advance(self, until: str) -> Sequence[Event]:
        try:
            return self.job.advance(until)
        except Exception as error:
            failed = self._new_failure()
            if failed is None:
                raise
            self._failures[failed] = error
            return ()

    def _new_failure(self) -> int | None:
        """The prompt whose control has failed since the last look."""
        if self.call.branching is None:
            return None
        prompts = range(len(self.call.prompts))
        return next((i for i in prompts if i not in self._failures and self.job.is_request_failed(i)), None)

    def is_complete(self, prompt: int) -> bool:
        """Whether the branches of a prompt are done; of calls with branches."""
        return self.job.is_request_done(prompt) and prompt not in self._failures

    def snapshot(self, prompt: int) -> Snapshot:
        """How the branches of a prompt stand now; of calls with branches."""
        return snapshot_of(self.job.branches(prompt))

    def _cut(self, emitted: Emitted) -> Emitted:
        """The event cut at the first token at which a stop string or criterion ends the sequence."""
        request, sequence = emitted.prompt, emitted.sequence
        prompt = self.call.prompts.tokens[request]
        prompt_length = len(prompt)
        if (request, sequence) not in self._tokens:
            written = self.job.new_tokens(request, sequence)  # a fork's begin with its parent's
            self._tokens[request, sequence] = [*prompt, *written[: len(written) - len(emitted.tokens)]]
        tokens = self._tokens[request, sequence]
        tokens.extend(emitted.tokens)

        def scores(end: int) -> tuple[npt.NDArray[np.float32], ...]:
            return tuple(self.job.scores(request, sequence)[: end - prompt_length])

        wanted = scores if self.call.settings["output_scores"] else None
        stop = self.call.stops.check(tokens, len(emitted.tokens), wanted)
        if stop is None:
            return emitted
        kept, reason = stop
        if kept == len(emitted.tokens) and self.job.finish_reason(request, sequence) is not None:
            return emitted
        surplus = len(emitted.tokens) - kept
        del tokens[len(tokens) - surplus :]
        self.job.finish(request, sequence, len(tokens) - prompt_length, reason)
        if self.call.branching is not None:  # it has ended once its controller knows
            return Emitted(request, sequence, emitted.tokens[:kept], emitted.positions[:kept], None)
        self._stopped.add((request, sequence))
        return Emitted(request, sequence, emitted.tokens[:kept], emitted.positions[:kept], reason)

    def result(self, prompt: int | None = None) -> Any:
        """What the call returns, for all prompts or for one alone."""
        call = self.call
        prompts = call.prompts if prompt is None else call.prompts.only(prompt)
        requests = range(len(call.prompts)) if prompt is None else range(prompt, prompt + 1)
        if call.branching is None:
            places = [(i, j) for i in requests for j in range(call.num_sequences)]
            new_tokens = [self.job.new_tokens(i, j) for i, j in places]
            positions = [self.job.positions(i, j) for i, j in places]
        else:
            places, new_tokens, positions = self._winners(requests)
        self._warn_beyond_context(positions)
        mask = call.model.config.mask_token_id if call.strategy.writes_canvas else None
        sequences = prompts.sequences(new_tokens, positions, call.pad_token_id, mask)
        if not call.settings["return_dict_in_generate"]:
            return sequences
        return self._output(prompts, places, new_tokens, positions, sequences)

    def _winners(self, prompts: Sequence[int]) -> tuple[list[tuple[int, int]], list[list[int]], list[list[int]]]:
        """Of each prompt the place of its winner, the winner's new tokens, and where these stand."""
        branching = self.call.branching
        assert branching is not None
        self._results = {i: branching.result(self.job, i) for i in prompts}
        places = [(i, result.winner) for i, result in self._results.items()]
        new_tokens = [branching.winning_tokens(self.job, i, result) for i, result in self._results.items()]
        positions = []
        for (i, winner), tokens in zip(places, new_tokens, strict=True):
            written = self.job.positions(i, winner)
            begin = len(self.call.prompts.tokens[i])
            positions.append(written if len(written) == len(tokens) else list(range(begin, begin + len(tokens))))
        return places, new_tokens, positions

    def _output(
        self,
        prompts: Prompts,
        places: Sequence[tuple[int, int]],
        new_tokens: list[list[int]],
        positions: list[list[int]],
        sequences: Any,
    ) -> GenerateOutput:
        call, job, settings = self.call, self.job, self.call.settings
        tokenizer = call.model.tokenizer
        output = GenerateOutput(
            sequences=sequences,
            new_tokens=new_tokens,
            new_positions=positions,
            texts=None if tokenizer is None else [tokenizer.decode(new) for new in new_tokens],
            finish_reasons=[str(job.finish_reason(i, j)) for i, j in places],
            stats=self._stats(places),
            decoding=call.decoding,
            seed=call.seed,
        )
        if call.branching is not None:
            results = [self._results[i] for i, _ in places]
            output.branches = [result.branches for result in results]
            output.answers = [result.answer for result in results]
            output.votes = [result.votes for result in results]
        if settings["output_scores"]:
            output.scores = self._by_step(prompts, [job.scores(i, j) for i, j in places])
        if settings["output_logits"]:
            output.logits = self._by_step(prompts, [job.logits(i, j) for i, j in places])
        if arguments.num_logprobs(settings) is not None:
            columns = [job.logprobs(i, j) for i, j in places]
            output.logprobs = [processed for processed, _, _ in columns]
            output.raw_logprobs = [raw for _, raw, _ in columns]
            output.top_logprobs = [[list(entries) for entries in top] for _, _, top in columns]
        return output

    def _stats(self, places: Sequence[tuple[int, int]]) -> Stats:
        call = self.call
        per_sequence = [
            Stats.from_core(
                self.job.sequence_stats(i, j) if call.branching is None else self._prompt_stats(i),
                seed=call.prompt_seeds[i],
                approximations=self._approximations(i),
            )
            for i, j in places
        ]
        stats = Stats.from_core(
            self.job.stats(),
            seed=call.seed,
            approximations=tuple(dict.fromkeys(a for stats in per_sequence for a in stats.approximations)),
            per_sequence=per_sequence,
        )
        stats.sequential_tokens = max((entry.sequential_tokens for entry in per_sequence), default=0)
        return stats

    def _approximations(self, prompt: int) -> tuple[str, ...]:
        result = self._results.get(prompt)
        return self.call.approximations + (() if result is None else result.approximations)

    def _prompt_stats(self, prompt: int) -> dict[str, Any]:
        """What a prompt's branches and their probes have cost together."""
        total: dict[str, Any] = {}
        for number in range(self.job.num_sequences(prompt)):
            for name, value in self.job.sequence_stats(prompt, number).items():
                if isinstance(value, list):
                    known = total.get(name, [])
                    longest = max(len(known), len(value))
                    padded = [[*counts, *[0] * (longest - len(counts))] for counts in (known, value)]
                    total[name] = [a + b for a, b in zip(*padded, strict=True)]
                else:
                    total[name] = total.get(name, 0) + value
        total["forwards"] = self.job.num_forwards(prompt)
        total["sequential_tokens"] = self._results[prompt].clock
        return total

    def _by_step(self, prompts: Prompts, rows: list[npt.NDArray[np.float32]]) -> tuple[Any, ...]:
        """From [new tokens, vocab] of each sequence to one [sequences, vocab] for each new token."""
        ended = np.full(self.call.model.config.vocab_size, -np.inf, dtype=np.float32)
        ended[self.call.pad_token_id] = 0.0
        longest = max(len(row) for row in rows)
        return tuple(
            prompts.like(np.stack([row[t] if t < len(row) else ended for row in rows])) for t in range(longest)
        )

    def _warn_beyond_context(self, positions: Sequence[Sequence[int]]) -> None:
        config = self.call.model.config
        if any(rope.type == "dynamic" for rope in config.rope.values()):
            return
        lengths = [places[-1] + 1 for places in positions if places] or [0]
        if max(lengths) > config.max_position_embeddings:
            warn_caller(
                f"a sequence of {max(lengths)} tokens is longer than what the model was made for,"
                f" {config.max_position_embeddings} (max_position_embeddings)"
            )
