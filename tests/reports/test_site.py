"""The server of `pmd watch`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from pmd_agent.reports.run_page.site import Site
from pmd_agent.reports.run_page.source import Source
from pmd_agent.runs.folder import RunDir

SourceOf = Callable[[RunDir], Source]


def ask(site: Site, path: str, host: str = "127.0.0.1:8000", method: str = "GET") -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url=f"http://{host}") as client:
            return await client.request(method, path)

    return asyncio.run(send())


@pytest.fixture
def site(watched: RunDir, source_of: SourceOf) -> Site:
    return Site(source_of(watched), "secret")


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/secre/overview.json", "/secretx/", "//secret/", "/%00/", "/geheimnis-ä/"]
)
def test_nothing_without_the_token(site: Site, path: str) -> None:
    answer = ask(site, path)
    assert answer.status_code == 403 and "one" not in answer.text


def test_a_name_that_is_not_this_machine_gets_nothing(site: Site) -> None:
    assert ask(site, "/secret/", host="evil.example:8000").status_code == 403
    assert ask(site, "/secret/", host="localhost:8000").status_code == 200


def test_the_page_is_empty_and_asks_for_its_data(site: Site) -> None:
    page = ask(site, "/secret/")
    assert page.status_code == 200 and 'id="data-' not in page.text and "try 0" not in page.text
    headers = page.headers
    assert "connect-src 'self'" in headers["content-security-policy"] and headers["referrer-policy"] == "no-referrer"
    assert headers["content-encoding"] == "gzip" and headers["cache-control"] == "no-store"
    overview = ask(site, "/secret/overview.json").json()
    assert overview["step"] == [0, 1, 2]
    assert ask(site, f"/secret/overview.json?{overview['version']}").status_code == 204
    assert ask(site, "/secret/overview.json?before").status_code == 200
    assert ask(site, "/secret/rollouts-2.json").json()["right"] == [1, 1, 0, None]
    for name in ("answers", "memories", "problems"):
        assert ask(site, f"/secret/{name}.json").json()


@pytest.mark.parametrize("name", ["rollouts-x.json", "../recipe.yaml", "overview", "%2e%2e/recipe.yaml"])
def test_nothing_else_is_served(site: Site, name: str) -> None:
    assert ask(site, f"/secret/{name}").status_code in (403, 404)


def test_it_only_reads(site: Site) -> None:
    assert ask(site, "/secret/overview.json", method="POST").status_code == 405
    assert ask(site, "/secret/overview.json", method="HEAD").content == b""


def test_a_folder_that_cannot_be_read_is_said(site: Site, watched: RunDir) -> None:
    (watched.path / "state.json").write_text("{")
    answer = ask(site, "/secret/overview.json")
    assert answer.status_code == 503 and "state.json is damaged" in answer.json()["error"]


def test_the_command_serves_this_machine_until_interrupted(watched: RunDir) -> None:
    where = watched.path.parent.parent
    command = [sys.executable, "-m", "pmd_agent", "watch"]  # without a name: the newest
    before = sorted((p, p.stat().st_mtime_ns) for p in watched.path.rglob("*"))
    process = subprocess.Popen(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        assert address.startswith("http://127.0.0.1:") and len(address.split("/")[3]) >= 20
        assert httpx.get(address + "overview.json").json()["name"] == "one"
        assert httpx.get(address.rsplit("/", 2)[0] + "/").status_code == 403
        assert len(httpx.get(address + "memories.json").json()["entries"]) == 4
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in out + err, err
    assert sorted((p, p.stat().st_mtime_ns) for p in watched.path.rglob("*")) == before, "it only reads"


def test_without_a_run_it_says_what_to_type(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pmd_agent", "watch"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 2 and "There is no run in runs/." in done.stderr
