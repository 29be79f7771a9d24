"""Text -> vectors. The default needs no download and never goes stale: it has no weights.

An embedder made of the policy's own hidden states would be stale after every update of the policy; one that downloads
does not run offline. Any object with these three members can take its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pmd_agent.text import readable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embedder(Protocol):
    """What the memory needs of an embedding model."""

    @property
    def identity(self) -> str:
        """Equal for two embedders only if they give equal vectors: name the model *and* its hash or parameters."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, dimension) float32, each row of L2 norm 1. Texts are valid UTF-8 and may be empty."""


class HashingEmbedder:
    """Hashed words, word pairs and character n-grams: texts are near where they share rare surface forms.

    The same text gives the same vector in every process and on every machine. It knows no synonyms.
    """

    def __init__(self, dimension: int = 512) -> None:
        """`dimension` >= 16; three quarters hold words, one quarter characters, the last one stands for "no words"."""
        if dimension < 16:
            raise ValueError(f"dimension must be at least 16, not {dimension}")
        self.dimension = dimension

    @property
    def identity(self) -> str:
        """Raise the number with any change of this file that changes a vector."""
        return f"hashing-1 dimension={self.dimension}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, dimension) float32, each row of L2 norm 1; a text without content words is one fixed unit vector."""
        import numpy as np
        from sklearn.feature_extraction.text import HashingVectorizer

        characters = self.dimension // 4
        words = self.dimension - characters - 1
        contents = [_content(text) for text in texts]
        vectors = np.zeros((len(contents), self.dimension), dtype=np.float32)
        if not contents:
            return vectors
        by_word = HashingVectorizer(n_features=words, ngram_range=(1, 2), token_pattern=r"\S+", lowercase=False)
        by_character = HashingVectorizer(n_features=characters, analyzer="char_wb", ngram_range=(3, 4), lowercase=False)
        vectors[:, :words] = by_word.transform(contents).toarray()
        vectors[:, words:-1] = _CHARACTER_WEIGHT * by_character.transform(contents).toarray()
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        # Cosine is undefined for a zero vector. The last place is kept free, so that "no words" is near itself alone.
        vectors[norms[:, 0] == 0, -1] = 1.0
        norms[norms == 0] = 1.0
        vectors /= norms
        return vectors


_CHARACTER_WEIGHT = 0.4
"""Beside 1.0 for words: enough to bring inflected forms together, too little to outvote an equal word."""

# Our own list: scikit-learn's takes out words with content ("mill", "find", "first", "never"), and may change.
_WORDS = """
    a about after all also am an and any are as at be because been before being both but by can could did do does
    doing done each either else etc for from had has have having he her hers him his how i if in into is it its itself
    just let me might must my of off on once one only or other our ours out over own per please shall she should so
    some such than that the their theirs them then there these they this those through to too under until up upon us
    very was we were what when where whether which while who whom whose why will with within would you your
    yours"""
_FUNCTION_WORDS = frozenset(_WORDS.split())


def _content(text: str) -> str:
    """Lower case, words and numbers alone, without function words."""
    return " ".join(word for word in re.findall(r"\w+", readable(text).lower()) if word not in _FUNCTION_WORDS)
