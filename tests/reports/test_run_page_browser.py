"""The page in a real browser: it draws, answers to keys, shows hostile texts as text, follows a run, and passes axe."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pmd_agent.reports.run_page.page import report
from pmd_agent.reports.run_page.site import Site
from pmd_agent.reports.run_page.source import Source
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.lock import unlock_folder

from .conftest import commit

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"), pytest.mark.slow]
SourceOf = Callable[[RunDir], Source]
VIEWS = ("curves", "rollouts", "answers", "memory")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """opened(address): a page without errors, at some width and theme."""
    contexts, errors = [], []

    def open_page(address: str, width: int = 1400, theme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(address)
        page.wait_for_selector("#state:not(:empty)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [
        error for error in errors if "ERR_CONNECTION_REFUSED" not in error
    ] == []  # a server may end before its page


@pytest.fixture
def file(watched: RunDir, source_of: SourceOf, tmp_path: Path) -> str:
    path = tmp_path / "page.html"
    path.write_bytes(report(source_of(watched)).encode("utf-8"))
    return path.as_uri()


def until(page: Any, condition: str, seconds: float = 30.0) -> None:
    """Wait for it. The browser's own way to wait is a script that the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(100)


def test_it_draws_and_nothing_in_it_runs(file: str, opened: Callable[..., Any]) -> None:
    page = opened(file)
    assert page.locator("figure:visible canvas").count() >= 6
    page.goto(file + "#rollouts")
    page.locator(".row").first.click()
    assert page.title() == "one · pmd", "a text of the policy's has run"
    assert "<script>" in page.locator(".detail").inner_text()


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(width: int, theme: str, file: str, opened: Callable[..., Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text()
    page = opened(file, width, theme)
    for view in VIEWS:
        page.click(f"#nav a[href='#{view}']")
        for entry in (False, True) if view != "curves" else (False,):
            if entry:
                page.locator(".row").first.click()
            found = page.evaluate(script + ";axe.run(document)")["violations"]
            assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == [], (
                view
            )
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{view} is wider than the screen"
            )
            if entry and width == 390:
                page.click(".back")


def test_keys_are_enough(file: str, opened: Callable[..., Any]) -> None:
    page = opened(file + "#rollouts")
    page.focus(".list")
    page.keyboard.press("ArrowDown")
    first = page.locator(".row[aria-selected=true]").get_attribute("aria-posinset")
    page.keyboard.press("ArrowDown")
    assert (first, page.locator(".row[aria-selected=true]").get_attribute("aria-posinset")) == ("1", "2")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "detail"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.detail') !== null")


def test_a_memory_leads_to_the_attempts_that_it_was_made_from(file: str, opened: Callable[..., Any]) -> None:
    page = opened(file + "#memory/2%2Fb")
    title = page.locator(".detail h2")
    assert title.inner_text() == "behavior_new"
    page.click(".detail a >> text=0/p0/s")
    assert "Count the rings." in page.locator(".detail").inner_text() and page.url.endswith("#memory/0%2Fp0%2Fs")
    page.click(".detail a >> text=0/p0/0 >> nth=0")
    assert title.inner_text() == "p0" and page.locator("#nav a[aria-current]").inner_text() == "Rollouts"
    page.goto(file + "#rollouts/%")  # malformed
    assert title.inner_text() == "p0"


def test_filters_and_search(file: str, opened: Callable[..., Any]) -> None:
    page = opened(file + "#rollouts")
    shown = page.locator(".tools [role=status]")
    assert shown.inner_text() == "12 entries"
    for value, expected in (
        ("right", "3 of 12"),
        ("wrong", "6 of 12"),
        ("changed", "3 of 12"),
        ("tokens", "3 of 12"),
        ("all", "12 entries"),
    ):
        page.check(f"input[value={value}]")
        assert shown.inner_text() == expected, value
    page.fill("input[type=search]", "step TRY 2")
    until(page, "document.querySelector('.tools [role=status]').textContent === '5 of 12'")


def test_it_follows_a_run_that_is_killed_and_resumed(
    tmp_path: Path, source_of: SourceOf, opened: Callable[..., Any]
) -> None:
    from pmd_agent.recipe import parse_recipe

    given = {
        "name": "two",
        "runs": str(tmp_path / "runs"),
        "policy": {"type": "scripted"},
        "steps": 9,
        "checkpoint_every": 2,
    }
    run = RunDir.create(parse_recipe(given))
    commit(run, 0)
    with served(Site(source_of(run), "t")) as address:
        page = opened(address + "#rollouts")
        assert page.inner_text("#progress") == "1 of 9 steps, 0 of them committed"
        until(page, "attempts.all.length === 4")
        commit(run, 1)
        commit(run, 4)  # not committed, so that a kill takes it back
        until(page, "attempts.all.length === 12")
        unlock_folder(run.path)
        run = RunDir.resume(run.recipe)
        until(page, "attempts.all.length === 8")
        assert page.inner_text("#progress") == "2 of 9 steps"


class served:  # noqa: N801 (reads as what it is: with served(site) as address)
    """A site on a port of its own, in a thread."""

    def __init__(self, site: Site) -> None:
        import uvicorn

        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(site, log_level="warning", lifespan="off"))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self._socket])))

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/t/"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
