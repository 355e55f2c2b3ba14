"""`fs.answers`: which answer is read from a text, and which answers are the same."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import foresight as fs
from foresight.answers import MOST_CHARACTERS, AnswerError, AnswerReader, normalised, number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{a\}b\{c}", r"a\}b\{c"),
        (r"\boxed{5}, or rather \boxed{6", "5"),
        (r"\boxed{5}, which goes into \boxed{}", "5"),
        (r"\boxed{x = \fbox{3}}", "3"),
        (r"\fbox{ 7 }", "7"),
        (r"\boxed {8}", "8"),
        (r"\boxed 7.", "7"),
        (r"$\boxed9$", "9"),
        (r"\boxed{1} \boxed 2", "2"),
        (r"\boxed 2 \boxed{1}", "1"),
        (r"} \boxed{4} {", "4"),
        (r"\boxed{}", None),
        (r"\boxed{5", None),
        (r"\boxedx{3}", None),
        (r"\boxed", None),
        ("5", None),
        ("", None),
    ],
)
def test_boxed(text: str, expected: str | None) -> None:
    assert fs.answers.boxed()(text) == expected


def test_boxed_takes_time_in_proportion_to_the_text() -> None:
    assert fs.answers.boxed()("\\boxed{" * 50_000) is None
    assert fs.answers.boxed()("\\boxed{" * 50_000 + "1" + "}" * 50_000) == "1"


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"A: (\w+)", "A: no A: yes", "yes"),
        (r"\d+", "1 22 333", "333"),
        (r"(?P<x>\d)(\d)", "12 34", "3"),
        (r"a(b)?", "ab a", None),
        (r"x*", "aaa", None),
        (re.compile("B", re.IGNORECASE), "ab", "b"),
        (r"\d", "", None),
    ],
)
def test_regex(pattern: Any, text: str, expected: str | None) -> None:
    assert fs.answers.regex(pattern)(text) == expected


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<1>a)", 7, None, "a{99999999999999999999}", "(" * 10_000])
def test_what_is_no_pattern(pattern: Any) -> None:
    with pytest.raises(ValueError, match=r"answers\.regex: "):
        fs.answers.regex(pattern)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1, 2 and 3.", "3"),
        ("it costs $1,234.50!", "1234.50"),
        ("12,345,678", "12345678"),
        ("1,2345", "2345"),
        ("(1,2)", "2"),
        ("from -3", "-3"),
        ("from \u22123", "-3"),
        ("+4", "4"),
        ("x-5", "5"),
        ("1.5 and .25", ".25"),
        ("x2 a1", None),
        ("none", None),
        ("", None),
    ],
)
def test_last_number(text: str, expected: str | None) -> None:
    assert fs.answers.last_number()(text) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" 204. ", "204"),
        (r"\text{Yes}", "Yes"),
        (r"\text{a \textbf{b}}", "a b"),
        (r"\boxed{\text{cut", "cut"),
        (r"\mathrm{cm}", "cm"),
        (r"\textual{x}", r"\textual{x}"),
        ("x = 5.", "5"),
        ("x=y=3", "3"),
        ("The answer is: 073", "73"),
        ("this island", "this island"),
        ("it is", "it is"),
        ("x =", "x="),
        ("x <= 5", "x<=5"),
        (r"x \neq 5", r"x\neq 5"),
        (r"$\dfrac12$", r"\frac{1}{2}"),
        (r"\tfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 1,\, 2 \right)", "(1,2)"),
        (r"\(x + 1\)", "x+1"),
        ("New \n York", "New York"),
        ("50\\%", "50%"),
        ("\\$5", "5"),
        ("1,000", "1000"),
        ("1,00", "1,00"),
        ("+007.50", "7.50"),
        ("5.", "5"),
        ("\u22125", "-5"),
        ("000", "0"),
        ("ERR", "ERR"),
        ("$ $", ""),
    ],
)
def test_normalised(answer: str, expected: str) -> None:
    assert normalised(answer) == expected


@given(st.text(alphabet="a1.,=$ {}\\is%-\n", max_size=40) | st.text(max_size=20))
def test_a_normalised_answer_never_fails_and_keeps_its_number(answer: str) -> None:
    spelling = normalised(answer)
    assert spelling == spelling.strip()
    assert number(answer) == number(spelling)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("0.5", Fraction(1, 2)),
        ("1/2", Fraction(1, 2)),
        (r"\dfrac{1}{2}", Fraction(1, 2)),
        (r"-\frac12", Fraction(-1, 2)),
        ("50\\%", Fraction(1, 2)),
        ("5e-1", Fraction(1, 2)),
        ("x = .5", Fraction(1, 2)),
        ("1,000", Fraction(1000)),
        ("-0", Fraction(0)),
        ("1.5/-3", Fraction(-1, 2)),
        ("1/0", None),
        ("1e401", None),
        ("1e99999999999", None),
        ("9" * 401, None),
        ("pi", None),
        ("nan", None),
        (".", None),
        ("", None),
    ],
)
def test_number(answer: str, expected: Fraction | None) -> None:
    assert number(answer) == expected


@given(st.fractions(), st.integers(0, 3))
def test_fractions_of_every_spelling_are_equal(value: Fraction, places: int) -> None:
    assert number(f"{value.numerator}/{value.denominator}") == value
    rounded = Fraction(round(value * 10**places), 10**places)
    assert number(f"{float(rounded):.{places}f}") == rounded or abs(value) > 10**9


def test_equal_answers_get_the_text_of_the_first() -> None:
    spelled = AnswerReader(fs.answers.boxed())
    texts = [r"\boxed{x=\dfrac12}", r"\boxed{\frac{1}{2}}", r"\boxed{0.5}", "nothing", r"\boxed{.}"]
    assert [spelled.read(text) for text in texts] == [r"\frac{1}{2}", r"\frac{1}{2}", "0.5", None, None]
    numeric = AnswerReader(fs.answers.boxed(), "numeric")
    assert [numeric.read(text) for text in texts[:3]] == [r"\frac{1}{2}"] * 3
    assert numeric.read(r"\boxed{\text{half}}") == "half"
    assert numeric.read(r"\boxed{half}") == "half"


def test_a_comparison_of_ones_own() -> None:
    asked = []

    def equal(a: str, b: str) -> bool:
        asked.append((a, b))
        return a.lower() == b.lower()

    reader = AnswerReader(lambda text: text, equal)
    assert [reader.read(text) for text in ("Yes", "no", "YES", " yes ", "YES", "No")] == [
        "Yes",
        "no",
        *["Yes"] * 3,
        "no",
    ]
    assert asked == [("Yes", "no"), ("Yes", "YES"), ("Yes", "yes"), ("Yes", "No"), ("no", "No")]


def test_only_what_is_given_is_looked_at() -> None:
    seen: list[Any] = []
    reader = AnswerReader(lambda ids: seen.append(ids) or str(len(ids)))
    assert [reader.read(part) for part in ([1, 2], [3])] == ["2", "1"]
    assert seen == [[1, 2], [3]]


def test_an_answer_as_long_as_a_text_is_none() -> None:
    reader = AnswerReader(lambda text: text)
    assert reader.read("x" * MOST_CHARACTERS) is not None
    assert reader.read("x" * (MOST_CHARACTERS + 1)) is None


@pytest.mark.parametrize(
    ("extract", "message"),
    [
        (lambda text: 5, "the answer extractor returned 5, expected a str or None"),
        (lambda text: b"5", r"returned b'5'"),
        (lambda text: ["x" * 999], "returned ..xxx"),
        (lambda text: text.nothing, "raised AttributeError: 'str' object has no attribute 'nothing'"),
    ],
)
def test_an_extractor_that_fails(extract: Any, message: str) -> None:
    reader = AnswerReader(extract)
    with pytest.raises(AnswerError, match=message) as info:
        reader.read("5")
    assert len(str(info.value)) < 200


def test_a_comparison_that_fails() -> None:
    def equal(a: str, b: str) -> bool:
        raise KeyError(a)

    reader = AnswerReader(lambda text: text, equal)
    assert reader.read("a") == "a"
    with pytest.raises(AnswerError, match=r"equal\('a', 'b'\) raised KeyError: 'a'"):
        reader.read("b")


def test_what_is_no_reader() -> None:
    with pytest.raises(TypeError, match=r"answer is 'boxed', expected a callable such as fs\.answers\.boxed"):
        AnswerReader("boxed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="equal is 'exact', expected None"):
        AnswerReader(fs.answers.boxed(), "exact")
