"""The bundled draft model: what makes it a drafter for the bundled reasoner, and cheaper than it."""

import json
from pathlib import Path

import numpy as np

import foresight as fs
from foresight.checkpoint import resolve

TARGET, DRAFT = resolve("bundled:reasoner"), resolve("bundled:reasoner-draft")


def settings(folder: Path, name: str) -> dict[str, object]:
    return json.loads((folder / name).read_text())


def test_it_loads_and_continues_what_the_reasoner_reads():
    lm, draft = fs.LM.bundled("reasoner", dtype="float32"), fs.LM.bundled("reasoner-draft", dtype="float32")
    prompts = [problem.prompt for problem in fs.tasks.get("reasoner").problems(8)]
    thoughts = lm.generate(prompts, do_sample=False, max_new_tokens=40)
    agreed = []
    for prompt, mine, theirs in zip(prompts, lm.logits(thoughts), draft.logits(thoughts), strict=True):
        assert theirs.shape == mine.shape
        agreed.append((mine.argmax(-1) == theirs.argmax(-1))[len(prompt) - 1 : -1])
    assert np.concatenate(agreed).mean() > 0.9


def test_tokens_are_the_reasoners():
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert settings(DRAFT, name) == settings(TARGET, name)
    ours, theirs = settings(DRAFT, "config.json"), settings(TARGET, "config.json")
    for name in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "rope_theta", "max_position_embeddings"):
        assert ours[name] == theirs[name]


def test_it_is_small():
    size, target = ((folder / "model.safetensors").stat().st_size for folder in (DRAFT, TARGET))
    assert size < 600_000
    assert size < target / 4


def test_it_is_no_tasks_own_model():
    assert "reasoner-draft" in fs.LM.bundled_names()
    assert all("reasoner-draft" not in fs.tasks.get(name).models for name in fs.tasks.names())
