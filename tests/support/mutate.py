"""Broken checkpoints by chance: mutations of the files of a real one, from flipped bytes to hostile structure.

A checkpoint is a dict of file name to bytes. Every function takes it and a seeded random generator and changes it in
place; `mutate` picks a few of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Files = dict[str, bytes]

# What reading a file raises that an earlier mutation has broken already.
_BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)

WEIRD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 1.5, -0.0, 1e308, -1e-320, 2**31 - 1, 2**31, 2**63, 2**64, -(2**63), 10**30,
    10**40, float("nan"), float("inf"), float("-inf"), "", "x", "float32", "F32", "\ud800", "\0", "é" * 300, [], {}, [1],
    [None], [-1, -1], {"a": 1}, [[[[]]]], {"type": "linear"}, {"rope_type": "yarn", "factor": 1e-300}, "y" * 20_000,
]  # fmt: skip

FEATURES: dict[str, list[Any]] = {
    "model_type": [
        "llama", "mistral", "qwen2", "qwen3", "gemma3", "gemma3_text", "bert", "llada", "llada2_moe", "Dream", "sdar",
        "sdar_moe", "Fast_dLLM_Qwen", "a2d-llama", "a2d-qwen2", "a2d-qwen3", "foresight_qwen3",
    ],
    "mask_token_id": [None, 0, 5, 10**6],
    "block_size": [None, 1, 2, 3, 4, 2**20],
    "attention": ["causal", "full", "block_causal", "semi_causal", "none"],
    "learned_positions": [True, False],
    "num_experts": [1, 2, 8, 4096],
    "num_experts_per_tok": [1, 8],
    "n_group": [1, 2, 8],
    "topk_group": [1, 4],
    "first_k_dense_replace": [0, 1, 10**6],
    "num_shared_experts": [0, 1, 2],
    "partial_rotary_factor": [0.25, 0.5, 1.0, 1e-9],
    "quantization_config": [{"quant_method": "awq"}],
    "rope_scaling": [
        {"type": "dynamic", "factor": 2.0},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1e-300, "high_freq_factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "beta_fast": 1e-320, "beta_slow": 1e300},
        {"rope_type": "yarn", "factor": 1e6, "mscale": 1e-6, "mscale_all_dim": 1e6, "truncate": False},
        {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
    ],
    "rope_parameters": [{"full_attention": None}, {"full_attention": {"rope_type": "linear", "factor": 2}}],
    "layer_types": [["full_attention"], ["sliding_attention"] * 2, ["sliding_attention", 3], ["chunked_attention"] * 2],
    "tie_word_embeddings": [True, False],
    "attention_bias": [True],
    "sliding_window": [None, 1, 4],
    "use_sliding_window": [True],
    "text_config": [{}, [], None],
    "head_dim": [1, 2, 8, 10**9],
    "num_hidden_layers": [1, 3, 4096],
    "vocab_size": [1, 2**24, 319],
}  # fmt: skip

BOMBS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ 10**(10**10) }}",
    "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{{ '%1000000000d' % 3 }}{{ '{:1000000000}'.format(3) }}",
    "{{ 'a' | center(10**9) }}{{ 'a' | indent(10**9, true) }}",
    "{{ messages[0].content.__class__.__mro__ }}",
    "{% include 'tokenizer.json' %}",
    "{{ raise_exception('no') }}",
    "{% if true %}" * 500,
    "{{ " + "(" * 3000,
]

COMPONENTS: list[dict[str, Any]] = [
    {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40},
    {"type": "Replace", "pattern": {"Regex": "(a*)*$"}, "content": "b"},
    {"type": "Replace", "pattern": {"Regex": ""}, "content": "zz"},
    {"type": "Precompiled", "precompiled_charsmap": "AAAA////AAAAAAAAAAAAAAAA"},
    {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": "[" * 5000}, "behavior": "Isolated", "invert": True},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Strip", "content": "a", "start": 10**9, "stop": 10**9},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "BertProcessing", "sep": ["a", 2**32 - 1], "cls": ["b", 0]},
]


def mutate(files: Files, rng: random.Random) -> None:
    """Changes a checkpoint in one to three ways."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice(_MUTATORS)(files, rng)


def _pick(files: Files, rng: random.Random, suffix: str = "") -> str | None:
    names = sorted(name for name in files if name.endswith(suffix))
    return rng.choice(names) if names else None


def flip_bytes(files: Files, rng: random.Random) -> None:
    """Overwrites a few bytes, more often near the start, where headers are."""
    name = _pick(files, rng)
    if name is None or not files[name]:
        return
    data = bytearray(files[name])
    for _ in range(rng.choice([1, 1, 3, 20])):
        limit = min(len(data), rng.choice([8, 200, 10**9]))
        data[rng.randrange(limit)] = rng.choice([0, 0xFF, ord('"'), ord("["), ord("}"), rng.randrange(256)])
    files[name] = bytes(data)


