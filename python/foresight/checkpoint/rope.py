"""Rotary position embeddings: what config.json says about them, and the inverse frequencies that follow.

Formulas and defaults are those of transformers' `modeling_rope_utils`: linear (position interpolation), dynamic (NTK,
the base grows with the length), llama3 (by wavelength bands) and yarn (Peng et al. 2023, arXiv 2309.00071).
The powers are taken in float64 and rounded once, everything after them in float32 as the reference does, so that the
values agree to the last bit or the one before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foresight.checkpoint.fields import Fields

Floats = npt.NDArray[np.float32]

__all__ = ["ROPE_TYPES", "RopeConfig", "inverse_frequencies", "parse_rope"]

_TINY, _LARGE = 1e-6, 1e6  # bounds of every factor, so that nothing overflows float32
ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn")


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """The rotary embedding of one layer type; a field that its `type` does not use keeps its default."""

    theta: float = 10000.0
    type: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    original_max_position_embeddings: int = 0  # dynamic, llama3, yarn
    attention_factor: float | None = None  # yarn; None: from the factor and the mscales
    beta_fast: float = 32.0  # yarn
    beta_slow: float = 1.0  # yarn
    mscale: float | None = None  # yarn
    mscale_all_dim: float | None = None  # yarn
    truncate: bool = True  # yarn
    partial_rotary_factor: float = 1.0


def parse_rope(
    fields: Fields,
    *,
    default_theta: float,
    max_position_embeddings: int,
    original_max_position_embeddings: int | None = None,
) -> RopeConfig:
    """The rotary embedding that one `rope_scaling` or `rope_parameters` object describes.

    `default_theta` holds where the object has no `rope_theta`; `original_max_position_embeddings` is config.json's
    field of that name, which goes before the object's own. Raises CheckpointError for values out of range and
    NotImplementedError for a type that is not built.
    """
    # "type" is the older spelling of "rope_type".
    kind = fields.text("rope_type", fields.text("type", "default"))
    if kind not in ROPE_TYPES:
        raise NotImplementedError(
            f"{fields.source}: rotary scaling of type {kind!r} is not supported; supported are {', '.join(ROPE_TYPES)}"
        )
    partial = fields.number("partial_rotary_factor", 1.0)
    theta = fields.number("rope_theta", default_theta, above=1.0)
    if kind == "default":
        return RopeConfig(theta=theta, partial_rotary_factor=partial)
    if partial != 1.0:
        raise NotImplementedError(
            f"{fields.source}: rotary scaling of type {kind!r} with partial_rotary_factor {partial} is not supported"
        )
    if kind == "yarn":
        return _parse_yarn(fields, theta, max_position_embeddings, original_max_position_embeddings)
    factor = fields.number("factor", above=_TINY, maximum=_LARGE)
    if kind == "linear":
        return RopeConfig(theta=theta, type=kind, factor=factor)
    if kind == "dynamic":
        return RopeConfig(
            theta=theta,
            type=kind,
            factor=factor,
            original_max_position_embeddings=max_position_embeddings,
        )
    low = fields.number("low_freq_factor", above=_TINY, maximum=_LARGE)
    high = fields.number("high_freq_factor", above=_TINY, maximum=_LARGE)
    if high <= low:
        raise fields.error("high_freq_factor", f"a number greater than low_freq_factor, {low:g}")
    return RopeConfig(
        theta=theta,
        type=kind,
        factor=factor,
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_position_embeddings=original_max_position_embeddings
        or fields.integer("original_max_position_embeddings", max_position_embeddings),
    )


def _parse_yarn(
    fields: Fields, theta: float, max_position_embeddings: int, original_max_position_embeddings: int | None
) -> RopeConfig:
    original = original_max_position_embeddings or fields.integer(
        "original_max_position_embeddings", max_position_embeddings
    )
    return RopeConfig(
        theta=theta,
        type="yarn",
        factor=fields.number("factor", max_position_embeddings / original, above=_TINY, maximum=_LARGE),
        original_max_position_embeddings=original,
        attention_factor=fields.optional_number("attention_factor", maximum=_LARGE),
        beta_fast=_nonzero(fields, "beta_fast") or 32.0,
        beta_slow=_nonzero(fields, "beta_slow") or 1.0,
        mscale=_nonzero(fields, "mscale"),
        mscale_all_dim=_nonzero(fields, "mscale_all_dim"),
        truncate=fields.flag("truncate", True),
    )


def _nonzero(fields: Fields, name: str) -> float | None:
    """A positive number; zero means "not given", as it does to transformers."""
    return None if fields.raw.get(name) == 0 else fields.optional_number(name, above=_TINY, maximum=_LARGE)


def inverse_frequencies(rope: RopeConfig, head_dim: int, seq_len: int | None = None) -> tuple[Floats, float]:
    """The head_dim / 2 inverse frequencies, and the factor on cosines and sines.

    `seq_len` is the number of positions that the request may reach; only the dynamic type depends on it, and only
    beyond the original length. Raises ValueError for a head_dim that cannot be rotated.
    """
    if head_dim < 2 or head_dim % 2 or (rope.type == "dynamic" and head_dim == 2):
        raise ValueError(f"head_dim is {head_dim}, expected an even number (above 2 for dynamic scaling)")
    if rope.type == "dynamic":
        return _reciprocal(_powers(_dynamic_theta(rope, head_dim, seq_len), head_dim)), 1.0
    powers = _powers(rope.theta, head_dim)
    frequencies = _reciprocal(powers)
    if rope.type == "linear":
        frequencies = frequencies / np.float32(rope.factor)
    elif rope.type == "llama3":
        frequencies = _llama3(rope, frequencies)
    elif rope.type == "yarn":
        return _yarn(rope, head_dim, powers), _yarn_attention_factor(rope)
    return frequencies, 1.0


def _powers(theta: float, head_dim: int) -> Floats:
    """theta ** (2 i / head_dim) for i = 0 .. head_dim / 2 - 1."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    powers: Floats = np.power(np.float64(np.float32(theta)), exponents.astype(np.float64)).astype(np.float32)
    return powers


