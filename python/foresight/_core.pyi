"""The C++ core: a row engine over a paged cache. It reads no files: Python hands over a typed config
and named tensor views.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, final, type_check_only

import numpy as np
import numpy.typing as npt

__version__: str
testing: ModuleType  # doors for tests: the parity harness of the ops, processors, the sampler

@type_check_only
class _Pybind11Type(type): ...

def supported_isas() -> list[str]:
    """Instruction sets that this build holds and this processor runs, ascending."""

def default_isa() -> str:
    """The one in use; FORESIGHT_ISA forces it. Raises ValueError when that one cannot run here."""

def default_num_threads() -> int:
    """Processors this process may use (affinity, cgroup quota, FORESIGHT_NUM_THREADS)."""

def prompt_seed(call_seed: int, index: int) -> int:
    """The seed of prompt `index` under a call's seed."""

def family_names() -> list[str]:
    """Model families that the core builds."""

def policy_names() -> list[str]:
    """Strategies that Job.add knows by name."""

def controller_names() -> list[str]:
    """Controllers that make_controller knows by name."""

@final
class NamedController(metaclass=_Pybind11Type):
    """A controller of the core, to be made anew for every request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: made by make_controller only."""

    @property
    def name(self) -> str: ...
    @property
    def inner(self) -> Any: ...

def make_controller(
    name: str,
    options: Mapping[str, Any],
    inner: Any = None,
    vote: str | Callable[[BranchesView], Mapping[str, float]] | None = None,
) -> NamedController:
    """inner: of a wrapper, what make_controller returned or an object like fs.Controller. vote: "majority",
    "confidence" or a function; None: the controller's own. Raises ValueError for names and options that are none.
    """

@final
class ControlledBranch(metaclass=_Pybind11Type):
    """One branch of a BranchesView. Tokens are those after the prompt."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: made by BranchesView only."""

    @property
    def index(self) -> int: ...
    @property
    def status(self) -> str:
        """running | finished | pruned | stopped."""
    @property
    def parent(self) -> int | None:
        """The branch that it was forked from."""
    @property
    def start(self) -> int:
        """The clock at which it began."""
    @property
    def num_tokens(self) -> int: ...
    @property
    def answer(self) -> str | None:
        """Of a finished branch its own, else that of its last probe."""
    @property
    def probes(self) -> list[tuple[int, str | None]]:
        """(tokens, answer), in their order."""
    @property
    def confidence(self) -> float | None:
        """None unless the controller wants confidences and this one is known."""
    @property
    def cache_bytes(self) -> int:
        """0 unless the controller wants them."""
    @property
    def reason(self) -> str:
        """Why it ended."""

@final
class BranchesView(metaclass=_Pybind11Type):
    """The branches of a request at one event. Used after the call that it was given to, it raises ValueError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: made for a controller only."""

    @property
    def clock(self) -> int:
        """The largest start + tokens reached so far."""
    @property
    def branches(self) -> list[ControlledBranch]: ...
    def vote(self, finished: bool | None = None) -> dict[str, float]:
        """Votes of each answer, most first; a tie by the order of branches. finished True: of the finished branches;
        False: of all that are not pruned, by their last known answers; None: the first, or where it is empty
        the second.
        """

@final
class RecordedQuestion(metaclass=_Pybind11Type):
    """The recorded branches of one request."""

    def __init__(self, label: str, *, probe_grid: int = 0, confidence_group: int = 0) -> None:
        """label: names it in errors. probe_grid: see foresight.recorded.Question.probe_freq, and
        confidence_group; 0: None.
        """

    def add(
        self,
        *,
        num_tokens: int,
        answer: str | None,
        probe_tokens: Sequence[int] = ...,
        probe_answers: Sequence[str | None] = ...,
        confidences: Sequence[tuple[int, float]] = ...,
        finished: bool = True,
    ) -> None:
        """Adds a branch, see foresight.recorded.Branch. Raises ValueError for tokens that do not rise."""

    def __len__(self) -> int: ...

def controller_needs(controller: Any) -> dict[str, int | bool]:
    """interval, probe_interval, confidence, cache_bytes: what a controller must be told. controller: as of make_controller's
    inner.
    """

def replay(
    question: RecordedQuestion,
    orders: Sequence[Sequence[int]],
    controller: Any,
    *,
    probe_cost: int = 0,
    num_threads: int = 0,
) -> dict[str, Any]:
    """One draw for each order of branches: answers (text or None), same_as_full_vote (None where nobody knows),
    sequential_tokens, total_tokens and probes (int64 [draws]). controller: as make_controller's inner. num_threads 0:
    all; a controller that calls Python has one. Raises ValueError for what the record lacks.
    """