def cut(files: Files, rng: random.Random) -> None:
    """Truncates, extends, removes or repeats a piece of a file."""
    name = _pick(files, rng)
    if name is None:
        return
    data = files[name]
    begin = rng.randrange(len(data) + 1)
    end = min(len(data), begin + rng.choice([1, 4, 8, 100, 10**6]))
    files[name] = rng.choice(
        [
            data[:begin],
            data[:begin] + data[end:],
            data[:end] + data[begin:],
            data + bytes(rng.choice([1, 8, 4096])),
            b"",
        ]
    )


def lose_file(files: Files, rng: random.Random) -> None:
    """Removes a file, or gives it the content of another."""
    name, other = _pick(files, rng), _pick(files, rng)
    if name is None or other is None:
        return
    if rng.random() < 0.5:
        del files[name]
    else:
        files[name] = files[other]


def change_header(files: Files, rng: random.Random) -> None:
    """Rewrites the header of a safetensors file with other dtypes, shapes, offsets or names."""
    name = _pick(files, rng, ".safetensors")
    header, data = _split_header(files.get(name or "", b""))
    if name is None or not header:
        return
    tensor = rng.choice(sorted(header))
    entry = header[tensor]
    kind = rng.randrange(8)
    if kind == 0:
        header[tensor] = rng.choice(WEIRD)
    elif kind == 1 and isinstance(entry, dict):
        entry["dtype"] = rng.choice(["F32", "F16", "BF16", "F64", "I8", "BOOL", "F4", "F8_E4M3", rng.choice(WEIRD)])
    elif kind == 2 and isinstance(entry, dict):
        entry["shape"] = rng.choice(
            [[], [0], [2**62, 4], [1] * 9, [-1], list(entry.get("shape", []))[::-1], rng.choice(WEIRD)]
        )
    elif kind == 3 and isinstance(entry, dict):
        other = header[rng.choice(sorted(header))]
        offsets = other.get("data_offsets") if isinstance(other, dict) else None
        entry["data_offsets"] = rng.choice(
            [offsets, [0, 4], [4, 0], [0, 2**63], [-4, 4], [2**64, 2**64], rng.choice(WEIRD)]
        )
    elif kind == 4:
        del header[tensor]
    elif kind == 5:
        header[rng.choice(["", "x", tensor + ".bias", "\ud800", "lm_head.weight"])] = header.pop(tensor)
    elif kind == 6:
        header["__metadata__"] = rng.choice(WEIRD)
    else:
        _change_json(header, rng)
    files[name] = _join_header(header, data, rng)


