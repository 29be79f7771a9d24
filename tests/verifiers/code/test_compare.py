from __future__ import annotations

import json
from typing import Any

import pytest

from pmd_agent.verifiers.code.compare import same_output, same_value
from pmd_agent.verifiers.code.jail.values import encode


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        ("3\n", "3", True),
        (" 3 \r\n\n", "3", True),
        ("1 2\n3\n", "1 2\n3", True),
        ("1.0 2", "1 2.00", True),
        ("1e3", "1000", True),
        ("1  2", "1 2", True),
        ("Yes", "Yes", True),
        ("", "", True),
        ("yes", "Yes", False),
        ("a  b", "a b", False),
        ("1\n2", "1 2", False),
        ("1\n2\n3", "1\n2", False),
        ("0.3333333", "0.3333334", False),
        ("nan", "1", False),
        ("1 x", "1 y", False),
        ("3 " * 1000, "3", False),
    ],
)
def test_outputs(got: str, expected: str, same: bool) -> None:
    assert same_output(got, expected) is same


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        (3, 3, True),
        ((1, 2), [1, 2], True),
        ([(1, 2), [3]], [[1, 2], [3]], True),
        ({"a": (1,)}, {"a": [1]}, True),
        (1.0, 1, True),
        (True, True, True),
        (None, None, True),
        ([1], [2], False),
        ({1}, [1], False),
        ("1", 1, False),
        (float("nan"), 1, False),
        (None, False, False),
    ],
)
def test_values(got: Any, expected: Any, same: bool) -> None:
    assert same_value(json.loads(json.dumps(encode(got))), expected) is same
