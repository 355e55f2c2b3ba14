"""Drafters of another vocabulary: the reasoner with its tokens renumbered, some of them missing."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import foresight as fs
from foresight.vocabularies import vocabulary_map
from support.law import is_far

SOURCE = Path(fs.__file__).parent / "models" / "reasoner"
PROMPTS = [problem.prompt for problem in fs.tasks.get("reasoner").problems(4)]
OPTIONS = {"max_new_tokens": 40, "eos_token_id": None, "return_dict_in_generate": True}


def renumbered(folder: Path, order: np.ndarray) -> Path:
    """The reasoner whose token `i` is the original's `order[i]`."""
    shutil.copytree(SOURCE, folder)
    weights = {}
    with (folder / "model.safetensors").open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        half = np.frombuffer(data[begin:end], dtype=np.uint16).astype(np.uint32) << 16
        weights[name] = half.view(np.float32).reshape(entry["shape"])
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][order]
    save_file({name: np.ascontiguousarray(value) for name, value in weights.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    new = {int(old): index for index, old in enumerate(order)}
    config["vocab_size"] = len(order)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        config[name] = new[config[name]]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").unlink()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {
        text: new[index] for text, index in tokenizer["model"]["vocab"].items() if index in new
    }
    for token in tokenizer["added_tokens"]:
        token["id"] = new[token["id"]]
    for token in tokenizer["post_processor"]["special_tokens"].values():
        token["ids"] = [new[index] for index in token["ids"]]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.fixture(scope="module")
def lm():
    return fs.LM.bundled("reasoner")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    order = np.random.default_rng(0).permutation(73)
    return fs.LM.from_pretrained(renumbered(tmp_path_factory.mktemp("other") / "m", order))


@pytest.fixture(scope="module")
def smaller(tmp_path_factory):
    order = np.random.default_rng(1).permutation(73)
    lost = [fs.LM.bundled("reasoner").tokenizer.token_id(text) for text in ("7", "19", "+")]
    kept = np.array([index for index in order if index not in lost])
    return fs.LM.from_pretrained(renumbered(tmp_path_factory.mktemp("smaller") / "m", kept))


def test_tokens_are_paired_by_their_text(lm, other):
    mapped = vocabulary_map(lm.loaded, other.loaded)
    assert [mapped.same[tokens[0]] for tokens in mapped.spelled] == list(range(73))
    for token, spelled in enumerate(mapped.spelled):
        assert lm.tokenizer.decode([token]) == other.tokenizer.decode(spelled)


@pytest.mark.parametrize("tree", [None, (2, 4)])
def test_a_renumbered_twin_is_always_right(lm, other, tree):
    plain = lm.generate(PROMPTS, do_sample=False, **OPTIONS)
    decoding = fs.Speculative(other, tree=tree, adaptive=False)
    out = lm.generate(PROMPTS, do_sample=False, decoding=decoding, **OPTIONS)
    assert out.sequences == plain.sequences
    assert out.stats.accepted_at[0] > 0.97 * out.stats.drafted_at[0], "its bfloat16 twin, but for ties"


def test_a_twin_that_lacks_tokens_guesses_the_others(lm, smaller):
    for options in ({"do_sample": False}, {"do_sample": True, "seed": 3, "temperature": 0.8}):
        plain = lm.generate(PROMPTS, **options, **OPTIONS)
        decoding = fs.Speculative(smaller, verification="match", adaptive=False)
        out = lm.generate(PROMPTS, decoding=decoding, **options, **OPTIONS)
        assert out.sequences == plain.sequences
        assert out.stats.accepted_tokens > 0.3 * out.stats.drafted_tokens


def test_its_drawn_guesses_keep_the_law(lm, other):
    options = {"do_sample": True, "temperature": 1.5, "top_k": 0, "eos_token_id": None, "max_new_tokens": 3}
    prompt = [PROMPTS[0] + [20, 5, 20]]  # in the middle of a thought, where several tokens may follow
    samples = []
    for seed, decoding in ((1, None), (2, fs.Speculative(other, adaptive=False))):
        new = lm.generate(prompt, seed=seed, num_return_sequences=3000, decoding=decoding, **options)
        samples.append(Counter(tuple(sequence[-3:]) for sequence in new))
    assert not is_far(*samples)


class Foreign:
    """A tokenizer of which no token is spelled like one of the reasoner's."""

    def vocabulary(self):
        return {f"word {index}": index for index in range(40)}

    def encode(self, text, add_special_tokens=True):
        return [0]


def test_vocabularies_without_a_common_token_are_refused(lm):
    foreign = replace(lm.loaded, tokenizer=Foreign())
    with pytest.raises(ValueError, match="40 tokens and the model's 73 have none in common"):
        vocabulary_map(lm.loaded, foreign)


def test_without_tokenizers_the_drafter_cannot_have_more_tokens(lm, smaller):
    mine, theirs = (replace(model.loaded, tokenizer=None) for model in (lm, smaller))
    assert not vocabulary_map(mine, theirs).same
    with pytest.raises(ValueError, match="73 tokens and the model 70"):
        vocabulary_map(theirs, mine)
