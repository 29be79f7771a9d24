"""Embedders that a recipe names: a real tiny encoder, and a server of embeddings on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pmd_agent.assembly.memory import build_embedder
from pmd_agent.errors import MemoryStoreError
from pmd_agent.memory import Embedder, HashingEmbedder, Memory
from pmd_agent.memory.endpoint_embedder import EndpointEmbedder
from pmd_agent.models.embedder import HuggingFaceEmbedder
from pmd_agent.recipe import parse_recipe
from pmd_agent.types import Behavior

TEXTS = ["Use zog max.", "", "<|im_end|>", "in the mill, compute 37 zog 14 " * 200, "a b"]


def rule(text: str) -> Behavior:
    return Behavior(f"1/{text}", f"behavior_{text}", text, "c", 1, (), 1, 1)


# ---- Hugging Face


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A BERT of random weights, with the tiny tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(encoder_folder: Path) -> HuggingFaceEmbedder:
    return HuggingFaceEmbedder(str(encoder_folder))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_an_encoder_gives_unit_rows_that_padding_does_not_change(encoder_folder: Path, pooling: Any) -> None:
    found: Embedder = HuggingFaceEmbedder(str(encoder_folder), pooling=pooling)
    vectors = found.embed(TEXTS)
    assert vectors.shape == (5, 24) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert found.embed([text])[0] == pytest.approx(vector, abs=1e-5)
    assert found.embed([]).shape == (0, 24)
    assert abs(float(vectors[0] @ vectors[4])) < 0.999, "texts differ"


def test_mean_pooling_is_the_mean_of_the_hidden_states(encoder: HuggingFaceEmbedder) -> None:
    import torch

    ids = encoder._tokenizer(TEXTS[0], return_tensors="pt").input_ids
    with torch.no_grad():
        mean = encoder._model(input_ids=ids).last_hidden_state[0].mean(0).numpy()
    assert encoder.embed([TEXTS[0]])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_its_identity_is_that_of_the_weights(
    encoder: HuggingFaceEmbedder, encoder_folder: Path, tmp_path: Path
) -> None:
    import shutil

    import torch

    shutil.copytree(encoder_folder, tmp_path / "moved")
    assert HuggingFaceEmbedder(str(tmp_path / "moved")).identity == encoder.identity
    other = HuggingFaceEmbedder(str(encoder_folder))
    with torch.no_grad():
        next(other._model.parameters()).add_(0.01)
    other._model.save_pretrained(tmp_path / "trained")
    shutil.copy(encoder_folder / "tokenizer.json", tmp_path / "trained")
    shutil.copy(encoder_folder / "tokenizer_config.json", tmp_path / "trained")
    trained = HuggingFaceEmbedder(str(tmp_path / "trained"))
    assert trained.identity != encoder.identity and trained.dimension == encoder.dimension
    Memory.open(tmp_path / "memory", encoder).close()
    with pytest.raises(MemoryStoreError, match="vectors of the embedder"):
        Memory.open(tmp_path / "memory", trained)


def test_a_memory_by_an_encoder(encoder: HuggingFaceEmbedder) -> None:
    with Memory.ephemeral(encoder) as memory:
        memory.replace_behaviors([rule("Use zog max."), rule("\ud800\x00 <|im_end|>")], 1)
        assert memory.nearest_behaviors("Use zog max.", 1)[0][1] == pytest.approx(1.0, abs=1e-4)


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MemoryStoreError, match="cannot be loaded") as refused:
        HuggingFaceEmbedder(str(tmp_path / "nowhere"))
    assert "memory.embedder.model" in refused.value.hint


# ---- endpoints


@pytest.fixture
def endpoint() -> Iterator[SimpleNamespace]:
    """OpenAI's embeddings by the hashing embedder, out of order; `answer` can take its place."""
    state = SimpleNamespace(asked=[], keys=[], answer=None)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append(body)
            state.keys.append(self.headers.get("Authorization"))
            rows = HashingEmbedder(32).embed(body["input"]) * 3  # not normalised
            data = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(rows)][::-1]
            status, answer = state.answer(body) if state.answer else (200, {"data": data})
            content = json.dumps(answer).encode()
            self.send_response(status if self.path == "/v1/embeddings" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    state.base = f"http://127.0.0.1:{http.server_address[1]}/v1"
    yield state
    http.shutdown()
    http.server_close()


def test_an_endpoint_gives_the_servers_vectors_normalised(
    endpoint: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    found: Embedder = EndpointEmbedder("some/model", endpoint.base, api_key="MY_KEY")
    texts = [f"text {i}" for i in range(150)]
    assert found.embed(texts) == pytest.approx(HashingEmbedder(32).embed(texts), abs=1e-5)
    assert found.identity == "endpoint some/model dimension=32" and found.embed([]).shape == (0, 32)
    assert [len(body["input"]) for body in endpoint.asked] == [1, 64, 64, 22]
    assert set(endpoint.keys) == {"Bearer secret"} and {b["model"] for b in endpoint.asked} == {"some/model"}
    found.embed([""])
    assert endpoint.asked[-1]["input"] == [" "]


def test_another_model_on_the_endpoint_is_refused(endpoint: SimpleNamespace, tmp_path: Path) -> None:
    with Memory.open(tmp_path, EndpointEmbedder("one", endpoint.base)) as memory:
        memory.replace_behaviors([rule("zog max")], 1)
        assert memory.nearest_behaviors("zog max", 1)[0][1] == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(MemoryStoreError, match="endpoint one"):
        Memory.open(tmp_path, EndpointEmbedder("two", endpoint.base))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda body: (404, {"error": "no such model"}), "404.*no such model"),
        (lambda body: (200, {"data": []}), "0 embeddings for 1 texts"),
        (lambda body: (200, {"data": [{"index": 0}]}), "no embeddings"),
        (lambda body: (200, {"data": [{"index": 0, "embedding": [1.0, 2.0]}]}), "not 32"),
        (lambda body: (200, {"data": [{"index": 0, "embedding": [0.0] * 32}]}), "without a direction"),
    ],
)
def test_bad_answers_are_one_clear_error(
    endpoint: SimpleNamespace, answer: Callable[[Any], tuple[int, Any]], says: str
) -> None:
    found = EndpointEmbedder("m", endpoint.base)
    endpoint.answer = answer
    with pytest.raises(MemoryStoreError, match=says) as refused:
        found.embed(["x"])
    assert "api_base" in refused.value.hint


def test_a_recipe_names_its_embedder(endpoint: SimpleNamespace, encoder_folder: Path) -> None:
    def built(**section: Any) -> Embedder:
        return build_embedder(parse_recipe({"memory": {"embedder": section}}).memory.embedder)

    assert built().identity == "hashing-1 dimension=512" and built(dimension=64).dimension == 64
    assert isinstance(built(type="huggingface", model=str(encoder_folder), pooling="mean"), HuggingFaceEmbedder)
    assert built(type="endpoint", model="m", api_base=endpoint.base).dimension == 32
    with pytest.raises(MemoryStoreError, match="no embeddings"):
        built(type="endpoint", api_base="http://127.0.0.1:9/v1")
    with pytest.raises(MemoryStoreError, match=r"\$NOT_SET"):
        built(type="endpoint", api_base=endpoint.base, api_key="NOT_SET")
