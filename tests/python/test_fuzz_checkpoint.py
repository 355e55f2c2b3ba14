"""No checkpoint, however broken, crashes or hangs the process or raises anything but the documented errors.

FORESIGHT_FUZZ_COUNT mutated checkpoints are loaded and used (5,000 unless set); FORESIGHT_FUZZ_SEED runs one of them.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import foresight as fs
from foresight import checkpoint
from foresight.checkpoint import Checkpoint, inverse_frequencies
from support.mutate import Files, mutate
from support.tiny import make_tiny, tiny_tokenizer

pytestmark = pytest.mark.hf
pytest.importorskip("torch")

from support.tiny_diffusion import make_tiny_diffusion  # noqa: E402

COUNT = int(os.environ.get("FORESIGHT_FUZZ_COUNT", "5000"))
CHUNKS = 10
SECONDS = 20
ALLOWED = (fs.CheckpointError, fs.CacheFullError, ValueError, TypeError, NotImplementedError)


class HangError(BaseException):
    """A case took longer than SECONDS; not an Exception, so that nothing swallows it."""


def read_tensors(loaded: Checkpoint) -> None:
    with np.errstate(all="ignore"):
        for view in loaded.tensors.values():
            assert view.elements().shape == view.shape
            view.float32().sum()


def rotary(loaded: Checkpoint) -> None:
    for rope in loaded.config.rope.values():
        inverse_frequencies(rope, loaded.config.head_dim, 1000)


def tokenize(loaded: Checkpoint) -> None:
    if loaded.tokenizer is not None:
        ids = loaded.tokenizer.encode(
            "the cat sat, é🙂 <s> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa xxxxxxxxxxxxxxxxxxxxxxxxxx"
        )
        loaded.tokenizer.decode(ids)
        stream = loaded.tokenizer.stream()
        for token in ids:
            stream.put(token)
        stream.end()


def chat(loaded: Checkpoint) -> None:
    if loaded.chat_template is not None:
        loaded.chat_template.render([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}])


def decode(loaded: Checkpoint) -> None:
    lm = fs.LM.from_pretrained(loaded.path, num_threads=1, kv_cache_bytes=1 << 20)
    lm.logits([[5, 6, 7]])
    if lm.config.attention != "block_causal":
        lm.generate([[5, 6, 7]], max_new_tokens=2, do_sample=False, num_beams=1)


# What is done with a checkpoint that loads: each entry may raise the documented errors only.
AFTER_LOAD: list[Callable[[Checkpoint], None]] = [read_tensors, rotary, tokenize, chat, decode]


def after_load(loaded: Checkpoint) -> None:
    """Uses a loaded checkpoint in every way there is."""
    for use in AFTER_LOAD:
        with contextlib.suppress(*ALLOWED):
            use(loaded)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    sizes = {
        "vocab_size": 320,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    variants: list[tuple[str, str, bool, str]] = [
        ("llama", "yarn", False, "v4"),
        ("qwen2", "sliding", True, "v5"),
        ("gemma3", "vision", False, "v5"),
    ]
    checkpoints = []
    for family, variant, sharded, style in variants:
        layers = {"num_hidden_layers": 4} if family == "gemma3" else {"num_hidden_layers": 2}
        folder = make_tiny(
            tmp_path_factory.mktemp(family),
            family,
            variant=variant,
            config_style=style,
            dtype="bfloat16" if sharded else "float32",
            sharded=sharded,
            **sizes,
            **layers,
        )
        tiny_tokenizer(folder)
        checkpoints.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    small = {"hidden": 8, "inner": 8, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 8, "vocab": 320}
    for family in ("llada2", "sdar_moe"):
        folder = tmp_path_factory.mktemp(family)
        make_tiny_diffusion(folder, family, sizes=small)
        tiny_tokenizer(folder)
        checkpoints.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    return checkpoints


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Templates get a smaller budget, so that bombs are quick; a hang in Python raises, one in C ends the process."""
    from foresight.checkpoint import meter

    monkeypatch.setattr(meter, "MAX_COST", 2_000_000)
    monkeypatch.setenv("RUST_BACKTRACE", "0")

    def on_alarm(signum: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, on_alarm)
    faulthandler.enable(file=sys.__stderr__)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    faulthandler.cancel_dump_traceback_later()


def run_case(seed: int, originals: list[Files], folder: Path) -> bool:
    """Mutates, loads and uses one checkpoint; whether it loaded."""
    rng = random.Random(seed)
    files = dict(originals[seed % len(originals)])
    mutate(files, rng)
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True, file=sys.__stderr__)
    try:
        loaded = checkpoint.load(folder)
    except ALLOWED:
        return False
    after_load(loaded)
    return True


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_mutated_checkpoints(chunk: int, originals: list[Files], tmp_path: Path) -> None:
    only = os.environ.get("FORESIGHT_FUZZ_SEED")
    seeds = [int(only)] if only else range(chunk, COUNT, CHUNKS)
    loaded = 0
    begin = time.monotonic()
    for seed in seeds:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded += run_case(seed, originals, tmp_path)
        except BaseException as error:
            print(f"FORESIGHT_FUZZ_SEED={seed} reproduces it: {type(error).__name__}: {error}")
            raise
    print(f"{len(seeds)} checkpoints, {loaded} loaded, {time.monotonic() - begin:.1f} s")
    if len(seeds) >= 100:
        assert 0.02 < loaded / len(seeds) < 0.9  # mutations neither too harsh nor too mild to test anything


@pytest.mark.usefixtures("guarded")
def test_the_originals_load(originals: list[Files], tmp_path: Path) -> None:
    for files in originals:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        loaded = checkpoint.load(tmp_path)
        for use in AFTER_LOAD:
            use(loaded)
