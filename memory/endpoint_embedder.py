"""Embeddings from any server that talks as OpenAI's does, such as vLLM with Qwen3-Embedding-0.6B."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pmd_agent.api_keys import read_key
from pmd_agent.errors import MemoryStoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 64
"""Texts in one request."""
_HINT = (
    "Check memory.embedder.api_base and .model, and that the server runs; a run that has begun goes on with --resume."
)


class EndpointEmbedder:
    """POSTs texts to `api_base`/embeddings. Its identity names the model: the server cannot be asked for its weights' hash."""

    def __init__(self, model: str, api_base: str, *, api_key: str = "", timeout: float = 60.0) -> None:
        """`api_key` names an environment variable (api_keys.py), or is empty. Asks for the dimension; raises MemoryStoreError."""
        key = read_key(api_key, api_base, MemoryStoreError) if api_key else ""
        if api_key and not key:
            raise MemoryStoreError(
                f"The embedder's key is read from ${api_key}, which is not set.", f"export {api_key}=..."
            )
        self.model, self._url = model, api_base.rstrip("/") + "/embeddings"
        self._headers, self._timeout = {"Authorization": f"Bearer {key}"} if key else {}, timeout
        self.dimension = 0
        self.dimension = self.embed(["dimension"]).shape[1]

    @property
    def identity(self) -> str:
        """The model's name on the server, and the dimension."""
        return f"endpoint {self.model} dimension={self.dimension}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, dimension) float32, rows of L2 norm 1. Raises MemoryStoreError where the server does not give that."""
        import numpy as np

        rows: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            # Servers refuse the empty text.
            rows += self._ask([text or " " for text in texts[start : start + BATCH]])
        if not rows:
            return np.zeros((0, self.dimension), dtype=np.float32)
        widths = {len(row) for row in rows}
        if len(widths) != 1 or (self.dimension and widths != {self.dimension}):
            raise MemoryStoreError(
                f"{self._url} gave vectors of {sorted(widths)} numbers, not {self.dimension}.", _HINT
            )
        vectors = np.array(rows, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all() or not norms.all():
            raise MemoryStoreError(f"{self._url} gave a vector without a direction.", _HINT)
        vectors /= norms
        return vectors

    def _ask(self, texts: list[str]) -> list[list[float]]:
        import httpx

        try:
            with httpx.Client(timeout=self._timeout, transport=httpx.HTTPTransport(retries=2)) as client:
                answer = client.post(self._url, json={"model": self.model, "input": texts}, headers=self._headers)
            answer.raise_for_status()
            data: list[dict[str, Any]] = answer.json()["data"]
            found = [row["embedding"] for row in sorted(data, key=lambda row: row["index"])]
        except httpx.HTTPStatusError as error:
            said = error.response.text[:200]
            raise MemoryStoreError(f"{self._url} answered {error.response.status_code}: {said}", _HINT) from error
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise MemoryStoreError(f"{self._url} gave no embeddings: {error!r}", _HINT) from error
        if len(found) != len(texts):
            raise MemoryStoreError(f"{self._url} gave {len(found)} embeddings for {len(texts)} texts.", _HINT)
        return found
