"""From records to results: token ids, seeds, one call for all, and the lines that are written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foresight.cli.loading import encode_messages
from foresight.cli.records import Record

if TYPE_CHECKING:
    from foresight.lm import LM


@dataclass(frozen=True)
class Request:
    """A record, ready to be generated from."""

    record: Record
    input_ids: list[int]
    seed: int


@dataclass(frozen=True)
class Result:
    """One continuation; `sequence` counts those of the same record from 0. answer, votes: with branches, of which it is the
    winner.
    """

    id: str | int
    sequence: int
    text: str | None
    new_tokens: list[int]
    finish_reason: str
    seed: int
    answer: str | None = None
    votes: dict[str, float] | None = None


def prepare(lm: LM, records: Sequence[Record], seed: int | None) -> list[Request]:
    """Encode every record and settle its seed; a record that cannot be encoded is named.

    A record's own seed wins; the others' are derived from `seed` (None: a fresh one) and their place.
    """
    from foresight.seeds import parse_seed

    _, seeds = parse_seed(seed, len(records))
    requests = []
    for record, derived in zip(records, seeds, strict=True):
        try:
            ids = _encode(lm, record)
        except (ValueError, TypeError, OSError) as error:
            raise ValueError(f"{record.place}: {error}") from error
        if not ids:
            raise ValueError(f"{record.place}: gives no token, so there is nothing to continue")
        requests.append(Request(record, ids, derived if record.seed is None else record.seed))
    return requests


def _encode(lm: LM, record: Record) -> list[int]:
    if record.input_ids is not None:
        vocabulary = lm.config.vocab_size
        wrong = [token for token in record.input_ids if token >= vocabulary]
        if wrong:
            raise ValueError(f"token id {wrong[0]}; this model's vocabulary has {vocabulary}")
        return record.input_ids
    if record.messages is not None:
        return encode_messages(lm, record.messages)
    if lm.tokenizer is None or record.prompt is None:
        raise ValueError("text needs a tokenizer, and this checkpoint has none; give input_ids")
    return lm.tokenizer.encode(record.prompt)


def run(lm: LM, requests: Sequence[Request], options: dict[str, Any], progress: bool = False) -> Iterator[Result]:
    """Generate for all requests together; the results come in the order of the requests.

    progress: show how many are finished, where someone watches.
    """
    from foresight.progress import progress_bar, wants_progress

    width = options["num_return_sequences"]
    shown = progress and wants_progress(len(requests) * width)
    with progress_bar(len(requests) * width, shown) as update:
        for results in _in_order(_finished(lm, requests, options, update)):
            yield from results


def run_branches(
    lm: LM, requests: Sequence[Request], options: dict[str, Any], progress: bool = False
) -> Iterator[Result]:
    """As run, with branches; progress: show those of one request after the other, where someone watches.

    The table makes room for what is written of a result, and stays when it is the only one.
    """
    from foresight.cli.branch_table import BranchTable
    from foresight.controllers import num_branches
    from foresight.progress import wants_progress

    shown = progress and wants_progress(num_branches(options["branches"])) and sys.stderr.isatty()
    with BranchTable(sys.stderr, leave=len(requests) == 1) as table:
        own = {"watch": lambda _, snapshot: table.update(snapshot)} if shown else {}
        for results in _in_order(_finished(lm, requests, {**options, **own}, lambda _: None)):
            table.close()
            yield from results


def _in_order(finished: Iterator[tuple[int, list[Result]]]) -> Iterator[list[Result]]:
    """What was finished in any order, by index."""
    waiting: dict[int, list[Result]] = {}
    following = 0
    for index, results in finished:
        waiting[index] = results
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _finished(
    lm: LM, requests: Sequence[Request], options: dict[str, Any], update: Callable[[int], None]
) -> Iterator[tuple[int, list[Result]]]:
    """Each request's index and results, in order of completion."""
    calls = lm.generate_iter(
        [request.input_ids for request in requests],
        return_dict_in_generate=True,
        **{**options, **call_options(requests, options)},
    )
    for index, out in calls:
        update(len(out.new_tokens))
        request = requests[index]
        yield (
            index,
            [
                Result(
                    id=request.record.id,
                    sequence=sequence,
                    text=None if out.texts is None else out.texts[sequence],
                    new_tokens=[int(token) for token in tokens],
                    finish_reason=out.finish_reasons[sequence],
                    seed=request.seed,
                    answer=None if out.answers is None else out.answers[sequence],
                    votes=None if out.votes is None else out.votes[sequence],
                )
                for sequence, tokens in enumerate(out.new_tokens)
            ],
        )


def call_options(requests: Sequence[Request], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a call that may differ from request to request."""
    limits = [request.record.max_new_tokens for request in requests]
    own: dict[str, Any] = {"seed": [request.seed for request in requests]}
    if any(limit is not None for limit in limits):
        common = options.get("max_new_tokens")
        own["max_new_tokens"] = [common if limit is None else limit for limit in limits]
    return own


def as_json(result: Result) -> str:
    """One line of a JSONL file."""
    fields = dict(vars(result))
    if result.votes is None:
        del fields["answer"], fields["votes"]
    return json.dumps(fields, ensure_ascii=False)
