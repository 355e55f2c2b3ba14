"""generate, logits and score against transformers, on tiny random checkpoints of every family."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foresight as fs
from foresight.stops import TokenBytes
from support.tiny import VARIANTS, make_tiny, tiny_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.hf

PROMPTS = [[1, 17, 40, 9], [5], [200, 31, 7, 7, 7, 90, 12], [1, *range(60, 83)], [300, 2, 4]]
NEVER = {"eos_token_id": None, "pad_token_id": 0}  # goes on to the length


class Pair:
    """One checkpoint in both libraries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hf = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.lm = fs.LM.from_pretrained(folder, num_threads=1, kv_cache_bytes=32 << 20)

    def theirs(self, prompt: list[int], **kwargs: Any) -> Any:
        ids = torch.tensor([prompt])
        return self.hf.generate(ids, attention_mask=torch.ones_like(ids), **kwargs)

    def reference_logits(self, prompt: list[int]) -> np.ndarray:
        with torch.no_grad():
            rows: np.ndarray = self.hf(torch.tensor([prompt])).logits[0].float().numpy()
        return rows


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="transformers")
        yield


@pytest.fixture(scope="module", params=VARIANTS, ids=["-".join(v) for v in VARIANTS])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family, variant = request.param
    return Pair(make_tiny(tmp_path_factory.mktemp("tiny"), family, variant=variant))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = make_tiny(tmp_path_factory.mktemp("llama"), "llama")
    return Pair(tiny_tokenizer(folder))


def is_dynamic(pair: Pair) -> bool:
    return any(rope.type == "dynamic" for rope in pair.lm.config.rope.values())


def test_greedy_tokens_are_transformers(pair: Pair) -> None:
    # Dynamic rotary scaling changes with every token in transformers beyond the original length.
    new = 8 if is_dynamic(pair) else 64
    ours = pair.lm.generate(PROMPTS, max_new_tokens=new, **NEVER)
    assert ours == [pair.theirs(p, max_new_tokens=new, **NEVER)[0].tolist() for p in PROMPTS]


def test_logits_are_transformers(pair: Pair) -> None:
    prompts = [*PROMPTS, [(7 * i) % 320 for i in range(60)]]
    for prompt, ours in zip(prompts, pair.lm.logits(prompts), strict=True):
        np.testing.assert_allclose(ours, pair.reference_logits(prompt), atol=2e-4, rtol=0)


def test_hidden_states_are_transformers(llama: Pair) -> None:
    prompt = PROMPTS[2]
    with torch.no_grad():
        theirs = llama.hf(torch.tensor([prompt]), output_hidden_states=True).hidden_states
    count = len(theirs)
    (ours,) = llama.lm.hidden_states([prompt], layers=range(count))
    for layer in range(count):
        np.testing.assert_allclose(ours[:, layer], theirs[layer][0].numpy(), atol=2e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_half_precision_is_as_near_to_the_truth(family: str, dtype: str, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path, family, dtype=dtype)
    load = transformers.AutoModelForCausalLM.from_pretrained
    truth, half = load(folder, dtype=torch.float32), load(folder, dtype=getattr(torch, dtype))
    lm = fs.LM.from_pretrained(folder, num_threads=1, kv_cache_bytes=8 << 20)
    assert lm.config.dtype == dtype
    ours, theirs = [], []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        with torch.no_grad():
            exact = truth(ids).logits[0].numpy()
            theirs.append(np.abs(half(ids).logits[0].float().numpy() - exact).mean())
        ours.append(np.abs(lm.logits([prompt])[0] - exact).mean())
    assert np.mean(ours) <= 1.5 * np.mean(theirs)


@pytest.mark.parametrize("family", ["qwen2", "gemma3"])
def test_a_checkpoint_computes_in_another_dtype(family: str, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path, family, dtype="bfloat16")
    exact = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    lm = fs.LM.from_pretrained(folder, dtype="float32", num_threads=1, kv_cache_bytes=8 << 20)
    assert lm.config.dtype == "float32"
    with torch.no_grad():
        wanted = exact(torch.tensor([PROMPTS[3]])).logits[0].numpy()
    np.testing.assert_allclose(lm.logits([PROMPTS[3]])[0], wanted, atol=2e-4, rtol=0)


GREEDY = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8, "no_repeat_ngram_size": 2},
    {"encoder_repetition_penalty": 1.5},
    {"encoder_no_repeat_ngram_size": 1},
    {"bad_words_ids": [[9], [40, 9], [100, 3]]},
    {"sequence_bias": {(9,): 3.0, (12, 40): -5.0}},
    {"sequence_bias": [[[9], 3.0]]},
    {"suppress_tokens": list(range(3, 200)), "begin_suppress_tokens": [210, 211]},
    {"min_new_tokens": 5},
    {"min_length": 12},
    {"forced_eos_token_id": [7, 8]},
    {"forced_bos_token_id": 33},
    {"exponential_decay_length_penalty": (3, 1.4)},
    {"remove_invalid_values": True},
    {"renormalize_logits": True},
    {"guidance_scale": 1.7},
    {"guidance_scale": 0.4, "repetition_penalty": 1.1},
    {"eos_token_id": list(range(20, 60))},
]


