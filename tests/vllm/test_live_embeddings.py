"""Vectors of a real vLLM server: what the memory's endpoint embedder asks for, and stores."""

from __future__ import annotations

import importlib.util
import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory import HashingEmbedder, Memory
from pmd_agent.memory.endpoint_embedder import EndpointEmbedder
from pmd_agent.models.embedder import HuggingFaceEmbedder
from pmd_agent.policies.vllm.process_guard import session_members
from pmd_agent.policies.vllm.server import VllmServer
from pmd_agent.policies.vllm.server_arguments import ServerSettings, model_source
from pmd_agent.types import Behavior

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1200)]

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed; docs/vllm.md has the command for its CPU build", allow_module_level=True)

TEXTS = ["Use zog max.", "Use vit min, then check.", "37 zog 14", "", "x " * 300]


def test_a_memory_by_the_vectors_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServerSettings(
        model_source("box"), dtype="float32", max_model_len=1024, arguments=("--runner", "pooling")
    )
    server = VllmServer(settings, tmp_path / "vllm.log")
    try:
        server.ensure()
        pid = server.pid
        assert pid is not None
        monkeypatch.setenv("PMD_TEST_KEY", server.key)
        request = urllib.request.Request(
            f"{server.address}/v1/models", headers={"Authorization": f"Bearer {server.key}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            name = json.load(answer)["data"][0]["id"]
        embedder = EndpointEmbedder(name, f"{server.address}/v1", api_key="PMD_TEST_KEY")
        vectors = embedder.embed(TEXTS)
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        here = HuggingFaceEmbedder(model_source("box"), pooling="last").embed(TEXTS)
        alike = (vectors * here).sum(1)
        assert alike[[0, 1, 2, 4]].min() > 0.999, alike
        rules = [Behavior(f"1/{i}", f"behavior_{i}", text, "c", 1, (), 1, 1) for i, text in enumerate(TEXTS[:3])]
        with Memory.open(tmp_path / "memory", embedder) as memory:
            memory.replace_behaviors(rules, 1)
            (near, similarity) = memory.nearest_behaviors(TEXTS[1], 1)[0]
            assert near.text == TEXTS[1] and similarity == pytest.approx(1.0, abs=1e-3)
        with pytest.raises(MemoryStoreError, match="vectors of the embedder"):
            Memory.open(tmp_path / "memory", HashingEmbedder())
    finally:
        server.stop()
    assert not session_members(pid)
    assert np.isfinite(vectors).all()
