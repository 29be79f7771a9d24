"""The offline embedder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmd_agent.memory import Embedder, HashingEmbedder

TEXTS = ["Use zog max.", "In mill, compute ( 37 zog 14 ) vit 52.", "", "a\x00\ud800b", "ÄÖÜ 数学", "the of and"]


def similarity(one: str, other: str) -> float:
    vectors = HashingEmbedder().embed([one, other])
    return float(vectors[0] @ vectors[1])


@given(st.lists(st.text(st.characters(), max_size=40), max_size=4), st.sampled_from([16, 64, 512]))
@settings(max_examples=30, deadline=None)
def test_unit_rows_whatever_the_text(texts: list[str], dimension: int) -> None:
    embedder: Embedder = HashingEmbedder(dimension)
    vectors = embedder.embed(texts)
    assert vectors.shape == (len(texts), embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)


def test_the_same_in_every_process(make: SimpleNamespace) -> None:
    code = (
        "import hashlib, sys; from pmd_agent.memory import HashingEmbedder; "
        f"print(hashlib.sha256(HashingEmbedder().embed({TEXTS!a}).tobytes()).hexdigest(), end='')"
    )
    here = hashlib.sha256(HashingEmbedder().embed(TEXTS).tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**make.env, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout == here


def test_the_neighbours_in_a_batch_do_not_matter() -> None:
    together = HashingEmbedder().embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.array_equal(HashingEmbedder().embed([text])[0], vector)


def test_function_words_do_not_count() -> None:
    assert similarity("What is the ring in the molecule?", "ring molecule") == pytest.approx(1.0, abs=1e-5)
    assert abs(similarity("what is the one of these", "benzene ring")) < 1e-6


def test_words_with_content_do_count() -> None:
    # They are on scikit-learn's list of English stop words.
    for word in ("mill", "first", "never", "find"):
        assert similarity(word, "") < 0.5


def test_case_and_punctuation_do_not_count() -> None:
    assert similarity("Use ZOG, max!", "use zog max") == pytest.approx(1.0, abs=1e-5)


def test_inflected_forms_are_near() -> None:
    assert similarity("hydrogenation", "hydrogenated") > 0.05
    assert similarity("hydrogenation", "hydrogenated") > similarity("hydrogenation", "catalysis") + 0.03


def test_the_identity_tells_dimensions_apart() -> None:
    assert HashingEmbedder(64).identity != HashingEmbedder(512).identity
    assert HashingEmbedder().dimension == 512
    with pytest.raises(ValueError, match="at least 16"):
        HashingEmbedder(8)


def test_the_vectors_of_this_identity_are_these() -> None:
    """Stores on users' disks hold them. If this fails on purpose, raise the number in `identity`."""
    assert HashingEmbedder().identity == "hashing-1 dimension=512"
    vectors = HashingEmbedder(16).embed(["Use zog max.", ""])
    assert vectors == pytest.approx(np.array(PINNED, dtype=np.float32), abs=1e-5)


PINNED = [
    [0, 0, -0.415227, 0, 0, 0.415227, 0, -0.415227, 0, -0.415227, 0.415227, 0.123797, -0.247594, 0, -0.247594, 0],
    [0] * 15 + [1],
]
