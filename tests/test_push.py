"""pmd push, through the hub's own client, against a stand-in of the hub."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants
from typer.testing import CliRunner

from pmd_agent.cli import app
from pmd_agent.errors import RunError
from pmd_agent.export import export_run
from pmd_agent.push import push_run
from pmd_agent.recipe import parse_recipe
from pmd_agent.runs.folder import RunDir
from tests.hub_stand_in import TOKEN, Hub, serve

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # of the hub's client

MakeRun = Callable[..., RunDir]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the client talks to, with a token that may write."""
    hub = Hub()
    server = serve(hub)
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def boxed(run_with_adapter: MakeRun, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose base travels with its adapter."""
    monkeypatch.setattr("pmd_agent.models.loading.box_path", lambda: tiny_folder)
    monkeypatch.setattr("pmd_agent.export.box_path", lambda: tiny_folder)
    return run_with_adapter("box", dtype="float32")


def files(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose export is three small files."""

    def export(run: RunDir, to: Path, **_: Any) -> Path:
        to.mkdir()
        for name in ("README.md", "adapter_model.safetensors", "certificate.json"):
            (to / name).write_text(f"{name} of {run.recipe.name}\n")
        return to

    monkeypatch.setattr("pmd_agent.push.export_run", export)
    recipe = {"name": "one", "runs": str(tmp_path / "runs"), "policy": {"model": "box"}}
    return RunDir.create(parse_recipe(recipe))


def test_what_arrives_is_what_export_writes(boxed: RunDir, hub: Hub, tmp_path: Path) -> None:
    before = files(boxed.path)
    done = CliRunner().invoke(app, ["push", str(boxed.path), "--to", "me/mine"], catch_exceptions=False)
    assert done.exit_code == 0 and f"{hub.address}/me/mine: an adapter" in done.output
    assert files(boxed.path) == before
    folder = export_run(boxed, tmp_path / "mine", called="me/mine")
    written = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    arrived = dict(hub.repositories["me/mine"])
    assert arrived.pop(".gitattributes") and arrived == written
    assert hub.private == {"me/mine": True} and hub.commits == [("me/mine", "one, pmd, made by pmd")]
    card = arrived["README.md"].decode()
    assert 'folder = snapshot_download("me/mine")' in card and ModelCard(card).data.library_name == "peft"


def test_public_whole_weights(run_with_adapter: MakeRun, tiny_folder: Path, hub: Hub) -> None:
    run = run_with_adapter(str(tiny_folder), dtype="float32")
    assert push_run(run, "me/whole", merge=True, public=True) == f"{hub.address}/me/whole"
    assert hub.private == {"me/whole": False} and "model.safetensors" in hub.repositories["me/whole"]
    assert 'folder = "me/whole"  # on the hub' in hub.repositories["me/whole"]["README.md"].decode()


def test_an_update_replaces_what_is_there(run: RunDir, hub: Hub) -> None:
    push_run(run, "me/mine")
    hub.repositories["me/mine"]["old.txt"] = b"old"
    with pytest.raises(RunError, match="me/mine is on the hub already") as caught:
        push_run(run, "me/mine")
    assert "--update" in caught.value.hint and len(hub.commits) == 1
    push_run(run, "me/mine", update=True)
    assert "old.txt" not in hub.repositories["me/mine"] and ".gitattributes" in hub.repositories["me/mine"]
    assert len(hub.commits) == 2


@pytest.mark.parametrize("name", ["mine", "me/", "/mine", "a/b/c", "me/m ine", "me/mine.git", "me/" + "x" * 120, ""])
def test_a_name_that_cannot_be(name: str, run: RunDir, hub: Hub) -> None:
    with pytest.raises(RunError, match="is no name of a repository"):
        push_run(run, name)
    assert hub.asked == []


def test_an_adapter_of_a_base_that_nobody_has(tiny_folder: Path, tmp_path: Path, hub: Hub) -> None:
    recipe = {"name": "one", "runs": str(tmp_path / "runs"), "policy": {"model": str(tiny_folder)}}
    with pytest.raises(RunError, match="on this machine alone") as caught:
        push_run(RunDir.create(parse_recipe(recipe)), "me/mine")
    assert "--merge" in caught.value.hint and hub.asked == []


def refused(run: RunDir, **settings: Any) -> RunError:
    with pytest.raises(RunError) as caught:
        push_run(run, settings.pop("to", "me/mine"), **settings)
    return caught.value


def test_without_a_token_nothing_is_exported(run: RunDir, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmd_agent.push.export_run", None)
    monkeypatch.delenv("HF_TOKEN")
    assert refused(run).message == "There is no token for the hub."
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    error = refused(run)
    assert error.message.startswith("The hub does not know this token") and "hf auth login" in error.hint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(run).message


def test_without_a_network(run: RunDir, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    assert refused(run).message.startswith(f"{nowhere} cannot be reached: ")


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/repos/create", 403, "The hub does not let you write to me/mine: no rights"),
        ("/api/repos/create", 409, "me/mine is on the hub already"),
        ("/api/repos/create", 400, "The hub does not take me/mine: no rights"),
        ("/preupload/main", 403, "does not let you write to me/mine: no rights. It was made, and is empty"),
        ("/commit/main", 418, "The hub answered 418: no rights. It was made, and is empty"),
    ],
)
def test_what_the_hub_refuses(path: str, status: int, message: str, run: RunDir, hub: Hub) -> None:
    hub.refusals = {path: (status, "no rights.")}
    error = refused(run)
    assert message in error.message and error.hint and hub.commits == []


def test_another_s_name(run: RunDir, hub: Hub) -> None:
    error = refused(run, to="other/mine")
    assert "other/mine" in error.message and "rights" in error.message and "other" in error.hint
