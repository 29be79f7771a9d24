"""A real MCP server as a toolbox: its tools, its errors, its death, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.assembly.given import Given
from pmd_agent.assembly.tools import tool_episodes
from pmd_agent.episodes import Played
from pmd_agent.episodes.mcp_tools import McpServer, ServerFailed
from pmd_agent.errors import RecipeError
from pmd_agent.policies.scripted import ScriptedPolicy
from pmd_agent.recipe import parse_recipe
from pmd_agent.recipe.problems import SandboxSection
from pmd_agent.recipe.tools import McpTools
from pmd_agent.types import Problem

pytest.importorskip("mcp", reason="pip install 'pmd-agent[mcp]'")
SERVER = '''
import os, pathlib, sys, time
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

pathlib.Path(sys.argv[1], str(os.getpid())).touch()
server = MCPServer("shop")
sold = []

@server.tool()
def sell(thing: str, count: int) -> str:
    """Sells so many of a thing."""
    sold.append(thing)
    return f"{count} x {thing}, sale {len(sold)}, for {os.environ.get('SHOP_OWNER', 'nobody')}"

@server.tool()
def fail() -> str:
    """Fails."""
    raise ToolError("out of stock")

@server.tool()
def die() -> str:
    """Dies."""
    print("the till burns", file=sys.stderr, flush=True)
    os._exit(3)

@server.tool()
def wait() -> str:
    """Takes its time."""
    time.sleep(60)

server.run("stdio")
'''
PROBLEM = Problem("p", "Sell a pear.", "done")


@pytest.fixture
def command(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "shop.py").write_text(SERVER)
    (tmp_path / "started").mkdir()
    return sys.executable, str(tmp_path / "shop.py"), str(tmp_path / "started")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """The processes that were started; in the end none of them is there."""

    def found() -> list[int]:
        return sorted(int(path.name) for path in (tmp_path / "started").iterdir())

    yield found
    until = time.monotonic() + 10
    while (left := [pid for pid in found() if lives(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left and found()


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


@pytest.mark.slow
def test_each_episode_has_a_server_of_its_own(
    command: tuple[str, ...],
    started: Callable[[], list[int]],
    play: Callable[..., list[Played]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_OWNER", "Ada")
    made = tool_episodes((McpTools(command=command, env=("SHOP_OWNER",), seconds=60),), SandboxSection())
    sell = call("sell", thing="pear", count=2)
    replies = [sell + call("fail") + call("sell", thing="pear", count="many"), sell, "done"]
    (played,) = play(ScriptedPolicy(replies), [made], problem=PROBLEM, prompt_tokens=4000, seconds=120.0)
    assert played.outcome is None and played.turns[-1].content == "done"
    first, failed, wrong, second = [t.content for t in played.turns if t.role == "tool"]
    assert first == "2 x pear, sale 1, for Ada" and second == "2 x pear, sale 2, for Ada"
    assert failed.startswith("error: ") and "out of stock" in failed and wrong.startswith("error: sell takes thing")
    assert '"Sells so many of a thing."' in played.opening[0]["tools"]
    (other,) = play(ScriptedPolicy([sell, "done"]), [made], problem=PROBLEM, prompt_tokens=4000, seconds=120.0)
    assert other.turns[1].content == "2 x pear, sale 1, for Ada"
    (idle,) = play(ScriptedPolicy(["done"]), [made], problem=PROBLEM, prompt_tokens=4000)
    assert (
        idle.outcome is None and len(started()) == 3
    )  # one to be asked for its tools, one for each episode that called


@pytest.mark.slow
def test_a_server_that_dies_or_hangs_is_not_the_policys_fault(
    command: tuple[str, ...], started: Callable[[], list[int]], play: Callable[..., list[Played]]
) -> None:
    made = tool_episodes((McpTools(command=command, seconds=60),), SandboxSection())
    (played,) = play(ScriptedPolicy([call("die")]), [made], problem=PROBLEM, prompt_tokens=4000, seconds=120.0)
    assert played.outcome is not None and played.outcome.reward is None
    assert "the MCP server" in played.outcome.feedback and "the till burns" in played.outcome.feedback
    server = McpServer(command, seconds=60)
    server.tools()
    with pytest.raises(ServerFailed, match="the till burns"):
        server.call("die", {})
    assert server.call("sell", {"thing": "pear", "count": 1}).startswith("1 x pear, sale 1")  # started again
    server._seconds = 0.2
    with pytest.raises(TimeoutError, match=r"within 0.2 s"):
        server.call("wait", {})
    server.close()
    with pytest.raises(ServerFailed, match="closed"):
        server.call("wait", {})


@pytest.mark.slow
def test_one_server_may_be_shared(
    command: tuple[str, ...],
    started: Callable[[], list[int]],
    play: Callable[..., list[Played]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    setting = McpTools(command=command, shared=True, only=("sell",), seconds=60)
    recipe = parse_recipe({"problems": {"type": "given", "tools": [setting.model_dump()]}})
    made = Given().environments(recipe)
    assert made is not None
    policy = ScriptedPolicy([call("sell", thing="pear", count=1)])
    found = play(policy, [made] * 3, problem=PROBLEM, prompt_tokens=4000, seconds=120.0, turns=2)
    numbers = {t.content.split(", ")[1] for played in found for t in played.turns if t.role == "tool"}
    assert numbers <= {f"sale {n}" for n in range(1, 7)} and len(numbers) > 1 and len(started()) == 1
    assert '"fail"' not in found[0].opening[0]["tools"]
    for end in at_exit:  # the server is the run's, and ends with the process
        end()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no-such-program-here",), "cannot be asked"),
        ((sys.executable, "-c", "raise SystemExit('no licence')"), "no licence"),
    ],
)
def test_a_server_that_does_not_start_is_said_before_the_run(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(RecipeError, match=says) as caught:
        tool_episodes((McpTools(command=arguments, seconds=30),), SandboxSection())
    assert "problems.tools" in caught.value.hint


@pytest.mark.slow
def test_a_tool_that_is_not_there_is_said(command: tuple[str, ...], started: Callable[[], list[int]]) -> None:
    with pytest.raises(RecipeError, match="no tool 'buy'") as caught:
        tool_episodes((McpTools(command=command, only=("buy",), seconds=60),), SandboxSection())
    assert "sell, fail, die, wait" in caught.value.hint


def test_without_the_package_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(RecipeError, match="needs the package mcp") as caught:
        tool_episodes((McpTools(command=("x",)),), SandboxSection())
    assert "pmd-agent[mcp]" in caught.value.hint