class Drafter(metaclass=_Pybind11Type):
    """Guesses how sequences go on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: only its subclasses can be made."""

    def propose(
        self,
        sequences: Sequence[Sequence[int]],
        num_tokens: int,
        depth: int | None = None,
        width: int = 1,
        dynamic: bool = False,
        prompt_lengths: Sequence[int] | None = None,
    ) -> list[list[tuple[int, int]]]:
        """Per sequence at most num_tokens guesses (token, index of the guess before it; -1: the sequence's
        last token), parents first. At most `width` at every depth and `depth` in a row (None: num_tokens).
        prompt_lengths: tokens of each that are its prompt; None: 0. Sequence i is known again by its index.
        Raises ValueError for negative tokens and counts.
        """

@final
class PromptLookup(Drafter):
    """See foresight.PromptLookup."""

    def __init__(self, max_ngram: int = 3, min_ngram: int = 1) -> None: ...

@final
class SuffixTree(Drafter):
    """See foresight.SuffixTree."""

    def __init__(
        self,
        *,
        max_depth: int = 24,
        min_probability: float = 0.1,
        max_factor: float = 1.0,
        max_tokens: int = 10000000,
    ) -> None: ...
    def share(self) -> SuffixTree:
        """Another drafter over the same answers: one for each engine that uses them at the same time."""

    def add(self, tokens: Sequence[int], prompt: Sequence[int] = ()) -> None: ...
    def held(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """The answers: tokens, behind the last ones of their prompts; lengths of the sequences, oldest first;
        hashes of their prompts, 0: none.
        """

    def add_held(
        self,
        tokens: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int64],
        prompts: npt.NDArray[np.uint64],
    ) -> None:
        """Adds what held() returned. Raises ValueError when it cannot have."""

    def __len__(self) -> int: ...

@final
class DraftModel(Drafter):
    """A language model that guesses for another one."""

    def __init__(
        self,
        target: Engine,
        drafter: Engine,
        *,
        num_layers: int | None = None,
        num_slots: int,
        num_sequences: int,
        spelled: Sequence[Sequence[int]] = [],
        same: Sequence[int] = [],
    ) -> None:
        """The first num_layers layers (None: all) of `drafter`, which may be `target`; their weights are
        shared. num_slots: tokens of num_sequences sequences that its cache holds together. spelled, same:
        see foresight.vocabularies; empty: one vocabulary. Raises ValueError for layers and vocabularies
        that do not fit.
        """

@final
class Head(metaclass=_Pybind11Type):
    """The packed weights of a draft head, beside those of its target."""

    def __init__(
        self,
        target: Engine,
        config: Mapping[str, Any],
        tensors: Mapping[str, tuple[npt.NDArray[np.uint8], str, Sequence[int]]],
        *,
        dtype: str,
        to_target: Sequence[int] = [],
    ) -> None:
        """config: see foresight.draft_head.core_head_config; tensors: as Engine's. to_target: the target's
        token of each of the head's; empty: the same. Raises ValueError where head and target do not fit.
        """

    @property
    def packed_bytes(self) -> int:
        """Of the head's own weights."""

@final
class DraftHead(Drafter):
    """A draft head that guesses from the target's hidden states."""

    def __init__(self, head: Head, *, num_slots: int, num_sequences: int) -> None:
        """num_slots: tokens of num_sequences sequences that its cache holds together."""

    @property
    def hidden_layers(self) -> list[int]: ...

@final
class RandomTokens(Drafter):
    """Guesses any token of the vocabulary."""

    def __init__(self, vocab_size: int) -> None: ...

def python_drafter(propose: Callable[[list[int]], Any], vocab_size: int) -> Drafter:
    """A user's function as a drafter: tokens -> ids, (ids, probabilities [len(ids), vocab_size]) or None. It
    raises ValueError in the middle of a call for what is none of these.
    """

