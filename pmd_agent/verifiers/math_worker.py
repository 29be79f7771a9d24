"""Compares two answers with math-verify, in a process of its own: a line of JSON in, a line of JSON out.

Started by its path, without the package: symbolic mathematics can hang, or fill the memory, in ways that nothing but the end of
the process stops. An alarm that nobody handles ends it, also where the process that asked is gone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
from typing import Any

MEMORY = 2 << 30
"""Bytes of address space."""


def main() -> None:
    """Serve until the other side hangs up. The first argument: seconds for one comparison."""
    seconds = float(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no reply
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    compare("x + 1", "1 + x")  # the parsers are loaded before the first clock starts

    replies.write('{"ready": true}\n')
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            told = json.loads(line)
            reply = compare(told["gold"], told["answer"])
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(json.dumps(reply) + "\n")


def compare(gold: str, answer: str) -> dict[str, Any]:
    """`equal`, and whether the answer was `read` at all. Raises where the gold answer cannot be read, or comparing fails."""
    right, given = _parsed(gold), _parsed(answer)
    if not right:
        raise ValueError("the right answer cannot be read as mathematics")
    equal = _equal(right, given) or _rounded(gold, answer, right, given) or _same_in_value(right, given)
    return {"equal": equal, "read": bool(given)}


def _equal(right: list[Any], given: list[Any]) -> bool:
    """By math-verify, but for numbers near zero, of which it takes any two for the same."""
    import sympy
    from math_verify import verify

    # Differences below 10 to the minus this are zero; the default is 15.
    if any(isinstance(one, sympy.Ne) for one in (*right[:1], *given[:1])):
        return False  # which math-verify cannot read; see _same_in_value
    # An interval is also what an inequality says, on either side.
    how = {"numeric_precision": 60, "timeout_seconds": None, "raise_on_error": True, "allow_set_relation_comp": True}
    if not verify(right, given, **how):
        return False
    return not (right and given and (_apart(right[0], given[0]) or _unsolved(right[0], given[0])))


def _same_in_value(right: list[Any], given: list[Any]) -> bool:
    """Whether two constants come to the same, complex ones too, or two equations differ by a factor: 2x = 6 is x = 3."""
    import sympy

    one, other = right[0] if right else None, given[0] if given else None
    if isinstance(one, sympy.Eq | sympy.Ne) and isinstance(other, type(one)):
        if not all(isinstance(side, sympy.Expr) for side in (*one.args, *other.args)):
            return False
        factor = sympy.simplify((one.lhs - one.rhs) / (other.lhs - other.rhs)) if other.lhs != other.rhs else sympy.nan
        return bool(factor.is_number and factor.is_finite and factor.is_zero is False)
    if not (isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr)):
        return False
    bound = (sympy.Sum, sympy.Product, sympy.Integral)
    if not (isinstance(one, sympy.Number) or one.has(*bound) or other.has(*bound)):
        # Read as real in 2i, and as not real in 1 + i.
        imaginary = {sympy.Symbol("i", real=real): sympy.I for real in (True, False)}
        one, other = one.xreplace(imaginary), other.xreplace(imaginary)
    if one.free_symbols or other.free_symbols or one.has(sympy.UnevaluatedExpr) or other.has(sympy.UnevaluatedExpr):
        return False
    values = [sympy.N(side, 60) for side in (one, other)]
    if not all(value.is_number and value.is_finite for value in values):
        return False
    return bool(sympy.Abs(values[0] - values[1]) <= sympy.Abs(values[0]) * sympy.Float("1e-45", 60))


def _unsolved(right: Any, given: Any) -> bool:
    """Whether two different equations passed for the same because neither could be solved, as `f(3) = 5`."""
    import sympy

    if not (isinstance(right, sympy.Eq) and isinstance(given, sympy.Eq)) or right == given:
        return False
    one, other = right.lhs - right.rhs, given.lhs - given.rhs
    if sympy.simplify(one - other) == 0 or sympy.simplify(one + other) == 0:
        return False
    return not sympy.solve(right, right.free_symbols)


def _apart(right: Any, given: Any) -> bool:
    """Whether two expressions of the same variables differ in relation to their size, where these have some values."""
    import sympy

    if (
        not (isinstance(right, sympy.Expr) and isinstance(given, sympy.Expr))
        or right.free_symbols != given.free_symbols
    ):
        return False
    if right.has(sympy.UnevaluatedExpr) or given.has(sympy.UnevaluatedExpr):  # percent: 10 is taken for 10 %
        return False
    names = sorted(right.free_symbols, key=str)
    values = {name: sympy.Rational(7 + 2 * n, 5 + n) for n, name in enumerate(names)}
    try:
        one, other = (sympy.N(side.subs(values), 30) for side in (right, given))
        if not (one.is_number and other.is_number and one.is_finite and other.is_finite):
            return False
        return bool(abs(one - other) > abs(one) * sympy.Float("1e-15", 30))
    except (TypeError, ValueError, AttributeError):
        return False


def _rounded(gold: str, answer: str, right: list[Any], given: list[Any]) -> bool:
    """Whether one is a decimal of six places or more, and what the other comes to when it is rounded there, or cut."""
    import sympy

    for text, others in ((gold, given), (answer, right)):
        exact = others[0] if others else None
        if not re.fullmatch(r"-?\d*\.\d{6,50}", text) or len(text.lstrip("-0.")) < 6:
            continue
        if isinstance(exact, sympy.Expr) and not exact.free_symbols and exact.is_real:
            decimal, places = sympy.Rational(text), len(text.partition(".")[2])
            away = abs(sympy.N(exact - decimal, 60)) * 10**places
            if away <= 0.5 or (away < 1 and abs(decimal) < abs(exact)):
                return True
    return False


def _parsed(text: str) -> list[Any]:
    """As LaTeX only: the parser for plain expressions evaluates Python. Units are not taken off, decimals are fractions."""
    import sympy
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    keys = {
        "basic_latex": True,
        "units": False,
        "malformed_operators": True,
        "nits": True,
        "boxed": "none",
        "equations": False,
    }
    config = LatexExtractionConfig(normalization_config=NormalizationConfig(**keys))
    found: list[Any] = parse(f"${text.replace('$', ' ')}$", [config], parsing_timeout=None)
    return [_exact(one) if isinstance(one, sympy.Basic | sympy.MatrixBase) else one for one in found]


def _exact(expression: Any) -> Any:
    """With a fraction for each decimal, as it was written: math-verify compares decimals to six places."""
    import sympy

    decimals = expression.atoms(sympy.Float)
    return (
        expression.xreplace({decimal: sympy.Rational(str(decimal)) for decimal in decimals}) if decimals else expression
    )


if __name__ == "__main__":
    main()
