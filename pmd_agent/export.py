"""What a run has learnt, as files that plain transformers and peft load: an adapter, or whole weights."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pmd_agent.errors import RunError
from pmd_agent.evaluation.certificate import certificate
from pmd_agent.evaluation.finished_runs import read_run
from pmd_agent.models import BOX, box_path
from pmd_agent.models.adapters import check_adapter
from pmd_agent.models.loading import check_model, load_tokenizer, resolve_model
from pmd_agent.models.merge_adapter import merge_into
from pmd_agent.models.run_adapter import RunAdapter, adapter_of
from pmd_agent.recipe import LocalPolicySection, VllmPolicySection
from pmd_agent.reports.model_card import adapter_card, merged_card
from pmd_agent.runs.disk import writing
from pmd_agent.runs.files import to_json, write_atomically
from pmd_agent.runs.folder import RunDir
from pmd_agent.runs.whole import SEAL

CERTIFICATE = "certificate.json"
README = "README.md"


def export_run(
    run: RunDir,
    to: Path,
    *,
    merge: bool = False,
    called: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write the run's adapter, or with `merge` the whole model, to a new folder, and return that.

    Of a run that has not ended, or whose adapter is damaged, that of its newest whole checkpoint; `say` hears so.
    `called`: how others load it, where that is not by the folder's name.

    Whole weights are in the precision that the run's policy has on this machine (policy.dtype). Raises RunError where
    the run has no adapter, the folder is taken, or the merged weights answer otherwise than base and adapter; PolicyError
    where the base cannot be loaded or the adapter does not fit it.
    """
    section = run.recipe.policy
    if not isinstance(section, LocalPolicySection | VllmPolicySection):
        raise RunError(f"{run.path} ran a {section.type} policy, which has no weights.", "Export a run with a model.")
    with adapter_of(run, "export another run", say) as adapter:
        if adapter is None:
            raise RunError(f"{run.path} has no adapter to export: it learns nothing.", "Set distill.enabled=true.")
        check_model(section.model)
        check_adapter(section.model, adapter.folder)
        found = certificate(read_run(run.path))
        source = _Source(run, section, adapter, found, called or to.name)

        def write_all(folder: Path) -> None:
            checked = (_write_merged if merge else _write_adapter)(source, folder)
            write_atomically(folder / CERTIFICATE, to_json(found | checked | _provenance(source, folder), indent=2))

        return _as_one(to, write_all)


@dataclass(frozen=True, slots=True)
class _Source:
    run: RunDir
    section: LocalPolicySection | VllmPolicySection
    adapter: RunAdapter
    certificate: dict[str, Any]
    called: str
    """By which name what is exported is loaded."""


def _provenance(source: _Source, folder: Path) -> dict[str, Any]:
    """What the figures are of: the base, the recipe, the versions that made it, and the weights in the folder."""
    run = source.run
    made_with = run.read_json("environment.json") or {}
    return {
        "base_model": source.section.model,
        "adapter_step": source.adapter.step,
        "sha256": {str(path.relative_to(folder)): _sha256(path) for path in sorted(folder.rglob("*.safetensors"))},
        "recipe": run.recipe.model_dump(mode="json", exclude={"runs"}),
        "made_with": {key: made_with.get(key) for key in ("pmd", "python", "packages")},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_one(to: Path, write: Callable[[Path], None]) -> Path:
    """Fill a folder beside `to`, then rename it: `to` is whole or not there."""
    to = to.resolve()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RunError(f"{to} is there already, and nothing is overwritten.", "Give another folder with --to DIR.")
    temporary = to.with_name(f".{to.name}.tmp")
    try:
        with writing(to):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            write(temporary)
            for path in temporary.rglob("*.safetensors"):  # their writer lets nobody else read them
                path.chmod(path.stat().st_mode | _readable())
            os.replace(temporary, to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return to


def _readable() -> int:
    """The rights to read that a new file gets here."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o444 & ~umask


def _write_adapter(source: _Source, folder: Path) -> dict[str, Any]:
    section = source.section
    shutil.copytree(source.adapter.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SEAL))
    if section.model == BOX:
        shutil.copytree(box_path(), folder / "base", ignore=shutil.ignore_patterns("build.jsonl"))
        base = "base"
    else:
        model = resolve_model(section.model)
        base = str(Path(model).resolve()) if Path(model).is_dir() else model
    config_path = folder / "adapter_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    config_path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    load_tokenizer(section.model).save_pretrained(str(folder))
    recipe, step = source.run.recipe, source.adapter.step
    card = adapter_card(recipe, step, found=source.certificate, folder=source.called, base=base, dtype=_dtype(section))
    (folder / README).write_text(card, "utf-8")
    return {}


def _write_merged(source: _Source, folder: Path) -> dict[str, Any]:
    section = source.section
    dtype = _dtype(section)
    try:
        merged = merge_into(folder, section.model, source.adapter.folder, dtype=dtype)
    except ValueError as error:
        hint = "Resume the run from an earlier checkpoint, or lower distill.lr."
        raise RunError(f"The adapter of {source.run.path} cannot be merged: {error}", hint) from None
    if not merged["same"]:
        raise RunError(
            f"The merged model is not the base with its adapter: logits differ by {merged['difference']:.2g} "
            f"(allowed: {merged['allowed']:.2g}; the adapter changes them by {merged['effect']:.2g}).",
            "Export the adapter itself: leave --merge out.",
        )
    card = merged_card(
        source.run.recipe, source.adapter.step, found=source.certificate, folder=source.called, dtype=dtype
    )
    (folder / README).write_text(card, "utf-8")
    return {"merge": merged}


def _dtype(section: LocalPolicySection | VllmPolicySection) -> str:
    if section.dtype != "auto":
        return section.dtype
    on_gpu = section.device == "cuda" or (section.device == "auto" and torch.cuda.is_available())
    return "bfloat16" if on_gpu else "float32"
