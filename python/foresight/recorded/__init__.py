"""Recorded requests, and what a controller would have decided over them: `fs.replay`."""

from foresight.recorded.read import read
from foresight.recorded.records import Branch, Question, Recording
from foresight.recorded.released import write_released
from foresight.recorded.replayed import QuestionResult, ReplayResult, replay

__all__ = [
    "Branch",
    "Question",
    "QuestionResult",
    "Recording",
    "ReplayResult",
    "read",
    "replay",
    "write_released",
]
