"""One generate() call: from checked arguments to requests on the engine.

Everything that can be wrong with the arguments raises while the Call is built, before any work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foresight import arguments
from foresight.assistants import assisted_decoding
from foresight.branching import branching_for
from foresight.core_drafters import Circumstances
from foresight.cost_curve import CostMemo
from foresight.draft_head import HeadMemo
from foresight.generation import resolve, without_history
from foresight.inputs import check_token_types, parse_prompts
from foresight.processors import as_list, wrap_prefix_function, wrap_processors
from foresight.run import Run
from foresight.sampling import sampling_params
from foresight.seeds import parse_seed
from foresight.stops import Stops
from foresight.strategies import Batch, strategy_for

if TYPE_CHECKING:
    from foresight._core import Engine, Job
    from foresight._core import Session as CoreSession
    from foresight.checkpoint import ChatTemplate, ModelConfig, Tokenizer

__all__ = ["Call", "LoadedModel"]


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
