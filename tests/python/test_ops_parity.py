"""The op cases against float64, through the bindings: the way that works where GoogleTest is absent."""

from __future__ import annotations

import pytest

from foresight._core import supported_isas, testing


def test_every_op_has_cases() -> None:
    ops = {name.split("/")[0] for name in testing.case_names()}
    assert {"matmul", "rmsnorm", "rope", "gated_mlp", "attention", "embedding"} <= ops


@pytest.mark.parametrize("isa", supported_isas())
def test_cases_stay_within_their_bounds(isa: str) -> None:
    results = {name: testing.run_case(name, isa) for name in testing.case_names()[::7]}
    failed = {name: result.error for name, result in results.items() if not result.passed}
    assert results
    assert not failed


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(ValueError, match="no_such_case"):
        testing.run_case("no_such_case", "generic")
