"""A module's state: the instructions and examples of its predictors, as JSON that `dspy.Module.load` reads as well.

Nothing else of a module is kept: what its constructor was given is its maker's to repeat, and which models its predictors
ask stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
from dspy.adapters.utils import serialize_for_json
from dspy.utils.saving import get_dependency_versions

from pmd_agent.errors import PipelineError
from pmd_agent.runs.files import to_json, write_atomically
from pmd_agent.types import Readable

METADATA = "metadata"


def state_of(module: dspy.Module) -> dict[str, Any]:
    """Plain data. An example that holds objects, such as a view, holds their texts afterwards: as they were sent."""
    with _without_models(module):
        state: dict[str, Any] = json.loads(to_json(plain(module.dump_state())))
    for part in state.values():
        if isinstance(part, dict) and "signature" in part:
            part |= {"traces": [], "train": []}
    return state


def restore(module: dspy.Module, state: Mapping[str, Any], source: object = "its state") -> None:
    """Give a module the state of another of its kind. Raises PipelineError where it does not fit; then nothing is changed."""
    try:
        with _without_models(module):
            module.load_state({name: part for name, part in state.items() if name != METADATA})
    except Exception as error:
        kind = type(module).__qualname__
        raise PipelineError(
            f"{source} does not fit {kind}: {type(error).__name__}: {error}.",
            f"Use the {kind} that it was saved from, or start another run with --name NAME.",
        ) from None


@contextmanager
def _without_models(module: dspy.Module) -> Iterator[None]:
    """Which models its predictors ask is no state: one in this process cannot even be written down."""
    models = [(predictor, predictor.lm) for _, predictor in module.named_predictors()]
    for predictor, _ in models:
        predictor.lm = None
    try:
        yield
    finally:
        for predictor, lm in models:
            predictor.lm = lm


def settle(module: dspy.Module) -> dspy.Module:
    """The module in the state in which it would come back from its file: what a resumed run sends, an unbroken one sends too."""
    restore(module, state_of(module))
    return module


def write_state(module: dspy.Module, path: Path, **about: Any) -> None:
    """The state as a file. `about` stands beside DSPy's own account of versions."""
    metadata = {"dependency_versions": get_dependency_versions(), **about}
    write_atomically(path, to_json(state_of(module) | {METADATA: metadata}, indent=2))


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's state, and what stands beside it. Raises PipelineError where it cannot be read."""
    try:
        state = json.loads(path.read_bytes())
        return {name: part for name, part in state.items() if name != METADATA}, dict(state.get(METADATA) or {})
    except (OSError, ValueError, AttributeError) as error:
        raise PipelineError(
            f"{path} cannot be read as a program's state: {error}.", "Restore it from a copy, or start another run."
        ) from None


def plain(value: Any) -> Any:
    """What JSON has a form for. An object that shows as a text is that text."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Readable):
        return str(value)
    if isinstance(value, dspy.Example):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return serialize_for_json(value)
