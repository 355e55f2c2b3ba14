"""The LM class: a loaded model, and every call on it."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foresight import checkpoint as checkpoints
from foresight import scoring, streaming
from foresight._warn import warn_caller
from foresight.acceptance import Acceptance, measure_acceptance
from foresight.call import Call, LoadedModel
from foresight.checkpoint import ChatTemplate, Checkpoint, ModelConfig, Tokenizer
from foresight.core_config import core_config
from foresight.cost_curve import CostCurve
from foresight.draft_head import HeadMemo
from foresight.generation_fields import FIELDS
from foresight.inputs import parse_token_lists
from foresight.output import Score, StreamEvent
from foresight.session import Session, extend
from foresight.text import chat, complete, infill

if TYPE_CHECKING:
    from foresight._core import Engine
    from foresight.torch_weights import CoreTensors

__all__ = ["LM"]

_DTYPES = ("float32", "bfloat16", "float16")
_Floats = npt.NDArray[np.float32]


class LM:
    """A language model with its packed weights and its cache; safe to use from several threads at once.

    Made by `from_pretrained`, `from_torch` or `bundled`. config: what the checkpoint is. tokenizer:
    None where the folder has none.
    """

    def __init__(self, checkpoint: Checkpoint, engine: Engine, weight_bytes: int = 0) -> None:
        # The engine has packed the tensors: the mapped files need not stay in memory.
        self._checkpoint = dataclasses.replace(checkpoint, tensors={})
        self._rebuild: Callable[[], Engine] | None = None
        self._refresh_lock = threading.Lock()
        unknown = [name for name in checkpoint.generation_config if name not in FIELDS]
        if unknown:
            warn_caller(f"{checkpoint.path}: generation_config.json holds unknown fields: {', '.join(unknown)}")
        self._model = LoadedModel(
            engine=engine,
            config=checkpoint.config,
            tokenizer=checkpoint.tokenizer,
            generation_defaults=checkpoint.generation_config,
            weight_bytes=weight_bytes,
            folder=checkpoint.path if checkpoint.path.is_dir() else None,
            chat_template=checkpoint.chat_template,
        )

    # Loading

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | os.PathLike[str],
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantization: str | None = None,
        num_threads: int | None = None,
        kv_cache_bytes: int | None = None,
        config: Mapping[str, Any] | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> LM:
        """Loads a checkpoint: a folder with config.json and safetensors, "org/name" of the hub, or
        "bundled:name".

        dtype: of the computation, "auto" (the checkpoint's) | "float32" | "bfloat16" | "float16".
        num_threads: None for the processors this process may use. kv_cache_bytes: None for a quarter of
        the available memory. config: what the files do not say. Raises fs.CheckpointError for missing or
        broken files, NotImplementedError for models and devices that are not supported.
        """
        _check_device(device)
        _check_quantization(quantization)
        _check_dtype(dtype, "auto")
        loaded = checkpoints.load(path_or_hub_id, config=config, revision=revision, local_files_only=local_files_only)
        if dtype not in ("auto", loaded.config.dtype):
            loaded = dataclasses.replace(loaded, config=checkpoints.with_dtype(loaded.config, dtype))
        tensors = {name: (view.array, view.dtype, view.shape) for name, view in loaded.tensors.items()}
        engine = _build_engine(loaded.config, tensors, num_threads, kv_cache_bytes)
        return cls(loaded, engine, _num_bytes(tensors))

    @classmethod
    def from_torch(
        cls,
        hf_model: Any,
        *,
        tokenizer: Any = None,
        dtype: str | None = None,
        config: Mapping[str, Any] | None = None,
        num_threads: int | None = None,
        kv_cache_bytes: int | None = None,
    ) -> LM:
        """Takes the weights of a live transformers model as they are now; `refresh()` takes them again.

        tokenizer: a fast one of transformers. dtype: of the computation, None for the model's.
        """
        from foresight.torch_weights import checkpoint_of, tensors_of

        _check_dtype(dtype, None)
        loaded = checkpoint_of(hf_model, tokenizer, dtype, config)

        def build() -> Engine:
            return _build_engine(loaded.config, tensors_of(hf_model, loaded.config), num_threads, kv_cache_bytes)

        lm = cls(loaded, build())
        lm._rebuild = build
        return lm

    @classmethod
    def bundled(cls, name: str, **options: Any) -> LM:
        """Loads a model that came with the package; `bundled_names()` lists them."""
        return cls.from_pretrained(f"bundled:{name}", **options)

    @staticmethod
    def bundled_names() -> list[str]:
        """The names that `bundled` knows."""
        return checkpoints.bundled_names()

    def refresh(self) -> None:
        """Takes the live model's weights again. Calls under way finish with the old ones, which stay in
        memory until then; open sessions can no longer be used.
        """
        if self._rebuild is None:
            raise ValueError("refresh() is for models made by from_torch; a checkpoint's files do not change")
        with self._refresh_lock:
            model = self._model
            self._model = dataclasses.replace(model, engine=self._rebuild(), heads=HeadMemo())

    # What it is

    @property
    def config(self) -> ModelConfig:
        """The checkpoint's description, with the dtype of the computation."""
        return self._model.config

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The checkpoint's tokenizer."""
        return self._model.tokenizer

    @property
    def chat_template(self) -> ChatTemplate | None:
        """The checkpoint's chat template."""
        return self._checkpoint.chat_template

    @property
    def loaded(self) -> LoadedModel:
        """What a call needs of it, as it is now: for the parts of this package."""
        return self._model

    def cost_curve(self) -> CostCurve:
        """Seconds of a forward of 1 to 256 rows on this machine: measured once (seconds, on a large model),
        then remembered. Adaptive speculation without a seed goes by it; on its own it measures only a part.
        """
        return self._model.costs.curve(self._model.engine)

    def acceptance(
        self,
        prompts: Any,
        drafter: Any,
        *,
        num_draft_tokens: int = 4,
        verification: str = "block",
        **options: Any,
    ) -> Acceptance:
        """Continues prompts with a drafter's guesses in every step and counts what is accepted where.

        prompts: as generate's inputs. drafter, num_draft_tokens, verification: as of fs.Speculative.
        options: generate's; seed is 0 where none is given.
        """
        return measure_acceptance(self._model, prompts, drafter, num_draft_tokens, verification, options)

    def memory(self) -> dict[str, int]:
        """Bytes: weights (of the checkpoint's tensors), packed, cache (whole), cache_used, cache_peak."""
        model = self._model
        return {"weights": model.weight_bytes, **model.engine.memory()}

    def __repr__(self) -> str:
        config = self.config
        return (
            f"LM({str(self._checkpoint.path)!r}, family={config.family!r}, dtype={config.dtype!r},"
            f" layers={config.num_layers}, hidden_size={config.hidden_size})"
        )

    # Writing

    def generate(
        self,
        inputs: Any = None,
        generation_config: Any = None,
        *,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoding: Any = None,
        branches: Any = None,
        constraint: Any = None,
        negative_prompt_ids: Any = None,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        streamer: Any = None,
        seed: Any = None,
        trace: Any = None,
        **generation_kwargs: Any,
    ) -> Any:
        """Continues prompts; the result comes back as what went in.

        inputs (or input_ids): list[int] or list[list[int]], ragged: the result is the same, each prompt
        followed by its new tokens, without padding. An integer array [B, T], numpy or torch (anything
        with DLPack), or a BatchEncoding: an int64 array [B * num_return_sequences, T'], its first T
        columns unchanged, padded on the right with pad_token_id.
        attention_mask: of arrays padded on the left, [B, T] of 1 and 0.
        decoding: how a sequence is written; None for the family's own way.
        branches: how many are written for each prompt and which survive: an int (fs.SelfConsistency), "auto", one of
        fs.ParallelProbe, fs.BetaStop, ..., or an fs.Controller; the result is each prompt's winner. Needs do_sample.
        constraint: reserved; anything but None raises NotImplementedError.
        negative_prompt_ids: the unconditional context of guidance_scale, one per prompt or one for all;
        negative_prompt_attention_mask goes with it.
        logits_processor, stopping_criteria, prefix_allowed_tokens_fn, streamer: as in transformers.
        seed: None (fresh), an int, or a list with one per prompt.
        trace: the path of a file to which the call's events are written, as JSON lines.
        generation_kwargs: the fields of transformers.GenerationConfig, see docs/compatibility.md;
        max_new_tokens may be a list, one per prompt. They go before generation_config (fs's,
        transformers' or a dict), that before the checkpoint's generation_config.json.
        With return_dict_in_generate=True the result is a GenerateOutput.

        Raises before any work: TypeError for text and other things that are no token ids, ValueError for
        values out of range, NotImplementedError for what is not supported, fs.CacheFullError for a
        prompt that can never fit. KeyboardInterrupt leaves the LM usable.
        """
        call = Call(
            self._model,
            inputs,
            generation_config,
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoding=decoding,
            branches=branches,
            constraint=constraint,
            negative_prompt_ids=negative_prompt_ids,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            seed=seed,
            trace=trace,
            **generation_kwargs,
        )
        return streaming.run(call, streamer)

    def stream(self, inputs: Any = None, generation_config: Any = None, **options: Any) -> Iterator[StreamEvent]:
        """generate's tokens as they become final, one StreamEvent per step and sequence. Closing the
        iterator ends the call.
        """
        _refuse_streamer(options, "stream")
        return streaming.stream(Call(self._model, inputs, generation_config, **options))

    def generate_iter(
        self, inputs: Any = None, generation_config: Any = None, *, watch: streaming.Watch | None = None, **options: Any
    ) -> Iterator[tuple[int, Any]]:
        """(index, what generate would return for that prompt alone), in order of completion.

        watch: with branches=, called about ten times a second as watch(index, snapshot) with the first prompt that is not done
        and how its branches stand: {"branches": [...], "votes": {answer: weight}, "clock": tokens}.
        """
        _refuse_streamer(options, "generate_iter")
        return streaming.iterate(Call(self._model, inputs, generation_config, **options), watch)

    def complete(self, text: str | Sequence[str], **options: Any) -> Any:
        """Continues text: the new text alone, a str for a str and a list for a list.

        options: generate's. Without a stated length it goes on to eos or the end of the context. A stop
        string that ended it is part of the text.
        """
        return complete(self._model, text, options)

    def chat(
        self,
        messages: Any,
        *,
        tools: Any = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Answers a conversation [{"role": ..., "content": ...}, ...], or several: the answers' text.

        tools, chat_template_kwargs: what the checkpoint's chat template reads. options: as complete's.
        """
        return chat(self._model, self.chat_template, messages, tools, chat_template_kwargs, options)

    def infill(self, parts: Any, gap_tokens: int | Sequence[int] = 16, **options: Any) -> Any:
        """Fills the gaps between texts: the whole text, a str for one list of parts and a list for several.

        parts: ["before", "after"], or more, or a list of such lists. gap_tokens: masks in each gap, or one
        number per gap. options: generate's. Raises NotImplementedError for models that cannot look ahead.
        """
        return infill(self._model, parts, gap_tokens, options)

    # Reading

    def logits(self, sequences: Any) -> list[_Floats]:
        """float32 [len, vocab] per sequence of token ids: row p is what the model says at position p, about the
        token after it, or the token there itself where the model is not shifted. Masks are ordinary tokens;
        those of semi-causal models see the masks before them by position.
        """
        return self._extended(sequences, None)

    def hidden_states(self, sequences: Any, layers: Sequence[int] = (-1,)) -> list[_Floats]:
        """float32 [len, layers, hidden] per sequence of token ids.

        layers: 0 is the embedding, i what follows layer i (the last one after the final norm); negative
        ones count from the end.
        """
        count = self.config.num_layers + 1
        chosen = []
        for layer in layers:
            if isinstance(layer, bool) or not hasattr(layer, "__index__") or not -count <= layer < count:
                raise ValueError(f"layer {layer!r}: expected {-count} to {count - 1}")
            chosen.append(layer % count)
        if not chosen:
            raise ValueError("layers is empty: name at least one")
        return self._extended(sequences, chosen)

    def _extended(self, sequences: Any, hidden_layers: list[int] | None) -> list[_Floats]:
        model = self._model
        tokens = parse_token_lists(sequences, vocab_size=model.config.vocab_size, what="sequences")
        if not tokens:
            return []
        sessions = [model.engine.session(max_length=len(sequence)) for sequence in tokens]
        try:
            results = model.engine.extend(sessions, tokens, logits="all", hidden_layers=hidden_layers)
        finally:
            for session in sessions:
                session.close()
        return [result for result in results if result is not None]

    def score(
        self,
        contexts: Any,
        continuations: Any,
        *,
        estimator: str | None = None,
        samples: int = 128,
        seed: int | list[int] | None = None,
    ) -> list[Score]:
        """Log-probabilities of continuations given contexts, both lists of texts or of token ids.

        contexts None: rolling, each text by itself. Causal models go on from bos (eos without one) in
        overlapping windows of the model's length; for diffusion models each window of that length is
        a document without a context (shifted ones need bos before it). Spaces between a context's text
        and its continuation count as the continuation's.
        estimator: None for the model's own, the first of its kind here:
        causal: "chain", the chain rule; exact, nothing is drawn, so samples and seed have nothing to do.
        full, semi-causal: "monte_carlo" (LLaDA's, an estimate of a lower bound from `samples` random
        sets of masks, their numbers stratified), or "exact" (what it estimates, by enumeration; at most
        12 tokens, 4 for semi-causal models, whose masks have orders too).
        block-causal: "blockwise" (the chain rule over blocks, each estimated so, with `samples` in all
        but at least two per block), or "exact" (at most 12 tokens in a block).
        A seed gives the same numbers in any batch; continuation i draws from a seed derived from it and i.
        """
        return scoring.score(self._model, contexts, continuations, estimator, samples, seed)

    # Sessions

    def session(self, ids: Any = ()) -> Session:
        """A sequence that keeps its cache: read its next_logits, append, fork, truncate, generate.

        Causal and block-causal models. Within an open block the returned logits are those given the
        tokens so far: they change once more of the block is there.
        """
        model = self._model
        if model.config.attention not in ("causal", "block_causal"):
            raise ValueError(
                f"sessions are for causal and block-causal models; in a {model.config.attention.replace('_', '-')} model"
                " every token changes all others: use lm.logits"
            )
        session = Session(model, model.engine.session(), lambda: self._model)
        try:
            if len(ids):
                session.append(ids)
        except BaseException:
            session.close()
            raise
        return session

    def append(self, sessions: Sequence[Session], ids: Any, logits: str = "last") -> list[_Floats | None]:
        """Session.append for many at once, in shared forwards; ids: one list per session."""
        tokens = parse_token_lists(ids, vocab_size=self.config.vocab_size, what="ids")
        if len(sessions) != len(tokens):
            raise ValueError(f"{len(tokens)} lists of ids for {len(sessions)} sessions")
        return extend(self._model, sessions, tokens, logits)


def _refuse_streamer(options: Mapping[str, Any], method: str) -> None:
    if options.get("streamer") is not None:
        raise TypeError(f"{method} hands out events itself; streamer= goes with generate")


def _build_engine(
    config: ModelConfig, tensors: CoreTensors, num_threads: int | None, kv_cache_bytes: int | None
) -> Engine:
    from foresight import _core

    for name, value in (("num_threads", num_threads), ("kv_cache_bytes", kv_cache_bytes)):
        if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__") or value < 1):
            raise ValueError(f"{name} is {value!r}, expected None or an integer of at least 1")
    return _core.Engine(
        core_config(config),
        tensors,
        dtype=config.dtype,
        kv_cache_bytes=kv_cache_bytes or 0,
        num_threads=num_threads or 0,
    )


def _num_bytes(tensors: CoreTensors) -> int:
    return sum(array.nbytes for array, _, _ in tensors.values())


def _check_device(device: str) -> None:
    if device in ("auto", "cpu"):
        return
    if isinstance(device, str) and (device in ("cuda", "torch") or device.startswith("cuda:")):
        raise NotImplementedError(f"device={device!r}: only the CPU is built; use 'auto' or 'cpu'")
    raise ValueError(f"device is {device!r}, expected 'auto', 'cpu', 'cuda', 'cuda:N' or 'torch'")


def _check_quantization(quantization: str | None) -> None:
    if quantization in ("int8", "int4"):
        raise NotImplementedError(f"quantization={quantization!r} is not built; use None")
    if quantization is not None:
        raise ValueError(f"quantization is {quantization!r}, expected None, 'int8' or 'int4'")


def _check_dtype(dtype: str | None, default: str | None) -> None:
    if dtype != default and dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}, expected {default!r}, {', '.join(map(repr, _DTYPES))}")
