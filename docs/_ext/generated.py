"""What the reference pages take out of the code, as reStructuredText. Needs no Sphinx, so that tests can ask it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from scrapy_sessions.cookies import REFUSAL_REASONS
from scrapy_sessions.models import Cookie, Metrics, PersistentSession, Profile
from scrapy_sessions.settings import PoolOptions, SessionsSettings, setting_name

__all__ = ["MODELS", "descriptions", "field_list", "reason_list", "setting_list", "type_text"]

MODELS: Mapping[str, type[BaseModel]] = {
    model.__name__: model for model in (Cookie, Metrics, PersistentSession, PoolOptions, Profile)
}
"""The models, apart from the settings themselves, whose fields the reference pages list."""

_PARAM = re.compile(r"^:param (\w+): (.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)
# What may be an import path or the thing itself is declared as anything.
_NAMES = {Any: "str or class", JsonValue: "JSON"}
_BOUNDS = {"ge": "at least {}", "gt": "more than {}", "min_length": "not empty"}


def setting_list() -> list[str]:
    """Every setting: name, type, default, description."""
    lines: list[str] = []
    for field, info in SessionsSettings.model_fields.items():
        if not info.description:
            raise LookupError(f"The setting {setting_name(field)} has no description")
        lines += [
            f".. setting:: {setting_name(field)}",
            "",
            setting_name(field),
            "-" * len(setting_name(field)),
            "",
            f"Default: ``{info.default!r}``",
            "",
            f"Type: {type_text(info)}",
            "",
            info.description,
            "",
        ]
    return lines


def field_list(model: type[BaseModel], told: Mapping[str, str] | None = None) -> list[str]:
    """Every field of *model*: name, type, description.

    The description is that of the field, else of the model's docstring, else what *told* says. Raises
    :exc:`LookupError` for a field without one, and for one told of that isn't there.
    """
    known = descriptions(model)
    for name in told or {}:
        if name not in model.model_fields:
            raise LookupError(f"{model.__name__} has no field {name!r}")
    lines: list[str] = []
    for field, info in model.model_fields.items():
        text = known.get(field) or (told or {}).get(field)
        if not text:
            raise LookupError(f"The field {field!r} of {model.__name__} has no description")
        lines += [f"``{field}`` ({type_text(info)})", f"    {text[0].upper()}{text[1:].removesuffix('.')}.", ""]
    return lines


def reason_list() -> list[str]:
    """Every reason for which a jar refuses a cookie, with its stat."""
    lines: list[str] = []
    for reason, meaning in sorted(REFUSAL_REASONS.items()):
        name = f"sessions/cookies/refused/{reason}"
        lines += [f".. stat:: {name}", "", f"``{name}``", f"    A cookie was refused: {meaning}.", ""]
    return lines


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What *model* itself says of its fields: in the fields, or as ``:param`` in its docstring."""
    found = {name: " ".join(text.split()) for name, text in _PARAM.findall(_dedented(model.__doc__ or ""))}
    found.update({name: info.description for name, info in model.model_fields.items() if info.description})
    return found


def type_text(info: FieldInfo) -> str:
    """The type of a field in words, with its bounds: ``list of str, not empty``."""
    text, bounds = _type(info.annotation)
    return ", ".join([text, *_bounds(info.metadata), *bounds])


def _type(annotation: Any) -> tuple[str, list[str]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        text, bounds = _type(arguments[0])
        return text, [*_bounds(arguments[1:]), *bounds]
    if origin in {Union, UnionType}:
        parts = [_type(argument) for argument in arguments if argument is not NoneType]
        words = [text for text, _ in parts] + ["``None``"] * (NoneType in arguments)
        return " or ".join(words), [bound for _, bounds in parts for bound in bounds]
    if origin is list:
        return f"list of {_type(arguments[0])[0]}", []
    if origin is dict:
        value = "dict" if _is_model(arguments[1]) else _type(arguments[1])[0]
        return f"dict of {_type(arguments[0])[0]} to {value}", []
    if origin is Literal:
        return " or ".join(f"``{value!r}``" for value in arguments), []
    return _NAMES.get(annotation) or annotation.__name__, []


def _bounds(metadata: Any) -> Iterator[str]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from _bounds(entry.metadata)
        for name, words in _BOUNDS.items():
            value = getattr(entry, name, None)
            if value is not None:
                yield words.format(value)


def _is_model(annotation: Any) -> bool:
    return get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _dedented(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())