def _split_header(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except _BROKEN:
        return {}, b""
    return (header, data[8 + length :]) if isinstance(header, dict) else ({}, b"")


def _join_header(header: dict[str, Any], data: bytes, rng: random.Random) -> bytes:
    text = json.dumps(header).encode() + b" " * rng.choice([0, 0, 0, 1, 7])
    length = len(text)
    if rng.random() < 0.1:
        length = rng.choice([0, 1, length - 1, length + 1, 10**8 + 1, 2**63, 2**64 - 1])
    return (length % 2**64).to_bytes(8, "little") + text + data


def fill_weights(files: Files, rng: random.Random) -> None:
    """Makes weights NaN, infinite or denormal."""
    name = _pick(files, rng, ".safetensors")
    header, data = _split_header(files.get(name or "", b""))
    if name is None or not header:
        return
    pattern = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x80\x7f", b"\x01\x00\x00\x00", b"\x00\x00\xc0\x7f"])
    begin = rng.randrange(len(data) + 1) // 4 * 4
    end = min(len(data), begin + 4 * rng.choice([1, 100, 10**6]))
    data = data[:begin] + pattern * ((end - begin) // 4) + data[end:]
    files[name] = _join_header(header, data[: max(len(data), end)], random.Random(0))


def _change_json(root: Any, rng: random.Random) -> None:
    """Replaces, removes or repeats one value somewhere inside a JSON value."""
    node = root
    while isinstance(node, (dict, list)) and node:
        key: Any = rng.choice(sorted(node)) if isinstance(node, dict) else rng.randrange(len(node))
        child = node[key]
        if isinstance(child, (dict, list)) and child and rng.random() < 0.6:
            node = child
            continue
        kind = rng.randrange(4)
        if kind == 0:
            del node[key]
        elif kind == 1 and isinstance(node, list):
            node.extend([child] * rng.choice([1, 5, 2000]))
        elif kind == 1:
            node[f"{key}_"] = child
        else:
            node[key] = rng.choice(WEIRD)
        return


def change_settings(files: Files, rng: random.Random) -> None:
    """Changes something in one of the JSON files."""
    name = _pick(files, rng, ".json")
    if name is None:
        return
    try:
        content = json.loads(files[name])
    except _BROKEN:
        return
    _change_json(content, rng)
    files[name] = json.dumps(content).encode()


def change_config(files: Files, rng: random.Random) -> None:
    """Sets a field of config.json to another known or strange value."""
    try:
        content = json.loads(files["config.json"])
    except _BROKEN:
        return
    if not isinstance(content, dict) or not content:
        return
    for _ in range(rng.choice([1, 1, 2])):
        if rng.random() < 0.5:
            name = rng.choice(sorted(FEATURES))
            content[name] = rng.choice(FEATURES[name])
        else:
            content[rng.choice(sorted(content))] = rng.choice(WEIRD)
    files["config.json"] = json.dumps(content).encode()


def nest(files: Files, rng: random.Random) -> None:
    """Nests JSON deeply, repeats a key, or writes a very long number."""
    name = _pick(files, rng, ".json")
    if name is None:
        return
    depth = rng.choice([10, 100, 100_000])
    bombs = [
        b"[" * depth,
        b'{"a":' * depth,
        b"[" * depth + b"]" * depth,
        b'{"a":1,"a":2}',
        b"9" * 6000,
        b"[" + b"0," * 50_000 + b"0]",
    ]
    bomb = rng.choice(bombs)
    files[name] = bomb if rng.random() < 0.5 else files[name].replace(b"{", b'{"nested":' + bomb + b",", 1)


def bomb_template(files: Files, rng: random.Random) -> None:
    """Gives the checkpoint a hostile or a damaged chat template."""
    try:
        content = json.loads(files["tokenizer_config.json"])
        template = content["chat_template"]
    except _BROKEN:
        return
    if rng.random() < 0.5 or not isinstance(template, str) or not template:
        template = rng.choice(BOMBS)
    else:
        begin = rng.randrange(len(template))
        piece = rng.choice(["{%", "%}", "{{", "}}", "|", "(", "'", "not", "[::-1]", "~", "is", "**", ""])
        template = template[:begin] + piece + template[begin + rng.randrange(8) :]
    if rng.random() < 0.3:
        files["chat_template.jinja"] = template.encode("utf-8", "replace")
    content["chat_template"] = template
    files["tokenizer_config.json"] = json.dumps(content).encode()


def bomb_tokenizer(files: Files, rng: random.Random) -> None:
    """Gives the tokenizer a hostile component or inconsistent tables."""
    try:
        content = json.loads(files["tokenizer.json"])
        model = content["model"]
        kind = rng.randrange(6)
        if kind <= 2:
            content[rng.choice(["normalizer", "pre_tokenizer", "decoder", "post_processor"])] = rng.choice(COMPONENTS)
        elif kind == 3:
            token = rng.choice(sorted(model["vocab"]))
            model["vocab"][token] = rng.choice([0, 2**32 - 1, -1, 1.5, rng.choice(WEIRD)])
        elif kind == 4:
            model["merges"].append(rng.choice([["a", "b"], ["zz", "q"], "a b", "ab", [1, 2], ["a"], rng.choice(WEIRD)]))
        else:
            content["added_tokens"].append(
                {**content["added_tokens"][0], "id": 2**32 - 1, "content": rng.choice(["", "q", "é"])}
            )
    except _BROKEN:
        return
    files["tokenizer.json"] = json.dumps(content).encode()


def change_index(files: Files, rng: random.Random) -> None:
    """Makes the index of a sharded checkpoint disagree with its shards."""
    name = "model.safetensors.index.json"
    try:
        index = json.loads(files[name])
        tensor = rng.choice(sorted(index["weight_map"]))
    except _BROKEN:
        return
    homes = sorted(set(files))
    places = [
        "../model.safetensors",
        "/dev/zero.safetensors",
        "x.safetensors",
        "",
        rng.choice(homes),
        rng.choice(WEIRD),
    ]
    if rng.random() < 0.3:
        del index["weight_map"][tensor]
    else:
        index["weight_map"][rng.choice([tensor, "extra"])] = rng.choice(places)
    files[name] = json.dumps(index).encode()


_MUTATORS: list[Callable[[Files, random.Random], None]] = [
    flip_bytes, cut, lose_file, change_header, change_header, fill_weights, change_settings, change_settings,
    change_config, change_config, nest, bomb_template, bomb_tokenizer, change_index,
]  # fmt: skip
