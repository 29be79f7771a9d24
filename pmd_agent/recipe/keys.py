"""What a recipe's keys may be called: sections, variants by `type`, and what was probably meant.

Works on any tree of pydantic models; `recipe.py` holds the tree.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def variants_of(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """`type` -> model, for a field that is one of several sections; empty for any other field."""
    if typing.get_origin(field.annotation) not in (Union, types.UnionType):
        return {}
    models = [a for a in typing.get_args(field.annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
    return {str(model.model_fields["type"].default): model for model in models}


def section_of(field: FieldInfo, value: object = None) -> type[BaseModel] | None:
    """The model that a field's value is read as; None for a plain value, and for a `type` that is unknown."""
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return field.annotation
    return variants_of(field).get(str(value.get("type")) if isinstance(value, Mapping) else "")


def fill_types(data: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """A copy in which a section without `type` has that of its default."""
    filled = dict(data)
    for name, field in model.model_fields.items():
        value = filled.get(name)
        if not isinstance(value, Mapping):
            continue
        if variants_of(field) and "type" not in value:
            value = {"type": field.default.type, **value}
        inner = section_of(field, value)
        filled[name] = fill_types(value, inner) if inner else dict(value)
    return filled


def is_variant_choice(key: str, model: type[BaseModel]) -> bool:
    """Whether setting `key` (dotted) chooses among sections: `problems.type`, but not `distill.teacher.type`."""
    *parents, last = key.split(".")
    field: FieldInfo | None = None
    for parent in parents:
        field = model.model_fields.get(parent)
        inner = section_of(field) if field else None
        if inner is None:
            break
        model = inner
    return last == "type" and field is not None and bool(variants_of(field))


def unknown_keys(data: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """One sentence for each key that the tree does not have, naming the nearest one that it has."""
    return _unknown(data, root, root, "")


def _unknown(data: Mapping[str, Any], model: type[BaseModel], root: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, value in data.items():
        field = model.model_fields.get(key)
        if field is None:
            yield f"unknown key {prefix}{key}; {_meant(str(key), model, root, prefix)}"
            continue
        if not isinstance(value, Mapping):
            continue
        inner, variants = section_of(field, value), variants_of(field)
        if inner is not None:
            yield from _unknown(value, inner, root, f"{prefix}{key}.")
        elif variants:
            kind = str(value.get("type"))
            near = difflib.get_close_matches(kind, variants, 1)
            mean = f"did you mean {near[0]}?" if near else f"known: {', '.join(variants)}"
            yield f"unknown {prefix}{key}.type={kind}; {mean}"


def _meant(key: str, model: type[BaseModel], root: type[BaseModel], prefix: str) -> str:
    here = difflib.get_close_matches(key, model.model_fields, 1, 0.6)
    if here:
        return f"did you mean {prefix}{here[0]}?"
    known = list(_all_keys(root, ""))
    same = [full for full, kind in known if full.split(".")[-1] == key]
    if prefix + key in same:
        kinds = [kind for full, kind in known if full == prefix + key]
        return f"it belongs to {prefix}type={' or '.join(kinds)}"
    near = same or difflib.get_close_matches(key, [full for full, _ in known], 1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(model.model_fields)}"


def _all_keys(model: type[BaseModel], prefix: str, kind: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key, with the `type` of the section that it belongs to (empty where there is no choice)."""
    for name, field in model.model_fields.items():
        yield prefix + name, kind
        inner = section_of(field)
        if inner is not None:
            yield from _all_keys(inner, f"{prefix}{name}.")
        for chosen, variant in variants_of(field).items():
            yield from _all_keys(variant, f"{prefix}{name}.", chosen)


def completions(root: type[BaseModel]) -> list[str]:
    """What may be typed before a value, `distill.lr=`, in the order of the tree; of sections, their keys alone."""
    keys = list(dict.fromkeys(key for key, _ in _all_keys(root, "")))
    sections = {key.rpartition(".")[0] for key in keys}
    return [f"{key}=" for key in keys if key not in sections]


def describe_fault(error: Mapping[str, Any], root: type[BaseModel]) -> str:
    """One of pydantic's errors as `key: what is wrong (given: value)`."""
    where = _place(error["loc"], root)
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    shown = repr(given) if len(repr(given)) <= 80 else repr(given)[:77] + "..."
    value = "" if isinstance(given, (dict, BaseModel)) else f" (given: {shown})"
    return f"{where}: {message}{value}" if where else message


def _place(parts: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """The key alone: pydantic also names the variant, or the member of a union, that it tried."""
    model: type[BaseModel] | None = root
    variants: dict[str, type[BaseModel]] = {}
    place = ""
    for part in parts:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part in variants:
            model, variants = variants[part], {}
        elif model is not None and part in model.model_fields:
            place += f".{part}" if place else part
            field = model.model_fields[part]
            model, variants = section_of(field), variants_of(field)
    return place
