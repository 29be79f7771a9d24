"""Offline, and with a cache of its own: set before anything imports `datasets`, which reads them once."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="pmd-test-hf-"))


@pytest.fixture
def real() -> Path:
    """The prepared SciKnowEval folders, on machines that have them."""
    data = os.environ.get("PMD_TEST_DATA")
    if not data:
        pytest.skip("PMD_TEST_DATA is unset: set it to a folder that holds sciknoweval/<domain>/{train,test}.jsonl")
    folder = Path(data) / "sciknoweval"
    if not folder.is_dir():
        pytest.skip(f"PMD_TEST_DATA={data} holds no sciknoweval folder")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write("a.jsonl", row, row, ...): dicts become JSON, strings stay as they are."""

    def write_rows(name: str, *rows: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write_rows
