"""From the tools that a recipe names to the episodes that have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from pmd_agent.episodes.mcp_tools import McpServer, McpTool
from pmd_agent.episodes.tools import Tool, ToolEpisode, python_tool
from pmd_agent.errors import RecipeError
from pmd_agent.recipe.problems import SandboxSection
from pmd_agent.recipe.tools import McpTools, Tools
from pmd_agent.types import Problem
from pmd_agent.verifiers.code import Limits

Open = Callable[[ExitStack], list[Tool]]
"""The tools of one episode, whose end closes what they hold."""


def tool_episodes(settings: Tools, sandbox: SandboxSection) -> Callable[[Problem], ToolEpisode]:
    """Episodes with these tools. Each MCP server is asked now what it has. Raises RecipeError."""
    boxes = [_python(sandbox) if setting == "python" else _mcp(setting) for setting in settings]
    with ExitStack() as tried:
        names = [tool.name for box in boxes for tool in box(tried)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(
            f"Two of problems.tools are called {twice[0]}.",
            "Leave one out: `only` names those of a server that are wanted.",
        )

    def episode(problem: Problem) -> ToolEpisode:
        opened = ExitStack()
        return ToolEpisode([tool for box in boxes for tool in box(opened)], opened.close)

    return episode


def _python(sandbox: SandboxSection) -> Open:
    limits = Limits(seconds=sandbox.seconds, wall=2.5 * sandbox.seconds, memory=sandbox.memory_mib << 20)
    tool = python_tool(limits=limits, cores=sandbox.cores, allow_unsafe=sandbox.allow_unsafe)
    return lambda opened: [tool]


def _mcp(setting: McpTools) -> Open:
    """A server for each episode, started by its first call; or one for all of them."""
    make = partial(McpServer, setting.command, env=setting.env, seconds=setting.seconds)
    shared = make()
    try:
        offered = _wanted(shared.tools(), setting)
    finally:
        if not setting.shared:
            shared.close()

    def of_episode(opened: ExitStack) -> list[Tool]:
        server = shared
        if not setting.shared:
            server = make()
            opened.callback(server.close)
        return [_tool(server, found) for found in offered]

    return of_episode


def _tool(server: McpServer, found: McpTool) -> Tool:
    return Tool(found.name, found.description, found.parameters, lambda **given: server.call(found.name, given))


def _wanted(offered: Sequence[McpTool], setting: McpTools) -> list[McpTool]:
    names = [found.name for found in offered]
    command = " ".join(setting.command)
    if missing := [name for name in setting.only if name not in names]:
        raise RecipeError(f"The MCP server `{command}` has no tool {missing[0]!r}.", f"It has {', '.join(names)}.")
    wanted = [found for found in offered if not setting.only or found.name in setting.only]
    if not wanted:
        raise RecipeError(f"The MCP server `{command}` has no tools.", "Take it out of problems.tools.")
    return wanted