@final
class Engine(metaclass=_Pybind11Type):
    """A model with its packed weights, its paged cache and its threads."""

    def __init__(
        self,
        config: Mapping[str, Any],
        tensors: Mapping[str, tuple[npt.NDArray[np.uint8], str, Sequence[int]]],
        *,
        dtype: str,
        kv_cache_bytes: int,
        num_threads: int = 0,
        isa: str | None = None,
    ) -> None:
        """Packs `tensors` (name -> raw bytes [nbytes], dtype name, shape) once; they may be freed
        afterwards. kv_cache_bytes 0: a quarter of the machine's available memory.
        """

    @property
    def num_threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def max_cached_tokens(self) -> int:
        """Slots of the cache: pages x slots per page."""

    def memory(self) -> dict[str, int]:
        """Bytes: packed (weights), cache (whole), cache_used, cache_peak."""

    def check_integrity(self) -> None:
        """Raises InternalError when the cache's books do not balance."""

    def preempt_all(self) -> None:
        """Takes the pages of everything that holds some, between steps; it is computed again when needed."""

    def fix_chunk_rows(self, rows: int) -> None:
        """Prefill this many rows per step instead of about 100 ms worth; 0: learn again. Never changes a result."""

    def measure_forwards(self, rows: Sequence[int], repeats: int = 2) -> list[float]:
        """Seconds of a forward of so many rows of one sequence, all asking, the least of `repeats`. Raises
        CacheFullError for more rows than the cache holds.
        """

    def job(self) -> Job: ...
    def session(self, max_length: int = 0) -> Session: ...
    def extend(
        self,
        sessions: Sequence[Session],
        tokens: Sequence[Sequence[int]],
        logits: str = "last",
        hidden_layers: Sequence[int] | None = None,
    ) -> list[npt.NDArray[np.float32] | None]:
        """Appends tokens to sessions in shared forwards (chunked). logits: "all" -> float32
        [n, vocab], "last" -> [1, vocab], "none" -> None per session. With hidden_layers (0: the
        embedding, i: after layer i, the last one after the final norm) the arrays are hidden states
        float32 [n or 1, layers, hidden] instead. Row p is what the model says at position p.
        """

    def score(
        self, sequences: Sequence[Sequence[int]], starts: Sequence[int]
    ) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
        """Per sequence: log-probabilities of tokens[start:] given all before each of them (start >= 1)
        and whether each is the argmax. Causal models.
        """

    def read_masked(
        self,
        canvases: Sequence[npt.NDArray[np.int32]],
        positions: Sequence[npt.NDArray[np.int32]],
        tokens: Sequence[npt.NDArray[np.int32]],
        orders: Sequence[npt.NDArray[np.int32]] | None = None,
    ) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32]]]:
        """Per canvas (token ids, masks included): the log-probabilities of `tokens` at the masked
        `positions`, whether each is the argmax there, and the argmax's probabilities. orders: of
        semi-causal models, all masked positions of each canvas; a mask sees those before it; empty or
        None: by position. Canvases share forwards, and their clean beginnings where these are equal.
        """

@final
class Session(metaclass=_Pybind11Type):
    """Tokens with their cached K/V; may lose its pages and get them back, never its tokens."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: made by Engine.session only."""

    @property
    def tokens(self) -> list[int]: ...
    def __len__(self) -> int: ...
    def fork(self) -> Session: ...
    def truncate(self, length: int) -> None: ...
    def close(self) -> None: ...

@final
class RowReadout(metaclass=_Pybind11Type):
    """The answer to one asking row; what its ask did not name keeps a neutral value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: made by the engine only."""

    @property
    def token(self) -> int: ...
    @property
    def logprob(self) -> float: ...
    @property
    def raw_logprob(self) -> float: ...
    @property
    def max_prob(self) -> float: ...
    @property
    def margin(self) -> float: ...
    @property
    def entropy(self) -> float: ...
    @property
    def is_argmax(self) -> bool: ...
    @property
    def top(self) -> list[tuple[int, float]]: ...
    @property
    def logits(self) -> npt.NDArray[np.float32]: ...

@final
class Event(metaclass=_Pybind11Type):
    """What a step committed for one sequence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: made by Job.advance only."""

    @property
    def request(self) -> int: ...
    @property
    def sequence(self) -> int:
        """0 .. num_sequences - 1 within the request."""
    @property
    def tokens(self) -> list[int]: ...
    @property
    def positions(self) -> list[int]:
        """Absolute positions in prompt + new tokens."""
    @property
    def finish_reason(self) -> str | None:
        """Why it ended: "eos" | "length" | "time"; None while it goes on."""

