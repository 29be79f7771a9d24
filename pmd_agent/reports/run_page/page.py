"""The page: alone, with all of its data in it, or empty, to ask a server for them. It loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from pmd_agent.reports.comparison_page import template
from pmd_agent.reports.run_page.source import Source
from pmd_agent.runs.files import to_json

SCRIPTS = ("dom.js", "charts.js", "list.js", "curves.js", "rollouts.js", "answers.js", "memories.js", "main.js")


def report(source: Source) -> str:
    """A page with everything in it, which needs no server."""
    found = source.overview()
    data: dict[str, Any] = {"overview": found, "answers": source.answers(), "problems": source.problems()}
    data |= {f"rollouts-{step}": source.rollouts(step) for step in found["step"]}
    data["memories"] = source.memories()
    return _page(found["name"], {name: _inert(value) for name, value in data.items()}, connect="'none'")


def served(name: str) -> str:
    """A page that asks the place it came from."""
    return _page(name, {}, connect="'self'")


def policy(connect: str) -> str:
    """What a page may load and run: its own two scripts, by their hashes, and nothing else."""
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in (_drawing(), _own()))
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; connect-src {connect}; "
        "base-uri 'none'; form-action 'none'"
    )


def _page(title: str, data: dict[str, str], connect: str) -> str:
    return template("reports/run_page/page.html.jinja").render(
        title=title,
        data=data,
        policy=policy(connect),
        drawing=_drawing(),
        own=_own(),
        drawing_style=_read("uplot", "uPlot.min.css"),
    )


def _inert(value: Any) -> str:
    """JSON that no parser of HTML reads as a tag, whatever a policy has written."""
    text = to_json(value).decode("utf-8")
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _drawing() -> str:
    return _read("uplot", "uPlot.iife.min.js")


@cache
def _own() -> str:
    return '"use strict";\n' + "\n".join(_read("js", name) for name in SCRIPTS)


def _read(*place: str) -> str:
    return files("pmd_agent.reports.run_page").joinpath(*place).read_text("utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