@pytest.mark.parametrize("options", GREEDY, ids=lambda o: "-".join(o))
@pytest.mark.parametrize("prompt", [PROMPTS[0], PROMPTS[1]], ids=["four", "one"])
def test_processors_are_transformers(llama: Pair, options: dict[str, Any], prompt: list[int]) -> None:
    asked = {"max_new_tokens": 20, "return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    theirs = llama.theirs(prompt, **asked, **options)
    ours = llama.lm.generate(prompt, **asked, **options)
    assert ours.sequences == theirs.sequences[0].tolist()
    for mine, other in ((ours.scores, theirs.scores), (ours.logits, theirs.logits)):
        assert len(mine) == len(other)
        for row, wanted in zip(mine, other, strict=True):
            assert row.shape == tuple(wanted.shape)
            np.testing.assert_allclose(row, wanted.numpy(), atol=2e-3, rtol=1e-4)


def test_negative_prompts_are_transformers(llama: Pair) -> None:
    negative = [[3, 4, 5], [6]]
    for prompt, other in zip(PROMPTS, negative, strict=False):
        theirs = llama.theirs(prompt, max_new_tokens=16, guidance_scale=2.0, negative_prompt_ids=torch.tensor([other]))
        ours = llama.lm.generate(prompt, max_new_tokens=16, guidance_scale=2.0, negative_prompt_ids=other)
        assert ours == theirs[0].tolist()
    together = llama.lm.generate(PROMPTS[:2], max_new_tokens=16, guidance_scale=2.0, negative_prompt_ids=negative)
    assert (
        together[1]
        == llama.theirs(PROMPTS[1], max_new_tokens=16, guidance_scale=2.0, negative_prompt_ids=torch.tensor([[6]]))[
            0
        ].tolist()
    )


WARPERS = [
    {},
    {"top_k": 5},
    {"top_k": 0, "top_p": 0.7},
    {"temperature": 0.5, "top_k": None, "min_p": 0.05},
    {"typical_p": 0.6},
    {"epsilon_cutoff": 0.01},
    {"eta_cutoff": 0.02, "temperature": 1.7},
    {"top_h": 0.4},
    {"top_k": 20, "top_p": 0.9, "repetition_penalty": 1.2, "renormalize_logits": True},
]


@pytest.mark.parametrize("options", WARPERS, ids=lambda o: "-".join(o) or "defaults")
def test_sampling_distributions_are_transformers(llama: Pair, options: dict[str, Any]) -> None:
    asked = {"max_new_tokens": 1, "return_dict_in_generate": True, "output_scores": True, "do_sample": True}
    for prompt in PROMPTS:
        theirs = llama.theirs(prompt, **asked, **options).scores[0].numpy()
        ours = llama.lm.generate([prompt], **asked, **options).scores[0]
        np.testing.assert_allclose(ours, theirs, atol=2e-3, rtol=1e-4)


def test_padded_tensors_come_back_as_transformers_gives_them(llama: Pair) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama.folder, padding_side="left")
    batch = tokenizer(["the cat sat", "one two three four", "ten"], return_tensors="pt", padding=True)
    for options in ({"max_new_tokens": 12}, {"max_length": 15}, {"min_length": 14, "max_new_tokens": 12}):
        ours = llama.lm.generate(**batch, **options)
        theirs = llama.hf.generate(**batch, **options)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_checkpoints_generation_config_acts_as_in_transformers(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path, "qwen2")
    transformers.GenerationConfig(
        max_new_tokens=9, repetition_penalty=1.4, eos_token_id=[2, 50], pad_token_id=0
    ).save_pretrained(folder)
    pair = Pair(folder)
    assert pair.lm.generate(PROMPTS[0]) == pair.theirs(PROMPTS[0])[0].tolist()
    assert (
        pair.lm.generate(PROMPTS[0], repetition_penalty=None)
        == pair.theirs(PROMPTS[0], repetition_penalty=None)[0].tolist()
    )
    config = transformers.GenerationConfig(max_new_tokens=4)
    assert pair.lm.generate(PROMPTS[0], config) == pair.theirs(PROMPTS[0], generation_config=config)[0].tolist()