@final
class Job(metaclass=_Pybind11Type):
    """The requests of one call. advance() drives them; close() drops what is left. A job that is
    interrupted by an exception (KeyboardInterrupt from a signal too) can be closed or advanced again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError: made by Engine.job only."""

    def add(
        self,
        tokens: Sequence[int],
        *,
        sampling: Mapping[str, Any],
        max_new_tokens: int,
        seed: int,
        num_sequences: int = 1,
        guidance_scale: float = 1.0,
        negative_tokens: Sequence[int] | None = None,
        prefix_processor: Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32]], Any] | None = None,
        processors: Sequence[Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32]], Any]] = (),
        policy: Any = "autoregressive",
        policy_options: Mapping[str, Any] | None = None,
        drafter: Drafter | None = None,
        max_seconds: float | None = None,
        logprobs: int | None = None,
        output_scores: bool = False,
        output_logits: bool = False,
        session: Session | None = None,
        control: Mapping[str, Any] | None = None,
    ) -> int:
        """Queues a request and returns its index. `sampling`: fields of SamplingParams by name
        (GenerationConfig's names, neutral values for what is off; eos_token_ids, max_length included).
        A processor is called as f(ids int64 [1, length], scores float32 [1, vocab]) and returns the new
        scores (array-like [1, vocab] or [vocab]); prefix_processor takes prefix_allowed_tokens_fn's place in the order.
        policy: a registered name, or a Python generator factory (fs.policy). logprobs: None, or k >= 0
        top entries per token. session: start from a fork of its cache (tokens must begin with its tokens).
        control: instead of num_sequences: "controller" (as of make_controller's inner), its "name" in the trace,
        "read_answer" f(token ids, whose) -> str | None, "probe_suffix" ids or None, "max_probe_tokens", "order"
        "virtual" | "arrival". What a controller raises as it starts comes out of advance().
        Raises ValueError (bad token ids, empty prompt, bad options), CacheFullError (can never fit).
        """

    def trace(self, path: str) -> None:
        """Writes the job's events as JSON lines to a new file at `path` from now on."""

    def advance(self, until: str = "done") -> list[Event]:
        """Runs steps with the GIL released. until: "step": one step; "finished": until at least one
        sequence has finished; "done": until all have. Returns the events since the last call (for
        "done" and "finished" merged per sequence, in order of completion). Signals are polled between
        steps: KeyboardInterrupt passes through and leaves the job usable. What a controller or read_answer raises ends its
        request, and passes through; the others go on at the next call.
        """

    def done(self) -> bool: ...
    def finish(self, request: int, sequence: int, num_new_tokens: int, reason: str) -> None:
        """Stops a sequence now, keeping its first num_new_tokens new tokens; reason: "stop_string" |
        "criteria" | "time" | "controller" | "eos" | "length".
        """

    def new_tokens(self, request: int, sequence: int) -> list[int]: ...
    def positions(self, request: int, sequence: int) -> list[int]: ...
    def finish_reason(self, request: int, sequence: int) -> str | None: ...
    def logprobs(
        self, request: int, sequence: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], list[list[tuple[int, float]]]]:
        """Per new token: processed, raw, and the top k of the processed distribution."""

    def scores(self, request: int, sequence: int) -> npt.NDArray[np.float32]:
        """Processed scores [new tokens, vocab]; only with output_scores."""

    def logits(self, request: int, sequence: int) -> npt.NDArray[np.float32]:
        """Raw logits [new tokens, vocab]; only with output_logits."""

    def stats(self) -> dict[str, int | float]:
        """Of the call: forwards, rows, generated_tokens, decode_forwards, draft_forwards, drafted_tokens,
        accepted_tokens, latent_rows, candidate_rows, probe_tokens, recomputed_rows, peak_cache_bytes,
        preemptions, seconds (in advance), forward_seconds (of these, in the model).
        """

    def sequence_stats(self, request: int, sequence: int) -> dict[str, int | float]:
        """The same of one sequence; probes count as rows and probe_tokens of their branch, not as its forwards."""

    def num_sequences(self, request: int) -> int:
        """Of a request under control: those that have been started."""

    def num_forwards(self, request: int) -> int:
        """Forwards in which a row of the request was computed, probes included."""

    def is_request_done(self, request: int) -> bool:
        """This and what follows raise ValueError for requests that are not under control."""

    def is_request_failed(self, request: int) -> bool:
        """Whether its controller or read_answer has raised."""

    def branches(self, request: int) -> list[dict[str, Any]]:
        """Per branch: status ("running" too), reason, answer, probes [(tokens, answer)], confidence, start (clock),
        inherited, num_tokens.
        """

    def probe_tokens(self, request: int, number: int) -> tuple[int, list[int]] | None:
        """Of the last probe of a branch that its controller was told: the branch's new tokens then; the suffix and what was
        written behind it.
        """

    def outcome(self, request: int) -> dict[str, Any]:
        """answer, winner (number of a branch), votes [(answer, weight)], clock, reason, early_events (told while a branch
        waited for memory). Raises ValueError for a request that is not done, or has failed.
        """

    def close(self) -> None: ...
