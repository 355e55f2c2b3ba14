r"""How an answer is found in a text, and when two answers are the same: `fs.answers`.

`boxed()`, `regex(pattern)` and `last_number()` make extractors, text -> str | None. Any callable of that kind is one.

`normalised` says what equal=None means. It follows the clean-up of the released Parallel-Probe traces: it unwraps
\text and \boxed, keeps what stands after "=" or "is", and writes \dfrac as \frac. It leaves out their rule that
whatever contains "no" is "No", and adds the spelling of numbers. It knows no algebra: x+1 and 1+x are two answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = ["AnswerError", "AnswerReader", "Extractor", "boxed", "last_number", "normalised", "number", "regex"]

Extractor = Callable[[Any], str | None]

MOST_CHARACTERS = 4096  # of an answer; what is longer is none
_MOST_DIGITS = 400  # of a number, and of the value of an exponent

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BARE = re.compile(r"[^\s${}\\]+")
_NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+(?!\d|,\d)|\d+)(?:\.\d+)?|[-+\u2212]?\.\d+")
_BRACES = re.compile(r"\\[{}]|[{}]")


class AnswerError(ValueError):
    """An extractor or a comparison of the caller's that failed, or returned what is no answer."""


@dataclass(frozen=True)
class _Boxed:
    def __call__(self, text: str) -> str | None:
        boxes = {match.end(): match for match in _BOX.finditer(text)}
        found: tuple[int, str] | None = None  # where the last complete box begins, and what it holds
        for start, match in reversed(boxes.items()):
            bare = None if text.startswith("{", start) else _BARE.match(text, start)
            if bare is not None and (word := bare[0].rstrip(".,;:")):
                found = match.start(), word
                break
        opened: list[int] = []
        for brace in _BRACES.finditer(text):
            if brace[0] == "{":
                opened.append(brace.start())
            elif brace[0] == "}" and opened:
                box = boxes.get(opened.pop())
                if box is not None and (found is None or box.start() > found[0]):
                    inside = text[box.end() + 1 : brace.start()].strip()
                    found = (box.start(), inside) if inside else found
        return found[1] if found else None


@dataclass(frozen=True)
class _Regex:
    pattern: re.Pattern[str]

    def __call__(self, text: str) -> str | None:
        last = None
        for last in self.pattern.finditer(text):  # noqa: B007 (the last one is what counts)
            pass
        if last is None:
            return None
        found = last[1] if self.pattern.groups else last[0]
        return found.strip() or None if found is not None else None


@dataclass(frozen=True)
class _LastNumber:
    def __call__(self, text: str) -> str | None:
        last = None
        for last in _NUMBER.finditer(text):  # noqa: B007
            pass
        return None if last is None else last[0].replace(",", "").replace("\u2212", "-").removeprefix("+")


def boxed() -> Extractor:
    r"""Takes what the last complete \boxed{...} or \fbox{...} holds; braces may nest, \{ and \} do not count.

    A box that is empty, or cut off before its brace closes, is skipped. Without braces (\boxed 5) it is the next word.
    """
    return _Boxed()


def regex(pattern: str | re.Pattern[str]) -> Extractor:
    """Takes the last match of `pattern`: its first group where it has one, else all of it.

    Raises ValueError for a pattern that is none.
    """
    try:
        return _Regex(re.compile(pattern))
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"answers.regex: {pattern!r:.80} is no regular expression: {error}") from None


def last_number() -> Extractor:
    """Takes the last number of a text, as it is written, without separators of thousands: "1,234.50" gives "1234.50"."""
    return _LastNumber()


def _closing(text: str, start: int) -> int | None:
    """Where the brace that opens at `start` is closed; None where the text ends before."""
    depth = 0
    for match in _BRACES.finditer(text, start):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return None


_WRAPPER = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|box|boxed|fbox)(?![A-Za-z])\s*(?=\{)")
_SPACING = re.compile(r"\\(?:left|right|displaystyle|quad|qquad)(?![A-Za-z])|\\[!,;: ()\[\]]|(?<!\\)\$|~")
_FRACTION = re.compile(r"\\[dt]frac(?![A-Za-z])")
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)")
_AFTER = re.compile(r"(?<![<>!=\\])=(?!=)|(?<![\w\\])is\b\s*:?")
_PLAIN = re.compile(r"([-+]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d*)?")