def test_stop_strings_are_transformers(llama: Pair) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama.folder)
    checked = 0
    for prompt in PROMPTS:
        plain = llama.theirs(prompt, max_new_tokens=24, **NEVER)[0].tolist()
        text = tokenizer.decode(plain[len(prompt) :])
        whole = tokenizer.decode(plain)
        pieces = [text[i : i + n] for n in (1, 2, 3) for i in range(2, len(text) - n, 3)]
        straddling = [whole[max(0, len(whole) - len(text) - 1) :][:2]]
        for stop in [*pieces[:6], *pieces[-3:], *straddling]:
            if not stop or "\ufffd" in stop:
                continue
            options = {"max_new_tokens": 24, "stop_strings": [stop, "never this"], **NEVER}
            theirs = llama.theirs(prompt, **options, tokenizer=tokenizer)[0].tolist()
            assert llama.lm.generate(prompt, **options) == theirs, stop
            assert llama.lm.generate(prompt, **options, tokenizer=tokenizer) == theirs, stop
            checked += 1
    assert checked >= 10


def sentencepiece_like() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"\u2581abcdefst", "st", "\u2581st", "stop"]
    backend = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend


def wordpiece_like() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["[UNK]", *"abcdef", *(f"##{c}" for c in "abcdef"), "stop", "##op", "st"]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    return backend


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece", "wordpiece"])
def test_tokens_spell_the_bytes_that_transformers_matches(llama: Pair, kind: str) -> None:
    from transformers.generation.stopping_criteria import StopStringCriteria

    if kind == "byte_level":
        tokenizer = transformers.AutoTokenizer.from_pretrained(llama.folder)
    else:
        backend = sentencepiece_like() if kind == "sentencepiece" else wordpiece_like()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    mode = StopStringCriteria._get_stop_string_matching_mode(tokenizer)
    texts, ids = StopStringCriteria.clean_tokenizer_vocab(tokenizer, stop_string_matching_mode=mode)
    ours = TokenBytes(tokenizer)
    for text, token in zip(texts, ids, strict=True):
        assert ours.get(token) == (text if isinstance(text, bytes) else text.encode()), token
    assert ours.get(10**6) is None


def test_processors_and_criteria_of_transformers_act_the_same(llama: Pair) -> None:
    from transformers import LogitsProcessorList, StoppingCriteriaList

    class Favour(transformers.LogitsProcessor):  # type: ignore[misc, name-defined]
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            scores[:, input_ids.shape[1] % 300] += 4.0
            return scores

    class LongEnough(transformers.StoppingCriteria):  # type: ignore[misc, name-defined]
        def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            return torch.full((input_ids.shape[0],), input_ids.shape[1] >= 20, dtype=torch.bool)

    options = {
        "logits_processor": LogitsProcessorList([Favour()]),
        "stopping_criteria": StoppingCriteriaList([LongEnough()]),
        "prefix_allowed_tokens_fn": lambda batch, ids: list(range(10 + len(ids), 300)),
        "repetition_penalty": 1.2,
        "max_new_tokens": 40,
    }
    for prompt in PROMPTS[:3]:
        assert llama.lm.generate(prompt, **options) == llama.theirs(prompt, **options)[0].tolist()


def test_scores_are_sums_of_transformers_log_probabilities(llama: Pair) -> None:
    for prompt in (PROMPTS[2], PROMPTS[3]):
        logprobs = torch.log_softmax(torch.tensor(llama.reference_logits(prompt)).double(), -1)
        wanted = [float(logprobs[i - 1, prompt[i]]) for i in range(2, len(prompt))]
        (score,) = llama.lm.score([prompt[:2]], [prompt[2:]])
        np.testing.assert_allclose(score.token_logprobs, wanted, atol=1e-4)
        assert score.logprob == pytest.approx(sum(wanted), abs=1e-3)


@pytest.mark.parametrize(("family", "variant"), [("llama", "default"), ("qwen3", "tied"), ("gemma3", "vision")])
def test_live_models_are_taken_over_and_refreshed(family: str, variant: str, tmp_path: Path) -> None:
    model = Pair(make_tiny(tmp_path, family, variant=variant)).hf
    lm = fs.LM.from_torch(model, num_threads=1, kv_cache_bytes=8 << 20)
    prompt = PROMPTS[2]

    def close() -> bool:
        with torch.no_grad():
            theirs = model(torch.tensor([prompt])).logits[0].numpy()
        return bool(np.abs(lm.logits([prompt])[0] - theirs).max() < 2e-4)

    assert close()
    session = lm.session(prompt)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.3)
    assert not close()
    lm.refresh()
    assert close()
    with pytest.raises(ValueError, match="open a new one"):
        session.append([5])
