from __future__ import annotations

import time

import pytest

from pmd_agent.verifiers.code.extract import last_program


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n```", "x = 1\n"),
        ("```Python3\nx = 1\n```", "x = 1\n"),
        ("``` python title=a.py\nx = 1\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("First:\n```python\nx = 1\n```\nBetter:\n```python\nx = 2\n```\nDone.", "x = 2\n"),
        ("```python\nx = 1\n```\nIt prints:\n```text\n1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nIt prints:\n```\n1\n```", "x = 1\n"),
        ("```\nx = 1\n```\n```\nx = 2\n```", "x = 2\n"),
        ("```python\nx = 1\n```\nand cut off:\n```python\nx = 2", "x = 1\n"),
        ("```python\nnever closed\n```python\nx = 2\n```", "x = 2\n"),
        ("- so:\n  ```python\n  if x:\n      y\n  ```", "if x:\n    y\n"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        ("<think>```python\nx = 1\n```</think>```python\nx = 2\n```", "x = 2\n"),
        ("```python\ns = '''\n  ```inline``` stays\n'''\n```", "s = '''\n  ```inline``` stays\n'''\n"),
        ("```python\n```", "\n"),
        ("```python\nx = 1", None),
        ("x = 1", None),
        ("```cpp\nint x;\n```", None),
        ("<think>```python\nx = 1\n```", None),
        ("```python x = 1 ```", None),
        ("", None),
    ],
)
def test_the_last_complete_block_counts(text: str, program: str | None) -> None:
    assert last_program(text) == program


def test_a_text_of_fences_takes_no_time() -> None:
    assert last_program("```python\n" * 100_000) is None
    assert last_program("`" * 1_000_000) is None


RUNS = [
    "a",
    "`",
    "``",
    "```",
    " ",
    "\t",
    "-",
    ".",
    "\n",
    "\r",
    "\r\n",
    "<",
    "<think>",
    "</think>",
    "<think",
    "```python",
    "```a ",
    "``` ",
    "\u2028",
    "é",
]


@pytest.mark.parametrize("head", ["", "```", "```python\n", "   ```"])
@pytest.mark.parametrize("end", ["", "`", "\n```\n"])
def test_a_long_run_of_anything_takes_no_time(head: str, end: str) -> None:
    """A degenerate completion is one."""
    begin = time.process_time()
    for run in RUNS:
        last_program(head + run * (100_000 // len(run)) + end)
    assert time.process_time() - begin < 0.1 * len(RUNS)
