"""YAML as recipes use it: `1e-5` is a number, a key given twice is an error, and what `problems.where` asks for is text.

PyYAML follows YAML 1.1, which reads `1e-5` as a string (it wants `1.0e-5`), keeps the last of two equal keys, and makes 1.1 of
1.10, 8 of 010, 750 of 12:30 and false of no. Rows are compared with what is written: AS_WRITTEN names where.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pmd_agent.errors import RecipeError

AS_WRITTEN = "problems.where"
"""Below this key unquoted words stay as they are written, names of fields too."""
_TEXT = "tag:yaml.org,2002:str"
_QUOTED = ("[", "{", '"', "'")


class _Loader(yaml.SafeLoader):
    def get_single_node(self) -> Any:
        return _marked(super().get_single_node())

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    problem = f"the key {key.value} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what _Loader would read as a number."""


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a file; an empty file is an empty one. Raises RecipeError."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}", "Mend the line named above.") from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.", "Give a file that you may read.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise RecipeError(f"{path} holds a {type(data).__name__}, not keys and values.", "Write `key: value` lines.")
    return data


def is_as_written(key: str) -> bool:
    """Whether the values of a dotted key are compared as text."""
    return f".{key}.".find(f".{AS_WRITTEN}.") >= 0


def read_value(text: str, key: str = "") -> Any:
    """One value as YAML would read it, for a dotted key of a recipe; a text that is no YAML is itself."""
    if is_as_written(key):
        return _read_as_written(text)
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def _read_as_written(text: str) -> Any:
    if not text.startswith(_QUOTED):
        return text
    try:
        loader = yaml.SafeLoader(text)
        node: Any = loader.get_single_node()
        return loader.construct_document(_as_text(node))
    except yaml.YAMLError:
        return text


def _marked(node: yaml.Node | None, path: str = "") -> Any:
    """The same tree, with text for all values whose key is AS_WRITTEN or below."""
    if not isinstance(node, yaml.MappingNode):
        return node
    for place, (key, value) in enumerate(node.value):
        inner = f"{path}.{key.value}" if path else str(key.value)
        node.value[place] = (key, _as_text(value) if is_as_written(inner) else _marked(value, inner))
    return node


def _as_text(node: yaml.Node) -> yaml.Node:
    """Text for scalars, alone and in lists; the names in a mapping too, and what is in it, but for bounds: those are numbers."""
    if isinstance(node, yaml.ScalarNode):
        return yaml.ScalarNode(_TEXT, node.value, node.start_mark, node.end_mark, node.style)
    if isinstance(node, yaml.SequenceNode):
        values = [_as_text(value) for value in node.value]
        return yaml.SequenceNode(node.tag, values, node.start_mark, node.end_mark, node.flow_style)
    if isinstance(node, yaml.MappingNode) and not {key.value for key, _ in node.value} <= {"min", "max"}:
        pairs = [(key if key.value == "<<" else _as_text(key), _as_text(value)) for key, value in node.value]
        return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark, node.flow_style)
    return node


def write_yaml(data: dict[str, Any]) -> str:
    """The inverse of `read_yaml`, keys in their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
