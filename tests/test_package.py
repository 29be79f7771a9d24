"""What is installed elsewhere: the wheel built from the sdist has all packages and files, and imports."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

IMPORTS = """
import pmd_agent, pmd_agent.memory, pmd_agent.pipelines, pmd_agent.cli
from pathlib import Path
where = {Path(m.__file__).resolve() for m in (pmd_agent, pmd_agent.memory, pmd_agent.pipelines, pmd_agent.cli)}
import sys
assert all(str(path).startswith(sys.argv[1]) for path in where), where
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of this checkout and the wheel built from that sdist."""
    pytest.importorskip("build", reason="pip install build")
    folder = tmp_path_factory.mktemp("dist")
    # Without --sdist or --wheel: the sdist first, and the wheel from it.
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    if (
        done.returncode
        and "hatchling" in done.stdout + done.stderr
        and "No matching distribution" in done.stdout + done.stderr
    ):
        pytest.skip("the build backend cannot be fetched here")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def sources(folder: Path) -> set[str]:
    return {
        f"{folder.relative_to(ROOT)}/{path.relative_to(folder)}"
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in {".py", ".json", ".safetensors", ".jinja", ".typed"}
    }


@pytest.mark.slow
def test_the_wheel_from_the_sdist_has_everything(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    found = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        name for name in sources(ROOT / "pmd_agent") if not name.startswith(("pmd_agent/memory", "pmd_agent/pipelines"))
    }
    wanted |= {f"pmd_agent/{name}" for folder in ("memory", "pipelines") for name in sources(ROOT / folder)}
    assert wanted <= found
    assert {name.split("/")[0] for name in found} == {"pmd_agent", wheel.name.split("-py3")[0] + ".dist-info"}
    assert {name for name in found if name.endswith(".py")} <= wanted, "no module of the checkout's other folders"
    assert any(name.endswith("licenses/LICENSE") for name in found)
    assert "pmd_agent/py.typed" in found


@pytest.mark.slow
def test_the_sdist_can_be_tested(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "LICENSE",
        "tests/test_package.py",
        "recipes/quickstart.yaml",
        "recipes/box/build.py",
        "Makefile",
    } <= names
    assert {"pmd_agent/memory/__init__.py", "pmd_agent/pipelines/__init__.py"} <= names


@pytest.mark.slow
def test_the_wheel_imports(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{IMPORTS}"]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
