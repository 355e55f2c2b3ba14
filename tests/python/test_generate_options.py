"""Which value of an option acts, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight.generation_fields import FIELDS, markdown_table
from support.fake_core import FakeEngine, fake_lm

transformers = pytest.importorskip("transformers")


def sent(lm: Any, **kwargs: Any) -> dict[str, Any]:
    """What the core is told about the first prompt."""
    lm.generate([[5]], **{"max_new_tokens": 1, **kwargs})
    options: dict[str, Any] = lm._model.engine.jobs[-1].requests[0][0].options
    return options


def sampling(lm: Any, **kwargs: Any) -> dict[str, Any]:
    params: dict[str, Any] = sent(lm, **kwargs)["sampling"]
    return params


def test_precedence_is_call_then_config_then_checkpoint_then_library() -> None:
    lm = fake_lm(generation_config={"temperature": 0.3, "top_p": 0.8, "do_sample": True})
    assert sampling(lm)["temperature"] == 0.3
    assert sampling(lm, generation_config={"temperature": 0.5})["temperature"] == 0.5
    config = fs.GenerationConfig(temperature=0.5, top_p=None)
    assert sampling(lm, generation_config=config, temperature=0.7)["temperature"] == 0.7
    assert sampling(lm, generation_config=config)["top_p"] == 0.8
    assert sampling(lm)["top_k"] == 50


def test_none_in_the_call_switches_a_field_off() -> None:
    lm = fake_lm(generation_config={"top_k": 20, "do_sample": True})
    assert sampling(lm, top_k=None)["top_k"] is None
    assert sampling(lm, generation_config={"top_k": None})["top_k"] == 20


def test_transformers_config_objects_only_bring_what_they_set() -> None:
    lm = fake_lm(generation_config={"top_k": 20, "do_sample": True})
    params = sampling(lm, generation_config=transformers.GenerationConfig(temperature=0.5))
    assert (params["temperature"], params["top_k"], params["do_sample"]) == (0.5, 20, True)


def test_warpers_are_left_out_of_greedy_decoding() -> None:
    lm = fake_lm(generation_config={"temperature": 0.3})
    assert "temperature" not in sampling(lm)
    with pytest.warns(UserWarning, match="temperature only act with do_sample"):
        assert "temperature" not in sampling(lm, temperature=0.7)


def test_twenty_tokens_with_a_warning_where_no_length_is_stated() -> None:
    lm = fake_lm()
    with pytest.warns(UserWarning, match="20 new tokens") as caught:
        assert len(lm.generate([5])) == 21
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="20 new tokens"):
        assert len(lm.generate([5] * 60)) == 64


def test_lengths() -> None:
    lm = fake_lm(generation_config={"max_length": 9})
    assert len(lm.generate([5, 6])) == 9
    assert lm.generate(np.array([[5, 6]])).shape == (1, 9)
    padded = lm.generate(np.array([[0, 0, 5]]), attention_mask=np.array([[0, 0, 1]]), max_length=5)
    assert padded.shape == (1, 5)
    assert [len(s) for s in lm.generate([[5], [6]], max_new_tokens=[1, 3])] == [2, 4]
    with pytest.raises(ValueError, match="2 numbers for 1 prompts"):
        lm.generate([[5]], max_new_tokens=[1, 3])
    with pytest.raises(ValueError, match="prompt 1 has 3 tokens, but max_length is 3"):
        lm.generate([[5], [5, 6, 7]], max_length=3)
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        lm.generate([[5]], max_new_tokens=0)
    with pytest.warns(UserWarning, match="max_new_tokens takes precedence"):
        assert len(lm.generate([5], max_new_tokens=2, max_length=30)) == 3


def test_min_length_counts_an_arrays_padding_and_gives_way_to_min_new_tokens() -> None:
    lm = fake_lm()
    lm.generate(np.array([[0, 0, 5]]), attention_mask=np.array([[0, 0, 1]]), max_new_tokens=9, min_length=8)
    (request,) = lm._model.engine.jobs[-1].requests
    assert request[0].options["sampling"]["min_length"] == 6
    assert request[0].options["sampling"]["max_length"] == 10
    assert sampling(lm, min_length=8, min_new_tokens=1)["min_length"] == 0


def test_eos_and_pad() -> None:
    lm = fake_lm(eos_token_id=[49, 48])
    assert sampling(lm)["eos_token_ids"] == [49, 48]
    assert sampling(lm, eos_token_id=7)["eos_token_ids"] == [7]
    assert sampling(lm, eos_token_id=[7, -1])["eos_token_ids"] == [7]
    assert sampling(lm, eos_token_id=None)["eos_token_ids"] == []
    assert sampling(fake_lm(generation_config={"eos_token_id": 3}))["eos_token_ids"] == [3]
    with pytest.raises(ValueError, match="pad_token_id is 50"):
        sampling(lm, pad_token_id=50)


def test_sequences_reach_the_core_as_plain_lists() -> None:
    params = sampling(
        fake_lm(),
        sequence_bias={(5, 6): -1},
        bad_words_ids=np.array([[3, 4]]),
        suppress_tokens=(1, 2),
        forced_eos_token_id=3,
        exponential_decay_length_penalty=(1, 1.5),
    )
    assert params["sequence_bias"] == [([5, 6], -1.0)]
    assert params["bad_words_ids"] == [[3, 4]]
    assert params["suppress_tokens"] == [1, 2]
    assert params["forced_eos_token_id"] == [3]
    assert sampling(fake_lm(), sequence_bias=[[[5], 2.0]])["sequence_bias"] == [([5], 2.0)]


def test_guidance_starts_from_the_last_token_or_the_negative_prompt() -> None:
    lm = fake_lm()
    lm.generate([[5, 6], [7, 8]], max_new_tokens=1, guidance_scale=1.5)
    requests = lm._model.engine.jobs[-1].requests
    assert [r[0].options["negative_tokens"] for r in requests] == [[6], [8]]
    lm.generate([[5], [7]], max_new_tokens=1, guidance_scale=2, negative_prompt_ids=[3, 4])
    requests = lm._model.engine.jobs[-1].requests
    assert [r[0].options["negative_tokens"] for r in requests] == [[3, 4], [3, 4]]
    negative = {"negative_prompt_ids": np.array([[0, 4]]), "negative_prompt_attention_mask": np.array([[0, 1]])}
    assert sent(lm, guidance_scale=2, **negative)["negative_tokens"] == [4]
    assert sent(lm, guidance_scale=1)["guidance_scale"] == 1.0
    with pytest.raises(ValueError, match="only act with guidance_scale"):
        sent(lm, negative_prompt_ids=[3])
    with pytest.raises(ValueError, match="2 prompts for 1"):
        sent(lm, guidance_scale=2, negative_prompt_ids=[[3], [4]])


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"max_new_token": 3}, ValueError, "'max_new_token'; close names: .*max_new_tokens"),
        ({"generation_config": {"top_q": 3}}, ValueError, "'top_q'; close names: .*top_"),
        ({"generation_config": 3}, TypeError, "got int"),
        ({"num_return_sequences": 2}, ValueError, "set do_sample=True"),
        ({"do_sample": "yes"}, ValueError, "expected True or False"),
        ({"top_k": 2.5, "do_sample": True}, ValueError, "top_k is 2.5"),
        ({"bad_words_ids": [[]]}, ValueError, "bad_words_ids"),
        ({"bad_words_ids": [1]}, ValueError, "bad_words_ids"),
        ({"sequence_bias": {5: 1.0}}, ValueError, "sequence_bias"),
        ({"stop_strings": "a"}, ValueError, "need a tokenizer"),
        ({"stop_strings": ""}, ValueError, "stop_strings"),
        ({"output_scores": True}, ValueError, "return_dict_in_generate"),
        ({"output_logprobs": 2}, ValueError, "return_dict_in_generate"),
        ({"suppress_tokens": [3], "forced_eos_token_id": 3}, ValueError, "suppress_tokens"),
        ({"num_beams": 4}, NotImplementedError, "num_beams=4, set by the call: beam search"),
        ({"generation_config": {"num_beams": 4}}, NotImplementedError, "set by generation_config"),
        ({"assistant_model": object()}, TypeError, "from_torch"),
        ({"synced_gpus": True}, NotImplementedError, "one machine"),
        ({"branches": 4}, ValueError, "4 branches of greedy decoding"),
        ({"branches": 0, "do_sample": True}, ValueError, "width is 0"),
        ({"constraint": object()}, NotImplementedError, "constrained"),
        ({"trace": 3}, TypeError, "trace is 3"),
        ({"decoding": "autoregressive"}, TypeError, r"fs.Autoregressive\(\)"),
        ({"decoding": fs.Autoregressive}, TypeError, "call it first"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"seed": 1.5}, TypeError, "seed is 1.5"),
        ({"seed": [1, 2]}, ValueError, "2 seeds for 1 prompts"),
    ],
)
def test_mistakes_are_named_before_any_work(kwargs: Any, error: type[Exception], text: str) -> None:
    engine = FakeEngine()
    with pytest.raises(error, match=text):
        sent(fake_lm(engine), **kwargs)
    assert engine.jobs == []


def test_arguments_that_say_nothing_are_accepted() -> None:
    sent(fake_lm(), synced_gpus=False, assistant_model=None, position_ids=None, use_cache=True)
    sent(fake_lm(), token_type_ids=[[0]])


def test_a_checkpoint_file_may_hold_what_only_transformers_needs() -> None:
    file = {"cache_implementation": "hybrid", "num_assistant_tokens": 5, "transformers_version": "4.0"}
    sent(fake_lm(generation_config=file))
    with pytest.raises(NotImplementedError, match=r"generation_config\.json: beam search.*pass num_beams=1"):
        sent(fake_lm(generation_config={"num_beams": 4}))
    sent(fake_lm(generation_config={"num_beams": 4}), num_beams=1)
    with pytest.warns(UserWarning, match="unknown fields: chat_format"):
        sent(fake_lm(generation_config={"chat_format": "x"}))


# A value that would change something, per field that raises.
SET = {
    "num_beams": 4,
    "num_beam_groups": 2,
    "early_stopping": True,
    "length_penalty": 0.5,
    "diversity_penalty": 0.5,
    "constraints": [object()],
    "force_words_ids": [[1]],
    "penalty_alpha": 0.6,
    "dola_layers": "high",
    "low_memory": True,
    "use_mtp": True,
    "token_healing": True,
    "watermarking_config": {"bias": 2.0},
    "output_attentions": True,
    "output_hidden_states": True,
    "decoder_start_token_id": 1,
    "use_cache": False,
    "is_assistant": True,
    "assistant_confidence_threshold": 0.5,
    "assistant_lookbehind": 5,
    "target_lookbehind": 5,
}
ACTS = {
    "max_new_tokens": 2,
    "max_length": 9,
    "min_new_tokens": 1,
    "min_length": 3,
    "max_time": 5.0,
    "guidance_scale": 1.5,
    "sequence_bias": {(3,): 1.0},
    "encoder_repetition_penalty": 1.2,
    "repetition_penalty": 1.2,
    "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 2,
    "bad_words_ids": [[3]],
    "forced_bos_token_id": 3,
    "forced_eos_token_id": 3,
    "remove_invalid_values": True,
    "exponential_decay_length_penalty": (1, 1.1),
    "suppress_tokens": [3],
    "begin_suppress_tokens": [3],
    "temperature": 0.7,
    "top_h": 0.5,
    "top_k": 7,
    "top_p": 0.9,
    "min_p": 0.1,
    "typical_p": 0.9,
    "epsilon_cutoff": 0.01,
    "eta_cutoff": 0.01,
    "renormalize_logits": True,
}


@pytest.mark.parametrize("name", sorted(vars(transformers.GenerationConfig())))
def test_every_field_of_transformers_acts_or_raises(name: str) -> None:
    field = FIELDS[name]
    if field.effect == "raises":
        value = SET.get(name, 7)
        with pytest.raises(NotImplementedError, match=name):
            sent(fake_lm(), **{name: value})
        sent(fake_lm(), **{name: None})
    elif name in ACTS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = sent(fake_lm(), do_sample=True, max_new_tokens=1)
            changed = sent(fake_lm(), **{"do_sample": True, "max_new_tokens": None, name: ACTS[name]})
        changed["processors"] = plain["processors"] = []
        assert plain | {"seed": 0} != changed | {"seed": 0}
    else:
        tested_elsewhere = {
            *("stop_strings", "do_sample", "num_return_sequences", "return_dict_in_generate"),
            *("output_scores", "output_logits", "eos_token_id", "pad_token_id"),
            # test_speculative.py
            *("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_early_exit"),
            *("prompt_lookup_num_tokens", "max_matching_ngram_size"),
        }
        assert field.effect == "no effect" or name in tested_elsewhere


def test_fields_that_only_older_versions_have_are_known_too() -> None:
    older = ("return_legacy_cache", "generation_kwargs", "forced_decoder_ids", "_commit_hash", "_original_object_hash")
    assert FIELDS.keys() >= set(older)


def test_the_table_of_the_documentation_is_this_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "compatibility.md"
    assert markdown_table() in page.read_text()


def test_generation_config_checks_what_it_is_given() -> None:
    config = fs.GenerationConfig(top_k=5)
    assert (config.top_k, config.top_p) == (5, None)
    config.top_p = 0.5
    config.update(top_k=None)
    assert config.to_dict() == {"top_p": 0.5}
    assert config == fs.GenerationConfig.from_dict({"top_p": 0.5})
    assert repr(config) == "GenerationConfig(top_p=0.5)"
    with pytest.raises(ValueError, match="close names: top_k"):
        fs.GenerationConfig(top_kk=5)
    with pytest.raises(NotImplementedError, match="num_beams"):
        config.num_beams = 3
    with pytest.raises(AttributeError, match="top_kk"):
        _ = config.top_kk
    assert config.to_dict() == {"top_p": 0.5}


def test_generation_config_survives_copy_and_pickle() -> None:
    import copy
    import pickle

    config = fs.GenerationConfig(top_k=5)
    assert copy.deepcopy(config) == config
    assert pickle.loads(pickle.dumps(config)) == config
