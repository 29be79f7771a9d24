"""The memory of a run, as its recipe says: where it is kept, by which embedder, and how it is read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pmd_agent.errors import RunError
from pmd_agent.memory import Embedder, HashingEmbedder, Memory
from pmd_agent.memory.queries import Options
from pmd_agent.recipe import Recipe
from pmd_agent.recipe.memory import EndpointEmbedderSection, HashingEmbedderSection, HuggingFaceEmbedderSection
from pmd_agent.runs.files import to_json, write_atomically
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import TIERS

NAME = "on_server.json"
"""The file in a run's memory folder that says under which name its memory is on a server."""


def open_memory(recipe: Recipe, folder: Path, embedder: Embedder | None = None) -> Memory:
    """The memory in `folder`, or on the recipe's server under a name of that folder's own. Raises MemoryStoreError."""
    kept = recipe.memory
    embedder = embedder or build_embedder(kept.embedder)
    if kept.server is None:
        return Memory.open(folder, embedder, **_options(recipe))
    memory = Memory.connect(kept.server, name_on_server(recipe, folder), embedder, **_options(recipe))
    if not (note := folder / NAME).is_file():
        write_atomically(note, to_json({"server": kept.server, "name": name_on_server(recipe, folder)}))
    return memory


def read_memory(run: RunDir, *, all_tiers: bool = False) -> Memory:
    """The memory of a run as its last commit left it, to be read: no lock, nothing changed, also while the run goes on.

    One on a server is read as it is there, which may be in the middle of a step. `all_tiers`: whatever is stored, also what
    the run does not read. Raises RunError where the run keeps none, and MemoryStoreError.
    """
    run = RunDir.open(run.path)  # what is committed by now
    recipe, folder = run.recipe, run.memory_path
    if all_tiers:
        recipe = recipe.model_copy(update={"memory": recipe.memory.model_copy(update={"tiers": TIERS})})
    server = recipe.memory.server
    if not (folder / ("memory.json" if server is None else NAME)).is_file():
        raise RunError(f"{run.path} has no memory.", "A run keeps one if memory.tiers and memory.persist say so.")
    embedder = build_embedder(recipe.memory.embedder)
    if server is None:
        return Memory.snapshot(folder, embedder, run.next_step, **_options(recipe))
    return Memory.connect(server, name_on_server(recipe, folder), embedder, **_options(recipe))


def _options(recipe: Recipe) -> Options:
    kept = recipe.memory
    return Options(
        tiers=kept.tiers,
        lessons_per_problem=kept.lessons_kept,
        min_similarity=kept.min_similarity,
        near=kept.near,
        half_life=kept.lift.half_life,
    )


def name_on_server(recipe: Recipe, folder: Path) -> str:
    """The name that is noted in the folder, which stays the same when a run's folder is moved.

    A new one is the run's name and a hash of where its folder is: two runs of one name in two places are two memories.
    """
    if (note := folder / NAME).is_file():
        return str(json.loads(note.read_text("utf-8"))["name"])
    return f"{recipe.name.lstrip('_') or 'run'}-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"


def build_embedder(
    section: HashingEmbedderSection | HuggingFaceEmbedderSection | EndpointEmbedderSection,
) -> Embedder:
    """Raises MemoryStoreError where a model cannot be loaded, or a server does not answer."""
    if isinstance(section, HashingEmbedderSection):
        return HashingEmbedder(section.dimension)
    if isinstance(section, EndpointEmbedderSection):
        from pmd_agent.memory.endpoint_embedder import EndpointEmbedder

        return EndpointEmbedder(section.model, section.api_base, api_key=section.api_key)
    from pmd_agent.models.embedder import HuggingFaceEmbedder

    return HuggingFaceEmbedder(
        section.model, device=section.device, pooling=section.pooling, max_tokens=section.max_tokens
    )
