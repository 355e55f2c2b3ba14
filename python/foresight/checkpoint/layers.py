"""What differs from layer to layer: sliding windows, and the rotary embeddings that go with them."""

from __future__ import annotations

from foresight.checkpoint.family import Family
from foresight.checkpoint.fields import Fields, shown
from foresight.checkpoint.rope import RopeConfig, parse_rope

__all__ = ["FULL", "SLIDING", "parse_layers", "parse_ropes"]

FULL, SLIDING = "full_attention", "sliding_attention"


def parse_layers(fields: Fields, family: Family, num_layers: int) -> tuple[int | None, tuple[str, ...]]:
    """The sliding window and the type of each layer."""
    window = fields.optional_integer("sliding_window") if "sliding_window" in fields.raw else 4096
    if family.sliding == "none" or (family.sliding == "switch" and not fields.flag("use_sliding_window", False)):
        window = None
    if family.sliding == "switch":
        first = fields.integer("max_window_layers", 28, minimum=0)
        derived = [SLIDING if window is not None and i >= first else FULL for i in range(num_layers)]
    elif family.sliding == "pattern":
        pattern = fields.integer("sliding_window_pattern", 6)
        derived = [SLIDING if (i + 1) % pattern else FULL for i in range(num_layers)]
    else:
        derived = [FULL if window is None else SLIDING] * num_layers
    types = tuple(derived)
    if fields.has("layer_types"):
        stated = _layer_types(fields, num_layers)
        if family.sliding in ("none", "all") and stated != types:
            raise NotImplementedError(f"{fields.source}: layer_types that differ are not part of {family.name}")
        types = stated
    if SLIDING not in types:
        return None, types
    if window is None:
        raise fields.error("sliding_window", "a window, as there are sliding layers")
    return window, types


def _layer_types(fields: Fields, num_layers: int) -> tuple[str, ...]:
    value = fields.raw["layer_types"]
    if not isinstance(value, list) or len(value) != num_layers or not all(isinstance(v, str) for v in value):
        raise fields.error("layer_types", f"a list of {num_layers} strings")
    types = tuple(FULL if v == "attention" else v for v in value)
    for name in types:
        if name not in (FULL, SLIDING):
            raise NotImplementedError(f"{fields.source}: layers of type {shown(name)} are not supported")
    return types


def parse_ropes(
    fields: Fields, family: Family, layer_types: tuple[str, ...], max_positions: int, head_dim: int
) -> dict[str, RopeConfig]:
    """The rotary embedding of each type of layer that there is."""
    name = "rope_scaling" if fields.raw.get("rope_scaling") else "rope_parameters"
    given = fields.child(name)
    inherited = {"partial_rotary_factor": fields.raw.get("partial_rotary_factor", family.partial_rotary_factor)}
    original = fields.optional_integer("original_max_position_embeddings")
    nested = any(key in given.raw for key in (FULL, SLIDING))
    ropes = {}
    for kind in sorted(set(layer_types)):
        local = family.name == "gemma3" and kind == SLIDING
        theta_field = "rope_local_base_freq" if local else "rope_theta"
        theta = fields.number(theta_field, family.local_theta if local else family.theta, above=1.0)
        if nested:
            if kind not in given.raw and family.name != "gemma3":
                raise given.error(kind, "an object, as there are layers of this type")
            own = given.child(kind)
        else:
            own = Fields({} if local else given.raw, given.source, given.where)
        own = Fields({**inherited, **own.raw}, own.source, own.where)
        ropes[kind] = parse_rope(
            own,
            default_theta=theta,
            max_position_embeddings=max_positions,
            original_max_position_embeddings=None if nested else original,
        )
        if ropes[kind].partial_rotary_factor != 1.0 and family.partial_rotary_factor is None:
            raise NotImplementedError(
                f"{fields.source}: partial_rotary_factor {ropes[kind].partial_rotary_factor} is not supported,"
                f" only 1.0, as this is {family.name}"
            )
        if ropes[kind].type == "dynamic" and head_dim == 2:
            raise fields.error("head_dim", "a head_dim above 2, as dynamic rotary scaling divides by head_dim - 2")
    return ropes