def normalised(answer: str) -> str:
    r"""The spelling under which equal=None compares answers. In this order:

    1. the wrappers \text, \textbf, \textit, \textrm, \mathrm, \mathbf, \mbox, \box, \boxed and \fbox give what they hold;
    2. $, \( \) \[ \], \left, \right, \displaystyle and LaTeX's spaces go; \% becomes %, a Unicode minus becomes -;
    3. \dfrac and \tfrac become \frac, and \frac12 becomes \frac{1}{2};
    4. of "x = 5" and "the answer is 5" what follows the last "=" or the word "is" stays, where something follows;
    5. white space goes, but for one space between two words, and so do full stops, commas and colons at the end;
    6. a plain number loses separators of thousands, leading zeros, a plus, and a point with nothing after it.

    Upper and lower case differ. The empty string is no answer.
    """
    text = answer.strip()
    while match := _WRAPPER.search(text):
        end = _closing(text, match.end())
        if end is None:
            text = text[: match.start()] + text[match.end() + 1 :]
        else:
            text = text[: match.start()] + text[match.end() + 1 : end] + text[end + 1 :]
    text = _SPACING.sub(" ", text).replace("\\%", "%").replace("\\$", "").replace("\u2212", "-")
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", _FRACTION.sub(r"\\frac", text))
    for match in reversed(list(_AFTER.finditer(text))):
        if rest := text[match.end() :].strip().rstrip(" .,;:"):
            text = rest
            break
    text = re.sub(r"(?<!\w) | (?!\w)", "", re.sub(r"\s+", " ", text)).rstrip(" .,;:")
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return text
    sign, whole, decimals = plain[1], plain[2].replace(",", "").lstrip("0") or "0", plain[3] or ""
    return sign.replace("+", "") + whole + (decimals if len(decimals) > 1 else "")


_DECIMAL = r"\d+(?:\.\d*)?|\.\d+"
_VALUE = re.compile(
    rf"(?P<sign>[-+]?)(?:\\frac\{{(?P<top>[-+]?(?:{_DECIMAL}))\}}\{{(?P<bottom>[-+]?(?:{_DECIMAL}))\}}"
    rf"|(?P<left>{_DECIMAL})(?:/(?P<right>[-+]?(?:{_DECIMAL}))|[eE](?P<exponent>[-+]?\d{{1,4}}))?)(?P<percent>%?)"
)


def number(answer: str) -> Fraction | None:
    r"""The exact value of an answer that is a number: 0.5, 1/2, \frac{1}{2}, 50%, 5e-1, 1,000; None for any other."""
    text = normalised(answer)
    match = _VALUE.fullmatch(text) if len(text) <= _MOST_DIGITS else None
    if match is None:
        return None
    top, bottom = Fraction(match["top"] or match["left"]), Fraction(match["bottom"] or match["right"] or 1)
    exponent = int(match["exponent"] or 0)
    if bottom == 0 or abs(exponent) > _MOST_DIGITS:
        return None
    value = top / bottom * Fraction(10) ** exponent / (100 if match["percent"] else 1)
    return -value if match["sign"] == "-" else value


class AnswerReader:
    """Reads answers and gives equal ones the same text, so that others may compare texts.

    extract: text (or whatever `read` is given) -> str | None. equal: None compares what `normalised` makes of them;
    "numeric" compares the exact values of numbers, and what is no number as None does; a callable (a, b) -> bool
    is asked about the answers as they were extracted, and must be an equivalence.
    Raises TypeError or ValueError for anything else.
    """

    def __init__(self, extract: Extractor, equal: Any = None) -> None:
        if not callable(extract):
            raise TypeError(f"answer is {extract!r:.80}, expected a callable such as fs.answers.boxed()")
        if equal is not None and equal != "numeric" and not callable(equal):
            raise ValueError(f'equal is {equal!r:.80}, expected None, "numeric" or a callable (a, b) -> bool')
        self.extract = extract
        self.equal = equal
        self._known: dict[Any, str] = {}  # what is compared, to the text that stands for it
        self._representatives: list[str] = []

    def read(self, written: str | Sequence[int]) -> str | None:
        """The answer in `written`, or None; of equal answers always the text of the first one that was read.

        Only `written` is looked at: pass what is new. Raises AnswerError where the extractor or the comparison fails.
        """
        try:
            answer = self.extract(written)
        except Exception as error:
            raise AnswerError(f"the answer extractor raised {type(error).__name__}: {error}") from error
        if answer is None:
            return None
        if not isinstance(answer, str):
            raise AnswerError(f"the answer extractor returned {answer!r:.80}, expected a str or None")
        answer = answer.strip()
        if not answer or len(answer) > MOST_CHARACTERS:
            return None
        try:
            answer.encode()
        except UnicodeEncodeError:
            raise AnswerError(f"the answer extractor returned {answer!a:.80}, half of a surrogate pair") from None
        return self._chosen(answer) if callable(self.equal) else self._spelled(answer)

    def _spelled(self, answer: str) -> str | None:
        spelling = normalised(answer)
        if not spelling or self.equal is None:
            return spelling or None
        value = number(spelling)
        return self._known.setdefault(spelling if value is None else value, spelling)

    def _chosen(self, answer: str) -> str:
        if answer not in self._known:
            same = next((one for one in self._representatives if self._are_equal(one, answer)), None)
            if same is None:
                self._representatives.append(answer)
            self._known[answer] = answer if same is None else same
        return self._known[answer]

    def _are_equal(self, a: str, b: str) -> bool:
        try:
            found = self.equal(a, b)
            return bool(found)
        except Exception as error:
            raise AnswerError(f"equal({a!r:.40}, {b!r:.40}) raised {type(error).__name__}: {error}") from error
