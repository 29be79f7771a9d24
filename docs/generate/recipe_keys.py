"""Every key of a recipe, from the models that read one."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pmd_agent.recipe import Recipe
from pmd_agent.recipe.keys import section_of, variants_of

SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
PLAIN = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "path"}


def recipe_page() -> str:
    """The top of a recipe, then each of its sections."""
    return "\n".join(["## The top", "", *_table(Recipe, ""), *_sections(Recipe, "", 2)])


def _sections(model: type[BaseModel], prefix: str, level: int) -> Iterator[str]:
    for name, field in model.model_fields.items():
        variants, inner = variants_of(field), section_of(field)
        for kind, chosen in variants.items() or ((None, inner),):
            if chosen is None:
                continue
            key = prefix + name
            yield from ["", f"{'#' * level} {_title(key, kind)}", "", _linked((chosen.__doc__ or "").strip()), ""]
            if kind is not None and getattr(field.default, "type", None) == kind:
                yield from ["The default.", ""]
            yield from _table(chosen, f"{key}.")
            yield from _sections(chosen, f"{key}.", level + 1)


def _title(key: str, kind: str | None) -> str:
    return f"`{key}`" if kind is None else f"`{key}.type: {kind}`"


def _table(model: type[BaseModel], prefix: str) -> Iterator[str]:
    rows = [row for name, field in model.model_fields.items() for row in _row(prefix + name, field)]
    if rows:
        yield from ["| key | value | default | |", "|---|---|---|---|", *rows]


def _row(key: str, field: FieldInfo) -> Iterator[str]:
    if (
        variants_of(field)
        or section_of(field)
        or (key.endswith(".type") and len(typing.get_args(field.annotation)) == 1)
    ):
        return
    value = f"{_kind(field.annotation)}{_bounds(field)}".replace("|", "\\|")
    text = _linked(field.description or "")
    yield f"| `{key}` | {value} | {_default(field)} | {text} |"


def _kind(annotation: Any) -> str:
    """What may be written, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys("empty" if a is type(None) else _kind(a) for a in arguments))
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin in (dict, Mapping):
        return "mapping"
    return PLAIN.get(annotation, str(getattr(annotation, "__name__", annotation)).lower())


def _bounds(field: FieldInfo) -> str:
    found = [f"{sign} {getattr(m, name)}" for m in field.metadata for name, sign in SIGNS.items() if hasattr(m, name)]
    return f", {', '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "has to be set"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "empty"
    return f"`{json.dumps(value, default=str, ensure_ascii=False)}`"


def _linked(text: str) -> str:
    """On one line, with names of documents as links."""
    return re.sub(r"docs/(\w+\.md)", r"[\1](../\1)", " ".join(text.split())).replace("|", "\\|").replace("<-", "←")
