"""What a trace tells of the branches of one controlled request: probes, ends, and the vote over time.

The clock counts tokens: a branch that runs stands at start + tokens - inherited, and the request at the largest of them
so far. Events are in the order in which the controller was told of them. As with every trace, a file may come from
anywhere; whatever is not one raises ValueError with the line's number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from foresight.trace_events import MOST_POSITIONS, EventError, EventReader, Source, count, number_of, shown, text_of
from foresight.trace_file import MOST_REASON

__all__ = ["BranchTrace", "Probe", "TracedBranch", "read_branches", "read_requests"]

MOST_ANSWER = 4096
MOST_BRANCHES = 1 << 16
MOST_EVENTS = 1 << 22
STATUSES = ("finished", "pruned", "stopped")


@dataclass(frozen=True)
class Probe:
    """What a branch said when it was asked, after so many of its tokens."""

    num_tokens: int
    probe_tokens: int
    answer: str | None


@dataclass
class TracedBranch:
    """One branch; tokens are those after the prompt, the inherited ones included.

    number: within the request; sequence: within the trace. parent: the number of the branch it was forked from, -1 for
    the prompt. start: the clock at which it began. status: "running" where the trace ends before it.
    """

    number: int
    sequence: int
    parent: int
    inherited: int
    start: int
    status: str = "running"
    reason: str = ""
    answer: str | None = None  # its own, or that of its last probe
    num_tokens: int = 0
    probes: list[Probe] = field(default_factory=list)
    confidences: list[tuple[int, float]] = field(default_factory=list)  # (tokens, value), where it changes

    @property
    def clock(self) -> int:
        """Where it stands, or stood at its end."""
        return self.clock_at(self.num_tokens)

    def clock_at(self, num_tokens: int) -> int:
        """The clock at which it had so many tokens."""
        return self.start + max(num_tokens - self.inherited, 0)

    def stretches(self) -> list[tuple[int, int, str | None]]:
        """(from clock, to clock, the last answer known on the way): None before the first, and where a probe had none."""
        edges: list[tuple[int, str | None]] = [(self.start, None)]
        edges += [(self.clock_at(probe.num_tokens), probe.answer) for probe in self.probes]
        ends = [clock for clock, _ in edges[1:]] + [self.clock]
        return [(begin, end, said) for (begin, said), end in zip(edges, ends, strict=True) if end > begin]


@dataclass
class BranchTrace:
    """One request under a controller. winner, clock, reason: None where the trace ends before its outcome.

    requests: the numbers of all controlled requests of the trace. confidence_group: tokens of the groups whose
    confidences it has.
    """

    request: int
    controller: str
    probe_interval: int | None
    num_prompt_tokens: int
    branches: list[TracedBranch] = field(default_factory=list)
    winner: int | None = None
    answer: str | None = None
    reason: str | None = None
    outcome_clock: int | None = None
    requests: list[int] = field(default_factory=list)
    truncated: bool = False
    confidence_group: int | None = None
    _changes: list[tuple[int, int, str | None]] = field(default_factory=list)  # clock, branch, its vote from then on

    @cached_property
    def clock(self) -> int:
        """The sequential tokens: where the last of the branches stood."""
        return max([self.outcome_clock or 0, *(branch.clock for branch in self.branches)])

    @cached_property
    def total_tokens(self) -> int:
        """Tokens of all branches, each counted once, without those of probes."""
        return sum(max(branch.num_tokens - branch.inherited, 0) for branch in self.branches)

    @cached_property
    def probe_tokens(self) -> int:
        return sum(probe.probe_tokens for branch in self.branches for probe in branch.probes)

    @cached_property
    def num_probes(self) -> int:
        return sum(len(branch.probes) for branch in self.branches)

    @cached_property
    def votes(self) -> dict[str, int]:
        """The votes at the end: of every branch but the pruned ones, by the last answer known; most votes first, a
        tie by the order of branches.
        """
        counts = Counter(b.answer for b in self.branches if b.answer is not None and b.status != "pruned")
        return {answer: votes for answer, votes in counts.most_common() if answer is not None}

    @cached_property
    def ranked_answers(self) -> list[str]:
        """Every answer that was heard: that of the outcome, then by votes at the end, then by how often it was heard."""
        heard = Counter(probe.answer for branch in self.branches for probe in branch.probes)
        heard.update(branch.answer for branch in self.branches)
        order = [answer for answer, _ in heard.most_common() if answer is not None]
        return sorted(order, key=lambda answer: (answer != self.answer, -self.votes.get(answer, 0)))

    def vote_series(self, answers: Sequence[str]) -> list[tuple[int, list[int]]]:
        """(clock, votes for each of `answers`, then for all others), at every clock at which a vote changed.

        Branches vote with the last answer known of them, finished or not; pruned ones do not.
        """
        place = {answer: index for index, answer in enumerate(answers)}
        votes = [0] * (len(answers) + 1)
        current: dict[int, int] = {}
        series: list[tuple[int, list[int]]] = []
        for clock, branch, answer in self._changes:
            before = current.pop(branch, None)
            if before is not None:
                votes[before] -= 1
            if answer is not None:
                current[branch] = place.get(answer, len(answers))
                votes[current[branch]] += 1
            if series and series[-1][0] == clock:
                series[-1] = clock, list(votes)
            elif before != current.get(branch):
                series.append((clock, list(votes)))
        return series


def read_branches(source: Source, request: int | None = None) -> BranchTrace:
    """Reads what a trace tells of the branches of request number `request`; None: of the first that has a controller.

    `source` is the file's path, or its events as they are read from JSON. Raises ValueError where it is not a trace or
    has no such request, OSError where the file cannot be read.
    """
    traces = _Reader(request)
    traces.read(source)
    return traces.all()[0]


def read_requests(source: Source) -> list[BranchTrace]:
    """Reads what a trace tells of the branches of every request that has a controller, in the trace's order.

    Raises ValueError where it is not a trace or has no such request, OSError where the file cannot be read.
    """
    traces = _Reader(None)
    traces.read(source)
    return traces.all()


class _Reader(EventReader):
    """Hands every event to the request that it is about; `wanted`: the only one to be kept, None for all."""

    def __init__(self, wanted: int | None) -> None:
        super().__init__()
        self._wanted = wanted
        self._requests: dict[int, _Request] = {}
        self._owners: dict[int, _Request] = {}  # by sequence
        self._num_events = 0

    def all(self) -> list[BranchTrace]:
        """What was read, in the order of the requests' events."""
        traces = [one.trace for one in self._requests.values()]
        for trace in traces:
            trace.requests = sorted(self.controlled)
            trace.truncated = self.truncated
            trace.branches.sort(key=lambda branch: branch.number)
        return traces

    def request(self, event: Mapping[str, Any], sequences: int) -> None:
        number = count(event, "request")
        if sequences == 0 and self._wanted in (None, number):
            self._requests[number] = _Request(event)

    def start(self, event: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        owner = self._requests.get(request["request"])
        if owner is not None:
            owner.start(event)
            self._owners[count(event, "branch")] = owner

    def event(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "outcome":
            number = count(event, "request")
            if number not in self.controlled:
                raise EventError(f"an outcome of request {number}, which has no controller")
            owner = self._requests.get(number)
            if owner is not None:
                owner.outcome(event)
        elif kind in ("probe", "confidence", "end", "commit"):
            owner = self._owners.get(self.sequence(event))
            if owner is None:
                return
            self._num_events += kind != "commit"
            if self._num_events > MOST_EVENTS:
                raise EventError(f"more than {MOST_EVENTS:,} events of branches")
            owner.of_branch(kind, event)

    def end(self) -> None:
        if self._requests:
            return
        if not self.controlled:
            raise EventError("no request of this trace has a controller (branches=)")
        numbers = ", ".join(map(str, sorted(self.controlled)[:20]))
        raise EventError(f"there is no request {self._wanted} with a controller; those with one: {numbers}")


class _Request:
    """One request, as far as its events have come."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        prompt = event.get("prompt")
        if not isinstance(prompt, list) or len(prompt) > MOST_POSITIONS:
            raise EventError(f"prompt is not a list of at most {MOST_POSITIONS} tokens")
        interval = count(event, "probe_interval") if event.get("probe_interval") is not None else 0
        self.trace = BranchTrace(event["request"], text_of(event, "controller", 200), interval or None, len(prompt))
        if event.get("confidence_group") is not None:
            self.trace.confidence_group = count(event, "confidence_group")
        self._sequences: dict[int, TracedBranch] = {}
        self._numbers: set[int] = set()
        self._clock = 0

    def start(self, event: Mapping[str, Any]) -> None:
        self._check_open()
        number, parent, inherited = count(event, "number"), event.get("parent"), count(event, "inherited")
        if number in self._numbers:
            raise EventError(f"branch {number} starts twice")
        if len(self._numbers) >= MOST_BRANCHES:
            raise EventError(f"more than {MOST_BRANCHES:,} branches, which no request has")
        if parent != -1 and (type(parent) is not int or parent not in self._numbers):
            raise EventError(f"parent is {shown(parent)}, expected a branch that started before, or -1")
        if inherited and parent == -1:
            raise EventError(f"inherited is {inherited}, but there is no parent")
        self._numbers.add(number)
        sequence = count(event, "branch")
        branch = TracedBranch(number, sequence, parent, inherited, count(event, "clock"), num_tokens=inherited)
        self._sequences[sequence] = branch
        self.trace.branches.append(branch)

    def of_branch(self, kind: str, event: Mapping[str, Any]) -> None:
        branch = self._sequences[event["branch"]]
        if kind == "commit":
            if branch.status == "running":
                branch.num_tokens = max(branch.num_tokens, count(event, "final", MOST_POSITIONS))
            return
        self._check_open()
        if branch.status != "running":
            raise EventError(f"an event of branch {branch.number} ({kind}) after its end")
        if kind == "probe":
            self._probe(event, branch)
        elif kind == "end":
            self._end(event, branch)
        else:
            branch.confidences.append((count(event, "num_tokens"), number_of(event, "value")))

    def outcome(self, event: Mapping[str, Any]) -> None:
        self._check_open()
        winner, trace = event.get("winner"), self.trace
        if winner != -1 and (type(winner) is not int or winner not in self._numbers):
            raise EventError(f"winner is {shown(winner)}, expected the number of a branch, or -1")
        trace.winner = None if winner == -1 else winner
        trace.reason, trace.answer = text_of(event, "reason", MOST_REASON), _answer(event)
        trace.outcome_clock = count(event, "clock")

    def _probe(self, event: Mapping[str, Any], branch: TracedBranch) -> None:
        num_tokens = count(event, "num_tokens")
        if branch.probes and num_tokens < branch.probes[-1].num_tokens:
            raise EventError(f"a probe at {num_tokens} tokens, after one at {branch.probes[-1].num_tokens}")
        branch.probes.append(Probe(num_tokens, count(event, "probe_tokens"), _answer(event)))
        branch.num_tokens = max(branch.num_tokens, num_tokens)
        branch.answer = branch.probes[-1].answer
        self._vote(branch.clock_at(num_tokens), branch, branch.answer)

    def _end(self, event: Mapping[str, Any], branch: TracedBranch) -> None:
        status = event.get("status")
        if status not in STATUSES:
            raise EventError(f"the status {shown(status)} is none of {', '.join(STATUSES)}")
        num_tokens = count(event, "num_tokens")
        if num_tokens < branch.inherited:
            raise EventError(f"num_tokens is {num_tokens}, less than the {branch.inherited} inherited ones")
        branch.reason = text_of(event, "reason", MOST_REASON)
        branch.status, branch.num_tokens, branch.answer = status, num_tokens, _answer(event)
        self._vote(count(event, "clock"), branch, None if status == "pruned" else branch.answer)

    def _vote(self, clock: int, branch: TracedBranch, answer: str | None) -> None:
        self._clock = max(self._clock, clock)
        self.trace._changes.append((self._clock, branch.number, answer))

    def _check_open(self) -> None:
        if self.trace.outcome_clock is not None:
            raise EventError(f"an event of request {self.trace.request} after its outcome")


def _answer(event: Mapping[str, Any]) -> str | None:
    return text_of(event, "answer", MOST_ANSWER) if event.get("answer") is not None else None
