"""One generate() call: from checked arguments to requests on the engine, and from there to results.

Everything that can be wrong with the arguments raises while the Call is built, before any work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foresight import arguments
from foresight._warn import warn_caller
from foresight.assistants import assisted_decoding
from foresight.branching import BranchResult, branching_for
from foresight.core_drafters import Circumstances
from foresight.cost_curve import CostMemo
from foresight.draft_head import HeadMemo
from foresight.generation import resolve, without_history
from foresight.inputs import Prompts, check_token_types, parse_prompts
from foresight.output import GenerateOutput, Stats
from foresight.processors import as_list, wrap_prefix_function, wrap_processors
from foresight.sampling import sampling_params
from foresight.seeds import parse_seed
from foresight.snapshots import Snapshot, snapshot_of
from foresight.stops import Stops
from foresight.strategies import Batch, strategy_for

if TYPE_CHECKING:
    from foresight._core import Engine, Event, Job
    from foresight._core import Session as CoreSession
    from foresight.checkpoint import ChatTemplate, ModelConfig, Tokenizer

__all__ = ["Call", "Emitted", "LoadedModel"]


@dataclass(frozen=True)
class LoadedModel:
    """What a call needs of an LM, taken once at its start."""

    engine: Engine
    config: ModelConfig
    tokenizer: Tokenizer | None
    generation_defaults: Mapping[str, Any]
    weight_bytes: int = 0
    costs: CostMemo = field(default_factory=CostMemo)
    folder: Path | None = None  # of the checkpoint, where there is one
    heads: HeadMemo = field(default_factory=HeadMemo)
    chat_template: ChatTemplate | None = None


@dataclass(frozen=True)
class Emitted:
    """Tokens of one sequence that became final in a step."""

    prompt: int
    sequence: int
    tokens: list[int]
    positions: list[int]
    finish_reason: str | None


class Call:
    """The checked arguments of one call; `running` opens its job.

    fill_context: without any stated length, go on to the end of the context.
    session: start from a fork of its cache.
    """

    def __init__(
        self,
        model: LoadedModel,
        inputs: Any = None,
        generation_config: Any = None,
        *,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoding: Any = None,
        branches: Any = None,
        constraint: Any = None,
        assistant_model: Any = None,
        assistant_tokenizer: Any = None,
        negative_prompt_ids: Any = None,
        negative_prompt_attention_mask: Any = None,
        logits_processor: Any = None,
        prefix_allowed_tokens_fn: Callable[[int, Any], Any] | None = None,
        stopping_criteria: Any = None,
        token_type_ids: Any = None,
        tokenizer: Any = None,
        seed: Any = None,
        trace: Any = None,
        fill_context: bool = False,
        session: CoreSession | None = None,
        **generation_kwargs: Any,
    ) -> None:
        check_token_types(token_type_ids)
        arguments.refuse_unbuilt(constraint, generation_kwargs)
        self.trace = arguments.trace_path(trace)
        if inputs is not None and input_ids is not None:
            raise ValueError("inputs and input_ids are both given: they are the same thing")
        self.model = model
        self.settings = resolve(generation_kwargs, generation_config, model.generation_defaults)
        self.eos_token_ids = arguments.eos_token_ids(self.settings, model.config)
        self.pad_token_id = arguments.pad_token_id(self.settings, model.config, self.eos_token_ids)
        self.prompts = parse_prompts(
            input_ids if inputs is None else inputs,
            attention_mask,
            vocab_size=model.config.vocab_size,
            pad_token_id=None if self.pad_token_id in self.eos_token_ids else self.pad_token_id,
        )
        self.num_sequences = self.settings["num_return_sequences"] or 1
        decoding = assisted_decoding(self.settings, model.config, assistant_model, assistant_tokenizer, decoding)
        self.strategy = strategy_for(decoding, model.config)
        if self.strategy.writes_canvas:
            self.settings = without_history(self.settings)
        self.branching = branching_for(branches, model, self.strategy, self.settings)
        self.is_seeded = seed is not None
        self.seed, self.prompt_seeds = parse_seed(seed, len(self.prompts))
        torch_inputs = self.prompts.kind == "torch"
        context = model.config.max_position_embeddings
        self.budgets = arguments.new_token_budgets(
            self.settings,
            self.prompts,
            context,
            fill=min(context, model.engine.max_cached_tokens - self.strategy.spare_slots) if fill_context else None,
            max_length=arguments.criterion_length(stopping_criteria, self.settings),
            mask=model.config.mask_token_id if self.strategy.writes_canvas else None,
        )
        self._check_learned_positions()
        self.batch = Batch(
            self.prompts.tokens,
            self.budgets,
            self.eos_token_ids,
            model.config.mask_token_id,
            do_sample=bool(self.settings["do_sample"]),
        )
        self.policy_options = [self.strategy.options(self.batch, i) for i in range(len(self.prompts))]
        self.decoding = self.strategy.resolved(self.batch)
        self.guidance_scale = arguments.guidance_scale(self.settings, negative_prompt_ids)
        self.negative_prompts = self._negative(negative_prompt_ids, negative_prompt_attention_mask)
        if self.guidance_scale != 1.0:
            self.strategy.check_guidance(self.batch, self.negative_prompts)
        self.has_stateful_processors = any(
            getattr(item, "stateful", False) for item in as_list(logits_processor, "logits_processor")
        )
        self.processors = wrap_processors(logits_processor, self.settings, torch_inputs)
        self.prefix_function = prefix_allowed_tokens_fn
        self.stops = Stops(
            self.settings["stop_strings"],
            model.tokenizer if tokenizer is None else tokenizer,
            stopping_criteria,
            torch_inputs,
        )
        self.session = session
        if self.strategy.writes_canvas:
            self._check_canvas(logits_processor, negative_prompt_ids)

    def _check_learned_positions(self) -> None:
        config = self.model.config
        for i, (tokens, budget) in enumerate(zip(self.prompts.tokens, self.budgets, strict=True)):
            length = len(tokens) + budget
            if config.learned_positions and length > config.max_position_embeddings:
                raise ValueError(
                    f"prompt {i} may reach {length} positions, but the model has learned only"
                    f" {config.max_position_embeddings}: lower max_new_tokens"
                )

    def _check_canvas(self, logits_processor: Any, negative_prompt_ids: Any) -> None:
        """Raises for what cannot be combined with masks that are decided in any order."""
        for item in as_list(logits_processor, "logits_processor"):
            if not getattr(item, "accepts_masks", False):
                raise ValueError(
                    f"logits_processor {type(item).__name__} would see the mask token {self.batch.mask_token_id} among"
                    " the ids before a position: if it can deal with that, set accepts_masks = True on it"
                )
        if self.prefix_function is not None:
            raise NotImplementedError("prefix_allowed_tokens_fn needs the tokens before a position, which may be masks")
        infilling = any(self.batch.is_infilling(i) for i in range(len(self.prompts)))
        if infilling and (self.stops.any or negative_prompt_ids is not None):
            raise NotImplementedError(
                "stop strings, criteria and negative prompts go with prompts that end where the new tokens begin, not"
                " with masks inside the prompt"
            )

    def _negative(self, ids: Any, attention_mask: Any) -> list[list[int]]:
        """The unconditional context of each prompt; the prompt's last token where none is given."""
        if self.guidance_scale == 1.0:
            return []
        if ids is None:  # with a canvas the core masks the prompt
            return [] if self.strategy.writes_canvas else [tokens[-1:] for tokens in self.prompts.tokens]
        negative = parse_prompts(ids, attention_mask, vocab_size=self.model.config.vocab_size)
        if len(negative) == 1:
            return negative.tokens * len(self.prompts)
        if len(negative) != len(self.prompts):
            raise ValueError(f"negative_prompt_ids hold {len(negative)} prompts for {len(self.prompts)}")
        return negative.tokens

    @contextmanager
    def running(self) -> Iterator[Run]:
        """The call's job with all requests queued; whatever happens, the job is closed in the end."""
        job = self.model.engine.job()
        try:
            if self.trace is not None:
                job.trace(self.trace)
            self._add_requests(job)
            yield Run(self, job)
        finally:
            job.close()

    def _add_requests(self, job: Job) -> None:
        settings = self.settings
        shared = sampling_params(settings, self.eos_token_ids)
        suppressed = [*(shared["suppress_tokens"] or ()), *self.strategy.suppressed_tokens(self.batch)]
        shared["suppress_tokens"] = suppressed or None
        circumstances = self._circumstances()
        drafter = self.strategy.drafter(circumstances)
        min_length = 0 if settings["min_new_tokens"] is not None else settings["min_length"] or 0
        for i, tokens in enumerate(self.prompts.tokens):
            prefix = None
            if self.prefix_function is not None:
                prefix = wrap_prefix_function(self.prefix_function, i, self.prompts.kind == "torch")
            job.add(
                tokens,
                sampling={
                    **shared,
                    "max_length": len(tokens) + self.budgets[i],
                    "min_length": max(0, min_length - self.prompts.padding(i)),
                },
                max_new_tokens=self.budgets[i],
                seed=self.prompt_seeds[i],
                num_sequences=self.num_sequences,
                guidance_scale=self.guidance_scale,
                negative_tokens=self.negative_prompts[i] if self.negative_prompts else None,
                prefix_processor=prefix,
                processors=self.processors,
                policy=self.strategy.policy,
                policy_options=self._policy_options(i, circumstances),
                drafter=drafter,
                max_seconds=settings["max_time"],
                logprobs=arguments.num_logprobs(settings),
                output_scores=bool(settings["output_scores"]),
                output_logits=bool(settings["output_logits"]),
                session=self.session,
                control=None if self.branching is None else self.branching.control(),
            )

    def _policy_options(self, prompt: int, circumstances: Circumstances) -> dict[str, Any]:
        options = self.strategy.adapt(self.policy_options[prompt], circumstances)
        return options if self.branching is None else self.branching.policy_options(options)

    @property
    def width(self) -> int:
        """The most sequences that are written for a prompt."""
        return self.num_sequences if self.branching is None else self.branching.width

    def _circumstances(self) -> Circumstances:
        model = self.model
        lengths = [len(tokens) + budget for tokens, budget in zip(self.prompts.tokens, self.budgets, strict=True)]
        spare = self.strategy.spare_slots
        return Circumstances(
            model=model,
            num_sequences=len(lengths) * self.width,
            num_slots=sum(length + spare for length in lengths) * self.width,
            do_sample=bool(self.settings["do_sample"]),
            seeded=self.is_seeded,
            stateful_processors=self.has_stateful_processors,
            measured_costs=lambda: model.costs.costs(model.engine),
        )

    @property
    def approximations(self) -> tuple[str, ...]:
        """What keeps the result from being exact."""
        return self.strategy.approximations_of(bool(self.settings["do_sample"]))


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
