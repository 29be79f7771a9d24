"""Every command of `pmd`, from the program itself: what `--help` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer


def commands_page() -> str:
    """A heading for each command, with its arguments and options."""
    from pmd_agent.cli import app

    return "\n".join(_of(typer.main.get_command(app), "pmd"))


def _of(command: Any, name: str) -> Iterator[str]:
    """`command` is one of click's; typer brings a click of its own, which has no public name."""
    inner: dict[str, Any] = getattr(command, "commands", {})
    if name != "pmd":
        yield from ["", f"## {name}", "", *_help(command, name, bool(inner))]
    for word, each in inner.items():
        yield from _of(each, f"{name} {word}")


def _help(command: Any, name: str, has_commands: bool) -> Iterator[str]:
    yield from (command.help or "").strip().splitlines()
    if has_commands:
        return
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    yield from [
        "",
        "```",
        " ".join([name, *(_metavar(p) for p in shown if p.param_type_name == "argument"), "[OPTIONS]"]),
        "```",
    ]
    if shown:
        yield from ["", "| argument | |", "|---|---|"]
    for parameter in shown:
        text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
        yield f"| {_names(parameter)} | {text}{_default(parameter)} |"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`"
    value = "" if parameter.is_flag else f" {_metavar(parameter)}"
    return ", ".join(f"`{name}{value}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or (parameter.name or "").upper()).replace("|", "\\|")


def _default(parameter: Any) -> str:
    value = parameter.default
    shown = isinstance(value, int | float | str) and not isinstance(value, bool) and value != ""
    return f" Default: `{value}`." if shown and not parameter.required else ""
