"""The options of a generate() call: `fs.GenerationConfig`, and how the four sources of a value merge."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foresight._warn import warn_caller
from foresight.generation_fields import ARGUMENTS, FIELDS

__all__ = ["GenerationConfig", "Settings", "reject_unknown", "resolve", "without_history"]

CALL, CONFIG, FILE, LIBRARY = (
    "the call",
    "generation_config",
    "the checkpoint's generation_config.json",
    "the library's defaults",
)

_SAMPLING_ONLY = (
    *("temperature", "top_h", "top_k", "top_p", "min_p"),
    *("typical_p", "epsilon_cutoff", "eta_cutoff"),
)
_OUTPUTS = ("output_scores", "output_logits", "output_logprobs")


class GenerationConfig:
    """Fields of transformers.GenerationConfig, without transformers; `None` means "not set here".

    Values are checked when they are set: an unknown name raises ValueError naming close matches, a value
    of the wrong kind ValueError, a field that is not supported NotImplementedError with the reason.
    """

    def __init__(self, **fields: Any) -> None:
        self.__dict__["_values"] = {}
        self.update(**fields)

    def update(self, **fields: Any) -> None:
        """Sets fields, all or none of them."""
        reject_unknown(fields, where="GenerationConfig")
        for name, value in fields.items():
            _check(name, value, CONFIG)
        self._values.update(fields)

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name, value in self._values.items() if value is not None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> GenerationConfig:
        """A config with these fields."""
        return cls(**fields)

    @property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = self.__dict__["_values"]
        return values

    def __getattr__(self, name: str) -> Any:
        if name not in FIELDS:
            raise AttributeError(f"GenerationConfig has no field {name!r}{_suggestion(name, FIELDS)}")
        return self._values.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.update(**{name: value})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items())
        return f"GenerationConfig({fields})"

    def __reduce__(self) -> tuple[Any, ...]:
        return GenerationConfig.from_dict, (self.to_dict(),)


@dataclass(frozen=True)
class Settings:
    """The value of every field, and which source it came from."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def from_caller(self, name: str) -> bool:
        """Whether the call or its generation_config set the field."""
        return self.origins[name] in (CALL, CONFIG)


