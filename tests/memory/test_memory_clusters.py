"""Problems that resemble one another."""

from __future__ import annotations

import random

import pytest

from pmd_agent.memory import HashingEmbedder, cluster_problems, with_old_ids

TOPICS = {
    "atoms": "count the carbon atoms of this molecule",
    "bands": "which semiconductor has the wider band gap",
    "cells": "name the protein that folds in the cell membrane",
    "fluids": "pressure drop of water flowing through a pipe",
}
PROBLEMS = [(f"{name}-{i:02d}", f"{text}, variant {i}") for name, text in TOPICS.items() for i in range(10)]


def test_every_problem_is_in_exactly_one_cluster() -> None:
    clusters = cluster_problems(PROBLEMS, HashingEmbedder(), size=6, seed=0)
    assert sorted(p for members in clusters.values() for p in members) == sorted(p for p, _ in PROBLEMS)
    assert all(1 <= len(members) <= 12 for members in clusters.values())
    assert all(members == sorted(members) for members in clusters.values())


def test_ids_are_ordered_by_smallest_member() -> None:
    clusters = cluster_problems(PROBLEMS, HashingEmbedder(), size=6, seed=0)
    assert list(clusters) == [f"cluster-{i:03d}" for i in range(len(clusters))]
    firsts = [members[0] for members in clusters.values()]
    assert firsts == sorted(firsts)
    assert len(clusters) >= 7


def test_neither_order_nor_repetition_matters() -> None:
    shuffled = random.Random(1).sample(PROBLEMS, len(PROBLEMS))
    expected = cluster_problems(PROBLEMS, HashingEmbedder(), size=6, seed=3)
    assert list(cluster_problems(shuffled, HashingEmbedder(), size=6, seed=3).items()) == list(expected.items())


def test_likes_are_together() -> None:
    clusters = cluster_problems(PROBLEMS, HashingEmbedder(), size=10, seed=0)
    assert list(clusters.values()) == [[f"{name}-{i:02d}" for i in range(10)] for name in TOPICS]


def test_equal_texts_are_cut_evenly() -> None:
    same = [(f"p{i:02d}", "the same text") for i in range(23)]
    clusters = cluster_problems(same, HashingEmbedder(), size=5, seed=0)
    assert [len(members) for members in clusters.values()] == [5, 4, 5, 4, 5]
    assert [p for members in clusters.values() for p in members] == [p for p, _ in same]


@pytest.mark.parametrize(("n", "size", "expected"), [(0, 5, []), (1, 5, [1]), (3, 1, [1, 1, 1]), (4, 100, [4])])
def test_edges(n: int, size: int, expected: list[int]) -> None:
    clusters = cluster_problems(
        [(f"p{i}", f"{'abcd'[i] * 5} \ud800\x00") for i in range(n)], HashingEmbedder(), size=size, seed=0
    )
    assert [len(members) for members in clusters.values()] == expected


def test_a_cluster_has_a_size() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        cluster_problems(PROBLEMS, HashingEmbedder(), size=0, seed=0)


def test_clusters_keep_the_ids_of_those_they_come_from() -> None:
    before = {"cluster-000": ["a", "b", "c"], "cluster-001": ["d", "e"], "cluster-004": ["x"]}
    now = {"cluster-000": ["d", "e", "f"], "cluster-001": ["b", "c", "g"], "cluster-002": ["a"], "cluster-003": ["h"]}
    named = with_old_ids(now, before)
    assert named == {
        "cluster-001": ["d", "e", "f"], "cluster-000": ["b", "c", "g"], "cluster-002": ["a"], "cluster-003": ["h"]
    }  # fmt: skip
    assert with_old_ids(now, {}) == now