def _reciprocal(powers: Floats) -> Floats:
    frequencies: Floats = np.float32(1.0) / powers
    return frequencies


def _dynamic_theta(rope: RopeConfig, head_dim: int, seq_len: int | None) -> float:
    original = rope.original_max_position_embeddings
    length = max(seq_len or original, original)
    stretch = (rope.factor * length / original) - (rope.factor - 1.0)
    return min(float(rope.theta * stretch ** (head_dim / (head_dim - 2))), 1e38)


def _llama3(rope: RopeConfig, frequencies: Floats) -> Floats:
    """Long wavelengths are divided by the factor, short ones kept, those between are blended."""
    one, factor = np.float32(1.0), np.float32(rope.factor)
    original = rope.original_max_position_embeddings
    wavelengths = np.float32(2.0 * math.pi) / frequencies
    scaled = np.where(wavelengths > np.float32(original / rope.low_freq_factor), frequencies / factor, frequencies)
    blend = np.float32(original) / wavelengths - np.float32(rope.low_freq_factor)
    blend = blend / np.float32(rope.high_freq_factor - rope.low_freq_factor)
    blended = (one - blend) * scaled / factor + blend * scaled
    between = (wavelengths >= np.float32(original / rope.high_freq_factor)) & (
        wavelengths <= np.float32(original / rope.low_freq_factor)
    )
    return np.where(between, blended, scaled).astype(np.float32)


def _yarn(rope: RopeConfig, head_dim: int, powers: Floats) -> Floats:
    """Dimensions that turn fast keep their frequency, slow ones are interpolated, a ramp lies between."""
    low = _yarn_dimension(rope, head_dim, rope.beta_fast)
    high = _yarn_dimension(rope, head_dim, rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001
    one = np.float32(1.0)
    ramp = (np.arange(head_dim // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    kept = one - np.clip(ramp, np.float32(0.0), one)
    interpolated = one / (np.float32(rope.factor) * powers)
    frequencies: Floats = interpolated * (one - kept) + _reciprocal(powers) * kept
    return frequencies


def _yarn_dimension(rope: RopeConfig, head_dim: int, rotations: float) -> float:
    """The dimension that makes this many rotations within the original length."""
    turns = rope.original_max_position_embeddings / (rotations * 2 * math.pi)
    return (head_dim * math.log(turns)) / (2 * math.log(rope.theta))


def _yarn_attention_factor(rope: RopeConfig) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale is not None and rope.mscale_all_dim is not None:
        return _mscale(rope.factor, rope.mscale) / _mscale(rope.factor, rope.mscale_all_dim)
    return _mscale(rope.factor, 1.0)


def _mscale(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1.0 else 0.1 * weight * math.log(factor) + 1.0
