"""The embedder that needs torch: any Hugging Face encoder, in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pmd_agent.errors import MemoryStoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class HuggingFaceEmbedder:
    """Last hidden states of an encoder (or of a decoder made for it), pooled and normalised.

    `pooling`: the mean over tokens, or the last token, as Qwen3-Embedding has it.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        pooling: Literal["mean", "last"] = "mean",
        max_tokens: int = 512,
        batch: int = 32,
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            self._model: Any = (
                AutoModel.from_pretrained(model, dtype="float32", trust_remote_code=False).to(device).eval()
            )
        except (OSError, ValueError) as error:
            hint = "Give a folder, or a name in the hub's cache, in memory.embedder.model."
            raise MemoryStoreError(f"The embedder {model} cannot be loaded: {error}", hint) from error
        self.name, self.pooling, self._device, self._batch = model, pooling, device, batch
        limit = int(getattr(self._model.config, "max_position_embeddings", max_tokens) or max_tokens)
        self.max_tokens = min(max_tokens, limit)
        self._tokenizer.padding_side = "right"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self.dimension = int(self._model.config.hidden_size)
        self._digest = _digest(self._model)

    @property
    def identity(self) -> str:
        """Of the weights, not of their place: a folder that moved holds the same embedder."""
        return f"huggingface sha256={self._digest} pooling={self.pooling} max_tokens={self.max_tokens}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, dimension) float32, rows of L2 norm 1; a text without a token is one fixed unit vector."""
        import numpy as np
        import torch

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), self._batch):
            # Markers in a text are words here: no special token comes out of what was remembered.
            part = self._tokenizer(
                list(texts[start : start + self._batch]),
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                split_special_tokens=True,
                return_tensors="pt",
            )
            mask = part["attention_mask"]
            if not mask.shape[1]:
                continue
            ids = part["input_ids"].to(self._device)
            with torch.inference_mode():
                hidden = (
                    self._model(input_ids=ids, attention_mask=mask.to(self._device)).last_hidden_state.float().cpu()
                )
            count = mask.sum(1)
            if self.pooling == "last":
                pooled = hidden[torch.arange(len(hidden)), (count - 1).clamp(min=0)] * (count > 0)[:, None]
            else:
                pooled = (hidden * mask[:, :, None]).sum(1) / count.clamp(min=1)[:, None]
            vectors[start : start + self._batch] = pooled.numpy()
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[norms[:, 0] == 0, -1] = 1.0
        norms[norms == 0] = 1.0
        vectors /= norms
        return vectors


def _digest(model: Any) -> str:
    """Of every weight's name, shape and values."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
