"""YAML as recipes use it: `1e-5` is a number, and a key given twice is an error.

PyYAML follows YAML 1.1, which reads `1e-5` as a string (it wants `1.0e-5`) and keeps the last of two equal keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pmd_agent.errors import RecipeError


class _Loader(yaml.SafeLoader):
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


def read_value(text: str) -> Any:
    """One value as YAML would read it; a text that is no YAML is itself."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def write_yaml(data: dict[str, Any]) -> str:
    """The inverse of `read_yaml`, keys in their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
