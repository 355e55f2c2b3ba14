"""Results while they are being made: events, finished prompts, and streamers of transformers' protocol."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from foresight.call import Call
from foresight.output import StreamEvent
from foresight.processors import to_user, wants_torch
from foresight.progress import progress_bar, wants_progress
from foresight.run import Run
from foresight.snapshots import Snapshot

__all__ = ["Watch", "iterate", "run", "stream"]

Watch = Callable[[int, Snapshot], None]
_WATCH_SECONDS = 0.1  # between two looks


def run(call: Call, streamer: Any = None) -> Any:
    """Runs a call to its end and returns its result.

    streamer: put(prompt [1, length]) first, then put(new tokens [n]) per step, then end(), which also
    comes when the call is interrupted. Raises ValueError for a streamer and more than one sequence.
    """
    total = len(call.prompts) * call.width
    if streamer is not None:
        if total > 1:
            raise ValueError(f"a streamer follows one sequence, and this call makes {total}; use lm.stream")
        return _run_with_streamer(call, streamer)
    shown = wants_progress(total)
    with call.running() as running, progress_bar(total, shown) as update:
        for event in running.events("finished" if shown else "done"):
            update(event.finish_reason is not None)
        return running.result()


def _run_with_streamer(call: Call, streamer: Any) -> Any:
    torch = wants_torch(streamer, call.prompts.kind == "torch")
    with call.running() as running:
        prompt = call.prompts.tokens[0] if call.prompts.array is None else call.prompts.array[0]
        streamer.put(to_user(np.array([prompt], dtype=np.int64), torch))
        try:
            for event in running.events("step"):
                if event.sequence > 0:
                    raise ValueError(
                        "a streamer follows one sequence, and the controller started another: use lm.stream"
                    )
                if event.tokens:
                    streamer.put(to_user(np.array(event.tokens, dtype=np.int64), torch))
        finally:
            streamer.end()
        return running.result()


def stream(call: Call) -> Iterator[StreamEvent]:
    """The call's tokens as they become final. Closing the iterator ends the call."""
    tokenizer = call.model.tokenizer
    decoders: dict[tuple[int, int], Any] = {}
    with call.running() as running:
        for event in running.events("step"):
            text = None
            if tokenizer is not None:
                decoder = decoders.setdefault((event.prompt, event.sequence), tokenizer.stream())
                text = decoder.put(event.tokens) if event.tokens else ""
                text += "" if event.finish_reason is None else decoder.end()
            yield StreamEvent(
                index=event.prompt,
                branch=event.sequence,
                positions=event.positions,
                tokens=event.tokens,
                text=text,
                finish_reason=event.finish_reason,
            )


def iterate(call: Call, watch: Watch | None = None) -> Iterator[tuple[int, Any]]:
    """(index of the prompt, what generate would return for it alone), in order of completion.

    watch: called with the first prompt that is not done and how its branches stand, about ten times a second. Raises
    ValueError for it in a call without branches.
    """
    if watch is not None and call.branching is None:
        raise ValueError("watch is given without branches: there is nothing to watch")
    return _iterate(call, watch)


def _iterate(call: Call, watch: Watch | None) -> Iterator[tuple[int, Any]]:
    with call.running() as running:
        completed = _completed(call, running) if call.branching is None else _decided(running, watch)
        for prompt in completed:
            yield prompt, running.result(prompt)


def _completed(call: Call, running: Run) -> Iterator[int]:
    finished: Counter[int] = Counter()
    for event in running.events("finished"):
        if event.finish_reason is None:
            continue
        finished[event.prompt] += 1
        if finished[event.prompt] == call.num_sequences:
            yield event.prompt


def _decided(running: Run, watch: Watch | None) -> Iterator[int]:
    """The prompts whose controllers have decided."""
    waiting = list(range(len(running.call.prompts)))
    watched_at = -_WATCH_SECONDS
    for event in running.events("finished" if watch is None else "step"):
        if event.prompt in waiting and event.finish_reason is not None and running.is_complete(event.prompt):
            if watch is not None and event.prompt == waiting[0]:
                watch(event.prompt, running.snapshot(event.prompt))
            waiting.remove(event.prompt)
            yield event.prompt
        elif watch is not None and waiting and time.monotonic() - watched_at >= _WATCH_SECONDS:
            watch(waiting[0], running.snapshot(waiting[0]))
            watched_at = time.monotonic()