def resolve(
    kwargs: Mapping[str, Any],
    generation_config: Any = None,
    file_defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Merges call, generation_config, the checkpoint's generation_config.json and the library's defaults.

    As in transformers, `None` in a config means "not set"; `None` in the call switches the field off.
    generation_config: fs.GenerationConfig, a mapping, or transformers' object. Unknown names in the
    checkpoint's file are left out. Raises ValueError and NotImplementedError naming field, value and
    source, TypeError for a generation_config of another kind.
    """
    values = {name: field.default for name, field in FIELDS.items()}
    origins = dict.fromkeys(values, LIBRARY)
    given = _config_dict(generation_config)
    reject_unknown(given, where="generation_config")
    reject_unknown(kwargs, where="generate()")
    for source, fields in ((FILE, file_defaults or {}), (CONFIG, given), (CALL, kwargs)):
        for name, value in fields.items():
            if source == FILE and (name not in FIELDS or FIELDS[name].inert_in_files):
                continue
            if value is not None or source == CALL:
                values[name], origins[name] = value, source
    for name, value in values.items():
        _check(name, value, origins[name])
    settings = Settings(values, origins)
    _check_combinations(settings)
    return settings


def without_history(settings: Settings) -> Settings:
    """The settings for strategies that fill masks in place.

    Raises NotImplementedError for a field that the caller has set and that does not act there; what only
    the checkpoint's file sets is switched off, with a warning.
    """
    values = dict(settings.values)
    dropped = []
    for name, field in FIELDS.items():
        if field.canvas is None or field.is_neutral(values[name]):
            continue
        if settings.from_caller(name):
            raise NotImplementedError(f"{name}={values[name]!r} with a strategy that fills masks: {field.canvas}")
        values[name] = field.default
        dropped.append(name)
    if dropped:
        warn_caller(f"{FILE} sets {', '.join(dropped)}, which do not act where masks are filled in")
    return Settings(values, settings.origins)


def reject_unknown(names: Iterable[str], where: str) -> None:
    """Raises ValueError for a name that is no field, with the closest ones."""
    for name in names:
        if name not in FIELDS:
            known = (*FIELDS, *ARGUMENTS, *_CALL_ARGUMENTS)
            raise ValueError(f"{where} has no argument {name!r}{_suggestion(name, known)}")


_CALL_ARGUMENTS = (
    *("input_ids", "attention_mask", "generation_config", "decoding", "seed", "tokenizer"),
    *("negative_prompt_ids", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "streamer"),
    *("assistant_model", "assistant_tokenizer"),
)


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"; close names: {', '.join(close)}" if close else ""


def _config_dict(config: Any) -> dict[str, Any]:
    """The set fields of a generation_config of any kind."""
    if config is None:
        return {}
    if isinstance(config, GenerationConfig):
        return config.to_dict()
    if isinstance(config, Mapping):
        return dict(config)
    # transformers' object: to_diff_dict leaves out what its class sets by itself.
    to_dict = getattr(config, "to_diff_dict", None) or getattr(config, "to_dict", None)
    if not callable(to_dict):
        raise TypeError(
            "generation_config must be fs.GenerationConfig, a dict or transformers.GenerationConfig,"
            f" got {type(config).__name__}"
        )
    return {name: value for name, value in _pairs(to_dict()) if value is not None}


def _pairs(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields of transformers' object, without the tensors that it adds to itself while generating."""
    return ((name, value) for name, value in fields.items() if name in FIELDS or not name.startswith("_"))


def _check(name: str, value: Any, origin: str) -> None:
    field = FIELDS[name]
    if field.effect == "raises" and not field.is_neutral(value):
        remedy = ""
        if origin == FILE:
            remedy = f"; pass {name}={field.neutral[0] if field.neutral else None!r} to do without"
        raise NotImplementedError(f"{name}={value!r}, set by {origin}: {field.how}{remedy}")
    if field.check is not None and value is not None:
        expected = field.check(value)
        if expected is not None:
            raise ValueError(f"{name} is {value!r}, set by {origin}; expected {expected}")


def _check_combinations(settings: Settings) -> None:
    if settings["num_return_sequences"] not in (None, 1) and not settings["do_sample"]:
        raise ValueError(
            f"num_return_sequences is {settings['num_return_sequences']}, but greedy decoding gives the same"
            " sequence each time: set do_sample=True"
        )
    for name in _OUTPUTS:
        wanted = settings[name] not in (None, False)
        if wanted and not settings["return_dict_in_generate"]:
            raise ValueError(f"{name} needs return_dict_in_generate=True, or it could not be returned")
    suppressed = set(settings["suppress_tokens"] or ())
    for name in ("forced_bos_token_id", "forced_eos_token_id"):
        forced = token_ids(settings[name])
        if forced and suppressed.issuperset(forced):
            raise ValueError(f"every token of {name}, {forced}, is also in suppress_tokens: nothing could follow")
    if settings["max_new_tokens"] is not None and settings.from_caller("max_length"):
        warn_caller("both max_new_tokens and max_length are set: max_new_tokens takes precedence")
    if not settings["do_sample"]:
        unused = [
            name
            for name in _SAMPLING_ONLY
            if settings.from_caller(name) and not FIELDS[name].is_neutral(settings[name])
        ]
        if unused:
            warn_caller(f"{', '.join(unused)} only act with do_sample=True, which is not set")


def token_ids(value: Any) -> list[int]:
    """A field that holds one id, several or none, as a list; negative ids mean none."""
    if value is None:
        return []
    ids = list(value) if hasattr(value, "__iter__") else [value]
    return list(dict.fromkeys(int(i) for i in ids if int(i) >= 0))
