"""The site: built strictly, so that each link and anchor leads somewhere, and without anything from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs pip install 'pmd-agent[docs]'")
pytest.importorskip("mkdocstrings", reason="the site needs pip install 'pmd-agent[docs]'")
ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_references_are_filled_in(site: Path) -> None:
    assert "distill.lr" in (site / "reference/recipe/index.html").read_text()
    assert "pmd memory recall" in (site / "reference/commands/index.html").read_text()
    assert "teacher_gain_shuffled" in (site / "reference/metrics/index.html").read_text()
    python = (site / "reference/python/index.html").read_text()
    assert "evaluate" in python and "RunMemory" in python and "This page is filled in" not in python


def test_a_file_that_a_page_names_is_a_page(site: Path) -> None:
    assert "def" in (site / "source/pmd_agent/loop.py/index.html").read_text()
    assert "../source/pmd_agent/loop.py/" in (site / "concepts/index.html").read_text()
    assert "Download this notebook" in (site / "notebooks/first_run/index.html").read_text()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=[\"']?(https?:|//)|<link[^>]*rel=[\"']?(?:stylesheet|preconnect|icon)[\"' ][^>]*href=[\"']?(https?:|//)"
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert [str(page) for page in pages if loads.search(page.read_text())] == []


def test_no_page_names_this_machine(site: Path) -> None:
    assert [
        str(page)
        for page in site.rglob("*.html")
        if str(ROOT) in page.read_text() or str(Path.home()) + "/" in page.read_text()
    ] == []
