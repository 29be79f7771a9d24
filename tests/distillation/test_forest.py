"""Sequences that share their beginnings, laid out once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pmd_agent.distillation.forest import Segment, common_prefix, plant

# Few tokens, so that beginnings, whole sequences and prefixes of others come up again and again.
SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), min_size=1, max_size=12)


@given(SEQUENCES, st.integers(1, 5))
def test_every_sequence_reads_just_what_it_would_alone(sequences: list[tuple[int, ...]], shortest: int) -> None:
    forest = plant(sequences, shortest)
    sees: dict[int, list[int]] = {}
    for segment in forest.segments:
        before = [column for span in segment.before for column in range(*span)]
        for n, column in enumerate(range(*segment.own)):
            assert column not in sees, "a column has one place"
            sees[column] = [*before, *range(segment.own[0], segment.own[0] + n + 1)]
    assert sorted(sees) == list(range(len(forest.ids)))
    for sequence, columns in zip(sequences, forest.columns, strict=True):
        assert tuple(forest.ids[c] for c in columns) == sequence
        assert [forest.positions[c] for c in columns] == list(range(len(sequence)))
        for n, column in enumerate(columns):
            assert sees[column] == columns[: n + 1], "what stands before it, and nothing else"


@given(SEQUENCES)
def test_with_no_shortest_beginning_no_prefix_is_there_twice(sequences: list[tuple[int, ...]]) -> None:
    prefixes = {s[:n] for s in sequences for n in range(1, len(s) + 1)}
    assert len(plant(sequences, 1).ids) == len(prefixes)


def test_a_group_by_hand() -> None:
    prompt = tuple(range(20))
    forest = plant([(*prompt, 1, 1), (*prompt, 2), (7, 7), (*prompt, 1, 2)], shortest=4)
    assert forest.segments == (
        Segment((0, 20), ()),
        Segment((20, 22), ((0, 20),)),  # one shared token is not worth a segment
        Segment((22, 24), ((0, 20),)),
        Segment((24, 25), ((0, 20),)),
        Segment((25, 27), ()),
    )
    assert forest.columns[1] == [*range(20), 24]
    assert forest.positions[20:] == [20, 21, 20, 21, 20, 0, 1]


def test_pieces_of_a_path_that_touch_are_one() -> None:
    a = tuple(range(8))
    forest = plant([(*a, 1, 1, 1, 1, 5), (*a, 1, 1, 1, 1, 6), (*a, 2)], shortest=2)
    assert [s.before for s in forest.segments] == [(), ((0, 8),), ((0, 12),), ((0, 12),), ((0, 8),)]


def test_equal_sequences_stand_once() -> None:
    forest = plant([(1, 2), (1, 2), (1, 2)], shortest=16)
    assert forest.ids == [1, 2] and forest.columns == [[0, 1]] * 3


def test_how_much_two_sequences_share() -> None:
    assert [common_prefix(a, b) for a, b in (((1, 2), (1, 3)), ((), (1,)), ((1, 2), (1, 2, 3)), ((4,), (5,)))] == [
        1, 0, 2, 0,
    ]  # fmt: skip
