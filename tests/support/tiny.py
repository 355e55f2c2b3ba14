"""Tiny random checkpoints of every supported family, written in the real format by transformers.

`make_tiny` saves a model of a few thousand weights through `save_pretrained`; `config_style="v4"` then rewrites
config.json the way transformers 4.x spelled it (`rope_theta`, `rope_scaling`, `torch_dtype`, `sliding_window_pattern`).
The weights are scaled so that logits differ clearly from token to token, and every norm and bias is non-trivial.
`tiny_tokenizer` writes a byte-level BPE tokenizer.json, tokenizer_config.json and a chat template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma3"]

# What a variant changes in the family's configuration, in transformers 5 spelling.
_VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "llama": {
        "default": {},
        "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
        "dynamic": {
            "max_position_embeddings": 32,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
        },
        "llama3": {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
        "yarn": {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        "tied": {"tie_word_embeddings": True},
        "biased": {"attention_bias": True, "mlp_bias": True},
        "multi_head": {"num_key_value_heads": 4},
        "multi_query": {"num_key_value_heads": 1},
    },
    "mistral": {
        "default": {"sliding_window": None},
        "sliding": {"sliding_window": 7},
        "wide_heads": {"sliding_window": None, "head_dim": 32},
    },
    "qwen2": {
        "default": {},
        "tied": {"tie_word_embeddings": True},
        "sliding": {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
        "yarn": {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1000000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    },
    "qwen3": {
        "default": {},
        "tied": {"tie_word_embeddings": True},
        "biased": {"attention_bias": True},
        "sliding": {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    },
    "gemma3": {
        "default": {},
        "linear": {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            }
        },
        "untied": {"tie_word_embeddings": False},
        "biased": {"attention_bias": True},
        "vision": {},
    },
}

# Every (family, variant) pair, for pytest.mark.parametrize.
VARIANTS: list[tuple[str, str]] = [(family, name) for family, table in _VARIANTS.items() for name in table]

_BASE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}

_FAMILY_BASE: dict[str, dict[str, Any]] = {
    "llama": {"rms_norm_eps": 1e-5},
    "mistral": {"rms_norm_eps": 1e-5},
    "qwen2": {},
    "qwen3": {"head_dim": 32},
    "gemma3": {
        "head_dim": 32,
        "num_hidden_layers": 4,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 24,
        "tie_word_embeddings": True,
    },
}


def make_tiny(
    directory: str | Path,
    family: str,
    *,
    variant: str = "default",
    dtype: str = "float32",
    sharded: bool = False,
    config_style: str = "v5",
    seed: int = 0,
    **config_overrides: Any,
) -> Path:
    """Writes a tiny random checkpoint of `family` into `directory` and returns the folder.

    `variant` names an entry of VARIANTS; `config_overrides` are further fields of the transformers configuration.
    `sharded` splits the weights into several files with an index; `config_style` is "v5" or "v4".
    """
    if family not in _VARIANTS or variant not in _VARIANTS[family]:
        raise ValueError(f"no tiny checkpoint ({family!r}, {variant!r}); known: {VARIANTS}")
    if config_style not in ("v4", "v5"):
        raise ValueError(f"config_style must be 'v4' or 'v5', found {config_style!r}")
    import torch

    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {**_BASE, **_FAMILY_BASE[family], **_VARIANTS[family][variant], **config_overrides}
    fields["rope_parameters"] = json.loads(json.dumps(fields.get("rope_parameters")))
    model = _build(family, variant, fields, seed)
    model = model.to(getattr(torch, dtype)).eval()
    with _quietly():
        model.save_pretrained(folder, max_shard_size="60KB" if sharded else "1GB")
    if config_style == "v4":
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(_as_v4(config), indent=2), encoding="utf-8")
    return folder


@contextmanager
def _quietly() -> Iterator[None]:
    """No progress bars on the way."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _build(family: str, variant: str, fields: dict[str, Any], seed: int) -> Any:
    import torch
    import transformers as hf

    classes = {
        "llama": (hf.LlamaConfig, hf.LlamaForCausalLM),
        "mistral": (hf.MistralConfig, hf.MistralForCausalLM),
        "qwen2": (hf.Qwen2Config, hf.Qwen2ForCausalLM),
        "qwen3": (hf.Qwen3Config, hf.Qwen3ForCausalLM),
        "gemma3": (hf.Gemma3TextConfig, hf.Gemma3ForCausalLM),
    }
    config_class, model_class = classes[family]
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        if variant == "vision":
            vision = {
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 16,
                "patch_size": 8,
                "model_type": "siglip_vision_model",
            }
            fields = {key: value for key, value in fields.items() if value is not None}
            config = hf.Gemma3Config(
                text_config=fields, vision_config=vision, mm_tokens_per_image=4, image_token_index=319
            )
            model = hf.Gemma3ForConditionalGeneration(config)
        else:
            model = model_class(config_class(**fields))
        _randomise(model, seed)
    finally:
        torch.random.set_rng_state(state)
    return model


def _randomise(model: Any, seed: int) -> None:
    """Fills every parameter so that the scale of activations and the spread of logits are healthy."""
    import torch

    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 1 and "norm" in name:
                centre = 0.0 if "gemma" in model.config.model_type else 1.0
                weight.copy_(centre + 0.2 * noise)
            elif weight.ndim == 1:
                weight.copy_(0.2 * noise)
            elif "embed" in name:
                # Tied and too large, an embedding would make every model echo its last token.
                weight.copy_((0.15 if model.config.tie_word_embeddings else 0.5) * noise)
            else:
                weight.copy_(noise * 1.2 / weight.shape[-1] ** 0.5)


def _as_v4(config: dict[str, Any]) -> dict[str, Any]:
    """config.json as transformers 4.x wrote it: flat rope fields, torch_dtype, no layer_types."""
    old = dict(config)
    if "text_config" in old:
        old["text_config"] = _as_v4(old["text_config"])
    if "dtype" in old:
        old["torch_dtype"] = old.pop("dtype")
    old["transformers_version"] = "4.45.0"
    rope = old.pop("rope_parameters", None)
    layer_types = old.pop("layer_types", None)
    if old.pop("_sliding_window_pattern", None) and layer_types:
        old["sliding_window_pattern"] = layer_types.index("full_attention") + 1
    if rope and "full_attention" in rope:
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    if rope:
        old["rope_theta"] = rope.pop("rope_theta", 10000.0)
        old["rope_scaling"] = None if rope.get("rope_type") == "default" else _v4_scaling(rope)
    return old


def _v4_scaling(rope: dict[str, Any]) -> dict[str, Any]:
    """`rope_scaling` as 4.x spelled it: "type" in its first year (dynamic here stands for that), "rope_type" since."""
    kind = rope.pop("rope_type")
    return {"type" if kind == "dynamic" else "rope_type": kind, **rope}


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{{ message['content'] }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_tokenizer(directory: str | Path) -> Path:
    """Writes a byte-level BPE tokenizer (tokenizer.json, tokenizer_config.json with a chat template) and returns the
    folder. Ids 0..3 are <pad>, <s>, </s>, <mask>; then 256 bytes; then a few merges, 320 tokens at most."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>", "<mask>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = ["the cat sat on the mat and the dog sat in the house", "one two three four five six seven eight nine ten"]
    tokenizer.train_from_iterator(corpus * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "model_max_length": 256,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return folder
