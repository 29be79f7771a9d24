"""Tools of an agent, in the section `problems`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pmd_agent.recipe.section import Section


class McpTools(Section):
    """Those of an MCP server, which is a program that pmd starts (pip install 'pmd-agent[mcp]')."""

    type: Literal["mcp"] = "mcp"
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program and its arguments, such as [npx, -y, some-server]."""
    only: tuple[str, ...] = ()
    """The names of the tools that are offered. Empty: all that it has."""
    env: tuple[str, ...] = ()
    """Names of environment variables that it may read, beside HOME, PATH and the like. A recipe holds no secrets."""
    shared: bool = False
    """One server for all attempts, for tools that keep no state. Otherwise each attempt that calls a tool starts its own."""
    seconds: float = Field(30.0, gt=0, le=3600)
    """For its start, and for each call."""


ToolSetting = Literal["python"] | McpTools
"""python: a Python program's output, from the sandbox."""
Tools = tuple[ToolSetting, ...]
