"""What goes into generate comes back as what went in; everything else is refused before any work."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import pytest

from support.fake_core import FakeEngine, fake_lm


@pytest.fixture
def lm() -> Any:
    return fake_lm()


def test_lists_are_ragged_and_come_back_without_padding(lm: Any) -> None:
    assert lm.generate([[5, 6], [9]], max_new_tokens=2) == [[5, 6, 7, 8], [9, 10, 11]]


def test_a_sequence_ends_with_the_eos_that_stopped_it(lm: Any) -> None:
    assert lm.generate([[46], [5]], max_new_tokens=5) == [[46, 47, 48, 49], [5, 6, 7, 8, 9, 10]]


def test_a_flat_list_gives_a_flat_list(lm: Any) -> None:
    assert lm.generate([5, 6], max_new_tokens=1) == [5, 6, 7]
    assert lm.generate((5, 6), max_new_tokens=1) == [5, 6, 7]
    assert lm.generate(input_ids=[5, 6], max_new_tokens=1) == [5, 6, 7]


def test_a_flat_list_with_several_sequences_gives_several(lm: Any) -> None:
    assert lm.generate([5], max_new_tokens=1, do_sample=True, num_return_sequences=2) == [[5, 6], [5, 6]]


def test_new_tokens_of_an_array_start_at_its_width(lm: Any) -> None:
    array = np.array([[0, 0, 46], [3, 4, 5]], dtype=np.int32)
    mask = np.array([[0, 0, 1], [1, 1, 1]])
    out = lm.generate(array, attention_mask=mask, max_new_tokens=5)
    assert out.dtype == np.int64
    assert out.tolist() == [[0, 0, 46, 47, 48, 49, 0, 0], [3, 4, 5, 6, 7, 8, 9, 10]]


def test_arrays_are_not_changed_and_not_shared(lm: Any) -> None:
    array = np.array([[3, 4]])
    out = lm.generate(array, max_new_tokens=1)
    out[:] = 0
    assert array.tolist() == [[3, 4]]


def test_padding_falls_back_to_eos() -> None:
    lm = fake_lm(pad_token_id=None)
    out = lm.generate(np.array([[47], [1]]), max_new_tokens=3)
    assert out.tolist() == [[47, 48, 49, 49], [1, 2, 3, 4]]


def test_pad_token_id_of_the_call_is_used(lm: Any) -> None:
    assert lm.generate(np.array([[47], [1]]), max_new_tokens=3, pad_token_id=30)[0, -1] == 30


def test_sequences_of_a_prompt_stand_side_by_side(lm: Any) -> None:
    out = lm.generate(np.array([[3], [8]]), max_new_tokens=1, do_sample=True, num_return_sequences=2)
    assert out.tolist() == [[3, 4], [3, 4], [8, 9], [8, 9]]


def test_mappings_are_opened(lm: Any) -> None:
    batch = UserDict({"input_ids": np.array([[0, 4]]), "attention_mask": np.array([[0, 1]])})
    assert lm.generate(batch, max_new_tokens=1).tolist() == [[0, 4, 5]]
    assert lm.generate(**batch, max_new_tokens=1).tolist() == [[0, 4, 5]]
    assert lm.generate({"input_ids": [[4, 4]]}, max_new_tokens=1) == [[4, 4, 5]]
    types = {"token_type_ids": np.array([[0, 0]])}
    assert lm.generate({"input_ids": [[4, 4]], **types}, max_new_tokens=1) == [[4, 4, 5]]
    assert lm.generate([[4, 4]], **types, max_new_tokens=1) == [[4, 4, 5]]
    with pytest.raises(NotImplementedError, match="token_type_ids"):
        lm.generate({"input_ids": [[1]], "token_type_ids": [[1]]}, max_new_tokens=1)
    with pytest.raises(ValueError, match="pixel_values"):
        lm.generate({"input_ids": [[1]], "pixel_values": 0}, max_new_tokens=1)


def test_masked_lists_lose_their_padding(lm: Any) -> None:
    out = lm.generate([[0, 4], [3, 4]], attention_mask=[[0, 1], [1, 1]], max_new_tokens=1)
    assert out == [[4, 5], [3, 4, 5]]


def test_anything_with_dlpack_is_an_array(lm: Any) -> None:
    class Foreign:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    out = lm.generate(Foreign(np.array([[3, 4]])), max_new_tokens=1)
    assert isinstance(out, np.ndarray)
    assert out.tolist() == [[3, 4, 5]]


def test_torch_comes_back_as_torch(lm: Any) -> None:
    torch = pytest.importorskip("torch")
    ids = torch.tensor([[0, 46], [3, 4]], dtype=torch.int32)
    out = lm.generate(ids, attention_mask=torch.tensor([[0, 1], [1, 1]]), max_new_tokens=4)
    assert out.dtype == torch.int64
    assert out.device == ids.device
    assert out.tolist() == [[0, 46, 47, 48, 49, 0], [3, 4, 5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("inputs", "error", "text"),
    [
        ("hello", TypeError, "lm.complete"),
        (["hello"], TypeError, "lm.complete"),
        (None, ValueError, "no prompts"),
        ([], ValueError, "no prompts"),
        ([[]], ValueError, "prompt 0 is empty"),
        ([[3], []], ValueError, "prompt 1 is empty"),
        ([[3, 50]], ValueError, "token id 50 at place 1"),
        ([[-1]], ValueError, "token id -1"),
        ([[3, 4.5]], TypeError, "4.5"),
        ([[True]], TypeError, "True"),
        ([[3], 4], TypeError, "prompt 1"),
        ([3, [4]], TypeError, "token ids"),
        ([["a"]], TypeError, "token ids"),
        (7, TypeError, "int"),
        (np.array([3, 4]), ValueError, r"shape \[2\]"),
        (np.zeros((1, 2, 3), dtype=int), ValueError, "shape"),
        (np.zeros((0, 3), dtype=int), ValueError, "no tokens"),
        (np.zeros((3, 0), dtype=int), ValueError, "no tokens"),
        (np.array([[1.0]]), TypeError, "float64"),
        (np.array([[3, 99]]), ValueError, "99"),
        (np.array([[0, 3], [3, 4]]), ValueError, "pass attention_mask"),
    ],
)
def test_bad_inputs_are_refused(inputs: Any, error: type[Exception], text: str) -> None:
    engine = FakeEngine()
    with pytest.raises(error, match=text):
        fake_lm(engine).generate(inputs, max_new_tokens=1)
    assert engine.jobs == []


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        ([[1, 1, 0], [1, 1, 1]], "padded on the right"),
        ([[1, 0, 1], [1, 1, 1]], "hole in prompt 0"),
        ([[1, 1, 1], [0, 0, 0]], "leaves nothing of prompt 1"),
        ([[1, 1], [1, 1]], r"shape \[2, 2\]"),
        ([[2, 1, 1], [1, 1, 1]], "only 0 and 1"),
    ],
)
def test_masks_that_do_not_fit_are_refused(lm: Any, mask: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        lm.generate(np.array([[3, 4, 5], [6, 7, 8]]), attention_mask=np.array(mask), max_new_tokens=1)


def test_inputs_given_twice_are_refused(lm: Any) -> None:
    with pytest.raises(ValueError, match="both given"):
        lm.generate([[3]], input_ids=[[3]], max_new_tokens=1)
    with pytest.raises(ValueError, match="given twice"):
        lm.generate({"input_ids": [[3]], "attention_mask": [[1]]}, attention_mask=[[1]], max_new_tokens=1)
