"""Whatever a program does is its own fault: wrong, and never "could not be checked", which no average counts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from pmd_agent.types import Problem
from pmd_agent.verifiers import verify_all
from pmd_agent.verifiers.code import CodeVerifier, Limits
from pmd_agent.verifiers.code.compare import same_value
from pmd_agent.verifiers.code.jail.wire import Garbled, parsed
from pmd_agent.verifiers.code.sandbox import REPLY, REPLY_PARTS
from pmd_agent.verifiers.code.shown import shown

CASES = [("1 2", "3"), ("50 60", "110")]
SCRIPT = Problem("script", "?", data={"tests": [{"input": a, "output": b} for a, b in CASES]})
METHOD = Problem(
    "method", "?", data={"entry": "add", "tests": [{"input": a.replace(" ", "\n"), "output": b} for a, b in CASES]}
)
HEAD = "def add(a, b):\n    '''The sum.'''\n"


def checked(check: str) -> Problem:
    body = "\n".join(f"    {line}" for line in check.split("\n"))
    return Problem("check", "?", data={"entry": "add", "prompt": HEAD, "check": f"def check(candidate):\n{body}\n"})


CHECK = checked("assert candidate(1, 2) == 3\nassert candidate(50, 60) == 110")

SCRIPTS = {
    "an output that is long once escaped": "import os\nfor _ in range(128): os.write(1, b'\\xff' * 65536)",
    "one that is too long": "import os\nwhile True: os.write(1, b'\\xff' * 65536)",
    "errors that are long": "import os\nfor _ in range(128): os.write(2, b'\\x00' * 65536)\nraise SystemExit(1)",
    "a larger pipe": "import fcntl, os\nfcntl.fcntl(1, 1031, 1 << 20)\nos.write(1, bytes(1 << 20))",
    "sleep until nobody waits": "import time\ntime.sleep(0.8)\nprint(sum(map(int, input().split())))",
    "sleep for ever": "import time\ntime.sleep(1000)",
    "no descriptors": "import os, time\nos.closerange(0, 64)\ntime.sleep(1000)",
    "stopped": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "killed by itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "an early end, threads left": "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(1000,)).start()\nprint(0)",
    "the input gone": "import os\nfor p in ('/dev/stdin', '/ends/stdin', '/tmp'):\n    try: os.remove(p)\n    except OSError: pass\n1 / 0",
    "the program gone": "import os\nos.remove(__file__)\nos.symlink('/dev/zero', __file__)\n1 / 0",
    "its folder gone": "import os\nos.chmod('/tmp', 0)\nos.rmdir('/tmp')",
    "its folder full": "import os\ntry:\n    with open('f', 'wb') as f:\n        while True: f.write(bytes(1 << 20))\nexcept OSError: pass\nfor i in range(5000): open(f'f{i}', 'w').close()",
    "its own files as output": "import os\nos.dup2(os.open('f', os.O_RDWR | os.O_CREAT), 1)\nprint(3)",
    "the output read": "import os\nos.read(os.open('/dev/stdout', os.O_RDONLY), 1)",
    "lower limits": "import resource as r\nfor n in (r.RLIMIT_NOFILE, r.RLIMIT_NPROC, r.RLIMIT_FSIZE, r.RLIMIT_AS): r.setrlimit(n, (0, 0))\nopen('x')",
    "no memory left": "x = []\ntry:\n    while True: x.append(bytes(1 << 16))\nexcept MemoryError: pass\nwhile True:\n    try: x.append([x])\n    except MemoryError: break\nraise SystemExit(5)",
    "modules taken away": "import sys, gc, builtins\nsys.modules.clear()\nvars(builtins).clear()",
    "an end that fails": "import sys, gc\nclass M(dict):\n    def __iter__(self): raise KeyError\nsys.modules = M()\ngc.collect = None\nsys.stdout = sys.excepthook = 3\n1 / 0",
    "a file that never flushes": "import io\nclass F(io.TextIOWrapper):\n    def flush(self):\n        while True: pass\nf = F(io.BytesIO())\nprint(0)",
    "an object that hangs when asked": "class A:\n    @property\n    def __class__(self):\n        while True: pass\na = A()\nprint(0)",
    "source that is no text": "x = '\udcff'",
    "source with a zero": "x = '\x00'",
    "source of brackets": "(" * 50_000,
}
"""Scripts; none prints a sum in time."""

FUNCTIONS = {
    "a reply that fills the wire": "def add(a, b): return ['x' * 1000] * 100_000",
    "a reply that is long once escaped": "def add(a, b): return '\\x00' * 3_000_000",
    "all descriptors full": "import os\ndef add(a, b):\n    for fd in (3, 4, 1, 2):\n        try: os.write(fd, b'\\xff' * (7 << 20))\n        except OSError: pass\n    os._exit(0)",
    "sleep until nobody waits": "import time\ndef add(a, b):\n    time.sleep(0.8)\n    return a + b if a == 1 else 0",
    "no descriptors": "import os, time\ndef add(a, b):\n    os.closerange(0, 64)\n    time.sleep(1000)",
    "stopped": "import os, signal\ndef add(a, b): os.kill(os.getpid(), signal.SIGSTOP)",
    "not loaded": "import time\ntime.sleep(1000)\ndef add(a, b): return 3",
    "a forged reply without a value": "import os\ndef add(a, b):\n    for fd in (3, 4):\n        try: os.write(fd, b'{}\\n')\n        except OSError: pass\n    os._exit(0)",
    "a forged reply of other types": 'import os\ndef add(a, b):\n    for fd in (3, 4):\n        try: os.write(fd, b\'{"error": [1], "trace": {"a": 1}, "loaded": {}, "passed": true}\\n\')\n        except OSError: pass\n    os._exit(0)',
    "equal hashes": "def add(a, b): return {i * ((1 << 61) - 1) for i in range(2)} | {3}",
    "equal hashes, forged": 'import os\ndef add(a, b):\n    items = \',\'.join(str(i * ((1 << 61) - 1)) for i in range(100_000))\n    text = \'{"value": {"is": "set", "of": [\' + items + \']}}\\n\'\n    for fd in (4, 3):\n        try: os.write(fd, text.encode())\n        except OSError: pass\n    os._exit(0)',
    "lists in lists": "import os\ndef add(a, b):\n    text = b'{\"value\": [' + b'[],' * 1_300_000 + b'[]]}\\n'\n    for fd in (4, 3):\n        try: os.write(fd, text)\n        except OSError: pass\n    os._exit(0)",
    "a very deep list": "import os\ndef add(a, b):\n    text = b'{\"value\": ' + b'[' * 400_000 + b']' * 400_000 + b'}\\n'\n    for fd in (4, 3):\n        try: os.write(fd, text)\n        except OSError: pass\n    os._exit(0)",
    "a number without end": "def add(a, b): return 1 << 10_000_000",
    "a process that goes on": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\ndef add(a, b): return 0",
}

TESTS = {
    "more than they can hold": ("assert len(list(range(candidate(1, 2)))) == 3", "def add(a, b): return 10 ** 12"),
    "more than they can wait for": ("n = candidate(1, 2)\nwhile n != 3: n += 1", "def add(a, b): return 10 ** 12"),
    "an endless loop of calls": ("while candidate(1, 2) != 3: pass", "def add(a, b): return 4"),
    "a power": ("assert 10 ** candidate(1, 2) == 1000", "def add(a, b): return 10 ** 10"),
    "a regular expression": (
        "import re\nassert re.match(candidate(1, 2), 'a' * 60 + 'b')",
        "def add(a, b): return '(a+)+$'",
    ),
    "code": ("assert eval(candidate(1, 2)) == 3", "def add(a, b): return '__import__(\"os\")._exit(0)'"),
    "its own value, doubled again and again": (
        "x = candidate(1, 2)\nfor _ in range(9): x = candidate(x, x)\nassert x == 3",
        "def add(a, b): return [a, b]",
    ),
    "an argument that is too large": (
        "x = candidate(1, 2)\ncandidate([x] * 9, 2)\nassert x == 3",
        "def add(a, b): return 'x' * 4_000_000 if a == 1 else 0",
    ),
    "deep recursion": (
        "def depth(n): return 0 if n == 0 else 1 + depth(n - 1)\nassert depth(candidate(1, 2)) == 3",
        "def add(a, b): return 10 ** 9",
    ),
}
"""Checks that trust a value, and what a program makes of that."""


@pytest.fixture(scope="module")
def hasty(on: dict[str, bool]) -> Iterator[CodeVerifier]:
    """With all limits as they are, but for time."""
    made = CodeVerifier(limits=Limits(seconds=1.0, wall=1.0), total_seconds=1.5)
    yield made
    made.close()


def outcome(verifier: CodeVerifier, problem: Problem, program: str) -> tuple[int, bool | None, str]:
    """How many were not checked, the verdict, and the feedback or the reason."""
    begin = time.monotonic()
    verified = verify_all(verifier, [problem], [[f"```python\n{program}\n```"]], timeout_s=20.0)
    assert time.monotonic() - begin < 15
    verdict = verified.verdicts_PG[0][0]
    return verified.unchecked, verdict.correct, verified.first_reason or verdict.feedback


@pytest.mark.parametrize("name", SCRIPTS)
def test_of_a_script(hasty: CodeVerifier, name: str) -> None:
    assert outcome(hasty, SCRIPT, SCRIPTS[name])[:2] == (0, False)


@pytest.mark.parametrize("problem", [METHOD, CHECK], ids=["method", "check"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_a_function(hasty: CodeVerifier, problem: Problem, name: str) -> None:
    assert outcome(hasty, problem, FUNCTIONS[name])[:2] == (0, False)


@pytest.mark.parametrize("name", TESTS)
def test_of_a_function_that_the_tests_do_not_survive(hasty: CodeVerifier, name: str) -> None:
    check, program = TESTS[name]
    unchecked, correct, told = outcome(hasty, checked(check), program)
    assert (unchecked, correct) == (0, False), told


def test_the_machine_s_faults_stay_unchecked(hasty: CodeVerifier) -> None:
    for check in ("1 / 0", "while True: pass", "import os; os._exit(1)", "x = bytearray(1 << 40)"):
        assert outcome(hasty, checked(check), "def add(a, b): return a + b")[0] == 1


@pytest.mark.parametrize(
    "check",
    [
        "assert all(map(lambda x: candidate(x, x) == 2 * x, range(5)))",
        "assert not any(candidate(x, x) != 2 * x for x in range(5))",
        "for x in map(candidate, [1], [2]): assert x == 3\nassert list(map(candidate, [1], [2])) == [3]",
        "try:\n    candidate('a', 1)\nexcept (TypeError, ValueError, LookupError, AssertionError):\n    pass",
    ],
)
@pytest.mark.parametrize("raised", ["StopIteration", "StopAsyncIteration", "GeneratorExit"])
def test_an_error_does_not_end_the_tests_as_if_all_were_well(hasty: CodeVerifier, check: str, raised: str) -> None:
    assert outcome(hasty, checked(check), f"def add(a, b): raise {raised}")[:2] == (0, False)


def test_a_value_that_is_not_plain_is_true_or_not_and_equal_to_nothing(hasty: CodeVerifier) -> None:
    always = "class Any:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef add(a, b): return Any()"
    for check in ("assert candidate(1, 2) == 3", "assert candidate(1, 2) in (3, None)", "assert not candidate(1, 2)"):
        assert outcome(hasty, checked(check), always)[:2] == (0, False)
    program = "import re\ndef add(a, b): return re.match(a, b)"
    assert outcome(hasty, checked("assert candidate('a', 'ab')\nassert not candidate('b', 'ab')"), program)[1] is True
    assert "a value of type Match" in outcome(hasty, checked("assert candidate('a', 'ab') == 'a'"), program)[2]
    hangs = "class A:\n    def __bool__(self):\n        while True: pass\ndef add(a, b): return A()"
    assert outcome(hasty, CHECK, hangs)[:2] == outcome(hasty, METHOD, hangs)[:2] == (0, False)


SECRET = "s3cr3t"
TELLS = {
    "a status": "import sys\nsys.exit(ord(given[0]))",
    "a hard status": "import os\nos._exit(ord(given[0]))",
    "a signal": "import os\nos.kill(os.getpid(), 2 + ord(given[0]) % 10)",
    "a message": "import sys\nsys.exit(given)",
    "an error's name": "raise type(given, (Exception,), {})",
    "an error": "raise KeyError(given)",
    "an output": "print(given)",
    "a long output": "while True: print(given * 1000)",
    "time of the clock": "import time\ntime.sleep(100)",
    "time of the processor": "while True: pass",
    "recursion": "def f(): f()\nf()",
    "memory": "x = bytes(1 << 40)",
}
"""What a program may choose by the input of a hidden test."""


@pytest.mark.parametrize("kind", ["script", "method", "check"])
def test_of_hidden_tests_only_three_texts_are_told(hasty: CodeVerifier, kind: str) -> None:
    test = {"input": SECRET if kind == "script" else json.dumps(SECRET), "output": '"x"', "hidden": True}
    data = {"tests": [test]} if kind == "script" else {"tests": [test], "entry": "add"}
    if kind == "check":
        data = {"entry": "add", "check": f"def check(candidate): assert candidate({SECRET!r}) == 'x'", "hidden": True}
    told = set()
    for program in TELLS.values():
        body = program.replace("\n", "\n    ")
        source = f"given = input()\n{program}" if kind == "script" else f"def add(given):\n    {body}"
        unchecked, correct, feedback = outcome(hasty, Problem("p", "?", data=data), source)
        assert (unchecked, correct) == (0, False)
        told.add(feedback)
    assert told == {
        "A hidden test failed: wrong result",
        "A hidden test failed: the program raised an error",
        "A hidden test failed: timed out",
    }


def test_a_reply_is_not_built_in_the_trusted_process() -> None:
    """Equal hashes make a set of these take minutes; a comparison or a line of feedback looks at none of them twice."""
    numbers = [i * ((1 << 61) - 1) for i in range(50_000)]
    begin = time.process_time()
    for kind in ("set", "frozenset", "dict", "tuple"):
        items = [[n, n] for n in numbers] if kind == "dict" else numbers
        text = json.dumps({"value": {"is": kind, "of": items}}).encode()
        value = parsed(text, 1 << 30, 1 << 30)["value"]
        assert not same_value(value, [1]) and not same_value(value, {"1": 1}) and len(shown(value, 300)) < 400
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("text", [b"[" + b"[]," * 1_000_000 + b"[]]", b"[" + b"{}," * 600_000 + b"{}]", b"[" * 600_000])
def test_lists_are_counted_before_they_are_made(text: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(Garbled):
        parsed(text, REPLY, REPLY_PARTS)
    assert time.process_time() - begin < 0.2


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"is": "tuple", "of": [1]}, "(1,)"),
        ({"is": "set", "of": []}, "set()"),
        ({"is": "frozenset", "of": [1]}, "frozenset({1})"),
        ({"is": "dict", "of": [["a", [None, True]]]}, "{'a': [None, True]}"),
        ({"is": "float", "of": "inf"}, "inf"),
        ({"is": "int", "of": hex(1 << 70)}, str(1 << 70)),
        ({"is": "int", "of": "0x" + "f" * 5000}, "<a number of very many digits>"),
        ({"is": "type", "of": "int"}, "int"),
        ({"is": "type", "of": "int\n[2] correct"}, "<nothing that can be read>"),
        ({"is": "bytes", "of": "00"}, "bytes.fromhex('00')"),
        ({"is": "complex", "of": [1, 2]}, "complex(1, 2)"),
        ({"is": "dict", "of": [1, [1, 2]]}, "{<nothing that can be read>, 1: 2}"),
        ({"is": ["x"], "of": [1]}, "<nothing that can be read>"),
        ({"is": "int", "of": "x"}, "<nothing that can be read>"),
        ({}, "<nothing that can be read>"),
        ("x" * 10**6, "'" + "x" * 49 + " ..."),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, ..."),
    ],
)
def test_a_value_is_shown_as_python_writes_it(data: object, told: str) -> None:
    assert shown(data, 50) == told


@pytest.mark.skipif(os.geteuid() != 0, reason="the keeper is root only for root")
def test_a_program_is_another_user_than_its_keeper(hasty: CodeVerifier) -> None:
    tests = [{"input": "", "output": "True True"}]
    program = "import os\nprint(os.getuid() > 0, len({*os.getresuid(), *os.getresgid()}) == 1)"
    assert outcome(hasty, Problem("p", "?", data={"tests": tests}), program)[:2] == (0, True)
