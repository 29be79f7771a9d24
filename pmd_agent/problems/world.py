"""The world in the box: made-up operators whose meaning has to be found out.

Each operator ("zog") means one of six rules on pairs of digits, applied digit by digit modulo 10. Which one is drawn from
the world's seed, and no model can know it beforehand: it has to be learnt from verdicts. A problem uses one or two
operators of its domain:

    In the mill, compute ( 37 zog 14 ) vit 52.

and is answered by naming the rules and applying them:

    <reasoning> Use zog max: 37 zog 14 = 37. Use vit add: 37 vit 52 = 89. </reasoning>
    <answer> 89 </answer>

Wrong rules give the right answer by luck in about 2 % (one operator) and 4 % (two) of the attempts, so that what seems to
have worked is not always true, as with real problems.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.split import Split
from pmd_agent.types import Problem

RULES: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: (a + b) % 10,
    "sub": lambda a, b: (a - b) % 10,
    "rev": lambda a, b: (b - a) % 10,
    "mul": lambda a, b: (a * b) % 10,
    "max": max,
    "min": min,
}
"""Digit by digit, modulo 10. `rev` is the reversed difference."""

OPERATORS = tuple(
    "zog vit mab kel dun fip gos hup jad lem nif pov quib rud sel tav "
    "wex yim bol cag dap fen gim hox jun kip lud mep noz pib rak sut".split()
)
DOMAINS = ("mill", "forge", "dock", "vault", "tower", "field", "mine", "garden")
SYSTEM = "Reason inside <reasoning> </reasoning>, then give the result inside <answer> </answer>."


@dataclass(frozen=True, slots=True)
class Expression:
    """`a op b` or `( a op b ) op2 c`; operands are two-digit strings."""

    operands: tuple[str, ...]
    operators: tuple[str, ...]

    def __str__(self) -> str:
        text = self.operands[0]
        for i, (operator, operand) in enumerate(zip(self.operators, self.operands[1:], strict=True)):
            text = f"{text} {operator} {operand}" if i == 0 else f"( {text} ) {operator} {operand}"
        return text

    def steps(self, meaning: dict[str, str]) -> list[tuple[str, str, str, str, str]]:
        """(operator, rule, left, right, result) of each application, in order."""
        steps, left = [], self.operands[0]
        for operator, right in zip(self.operators, self.operands[1:], strict=True):
            result = apply_rule(meaning[operator], left, right)
            steps.append((operator, meaning[operator], left, right, result))
            left = result
        return steps

    def value(self, meaning: dict[str, str]) -> str:
        return self.steps(meaning)[-1][-1]


def apply_rule(rule: str, left: str, right: str) -> str:
    return "".join(str(RULES[rule](int(a), int(b))) for a, b in zip(left, right, strict=True))


def random_expression(rng: random.Random, operators: tuple[str, ...]) -> Expression:
    return Expression(tuple(f"{rng.randrange(100):02d}" for _ in range(len(operators) + 1)), operators)


def problem_text(domain: str, expression: Expression) -> str:
    return f"In the {domain}, compute {expression}."


def solution_text(expression: Expression, meaning: dict[str, str]) -> str:
    """The answer that a solver who believes `meaning` would write."""
    used = " ".join(f"Use {op} {rule}: {a} {op} {b} = {c}." for op, rule, a, b, c in expression.steps(meaning))
    return f"<reasoning> {used} </reasoning>\n<answer> {expression.value(meaning)} </answer>"


@dataclass(frozen=True, slots=True)
class World:
    """An assignment of rules to operators, and the problems in it. Everything follows from the seed."""

    seed: int
    meaning: dict[str, str]
    domains: dict[str, tuple[str, ...]]

    @classmethod
    def create(cls, seed: int, *, operators: int = 16, domains: int = 4) -> World:
        if not 1 <= domains <= operators:
            raise ProblemError(
                f"{operators} operators cannot fill {domains} domains.",
                "Lower problems.domains, or raise problems.operators.",
            )
        rng = random.Random(f"world/{seed}")
        chosen = rng.sample(OPERATORS, operators)
        names = rng.sample(DOMAINS, domains)
        return cls(
            seed,
            {operator: rng.choice(list(RULES)) for operator in chosen},
            {name: tuple(chosen[i::domains]) for i, name in enumerate(names)},
        )

    def drifted(self, share: float) -> World:
        """The same operators and domains, but so large a share of the operators mean another rule."""
        rng = random.Random(f"world/{self.seed}/drift")
        changed = rng.sample(list(self.meaning), round(share * len(self.meaning)))
        others = {op: rng.choice([rule for rule in RULES if rule != self.meaning[op]]) for op in changed}
        return replace(self, meaning=self.meaning | others)

    def new_pairs(self, fraction: float) -> frozenset[tuple[str, ...]]:
        """Of every domain so large a share of its ordered pairs of operators, at least one where the share is above 0."""
        rng = random.Random(f"world/{self.seed}/pairs")
        found: set[tuple[str, ...]] = set()
        for operators in self.domains.values():
            pairs = list(itertools.product(operators, repeat=2))
            found.update(rng.sample(pairs, min(math.ceil(fraction * len(pairs)), len(pairs) - 1)))
        return frozenset(found)

    def problems(
        self,
        count: int,
        *,
        operators: int,
        split: str,
        exclude: Collection[str] = (),
        new_pairs: Collection[tuple[str, ...]] = (),
        new: bool = False,
    ) -> tuple[Problem, ...]:
        """`count` distinct problems with so many operators each. `split` ("train", "test", ...) names the draw.

        `exclude` holds texts of other splits that must not come again; of `new_pairs`, `new` problems are made, and no others.
        """
        kind = f"{operators}op-new" if new else f"{operators}op"
        rng = random.Random(f"world/{self.seed}/{split}/{operators if not new else kind}")
        found: dict[str, Problem] = {}
        names = list(self.domains)
        room = min(map(len, self.domains.values())) ** operators * 100 ** (operators + 1)  # in the smallest domain
        if count / len(names) > room / 4:  # so that splits can be drawn beside each other
            raise ProblemError(
                f"This world has too few problems with {operators} operators for {count} distinct ones.",
                "Lower problems.train, problems.validation or problems.test.",
            )
        while len(found) < count:
            domain = names[len(found) % len(names)]
            expression = random_expression(rng, tuple(rng.choices(self.domains[domain], k=operators)))
            text = problem_text(domain, expression)
            if text in found or text in exclude or (expression.operators in new_pairs) is not new:
                continue
            found[text] = Problem(
                id=f"world/{self.seed}/{split}/{kind}/{len(found):04d}",
                prompt=text,
                answer=expression.value(self.meaning),
                system=SYSTEM,
                kind=kind,
                data={
                    "domain": domain,
                    "operators": expression.operators,
                    "steps": [(op, a, b, c) for op, _, a, b, c in expression.steps(self.meaning)],
                },
            )
        return tuple(found.values())

    def split(
        self, *, train: int, validation: int, test: int, unseen_pairs: float = 0.0, drift: float = 0.0
    ) -> tuple[tuple[Problem, ...], tuple[Problem, ...], tuple[Problem, ...]]:
        """(train, validation, test): two-operator problems to train on; of the others so many of each kind.

        Kinds: one operator, two operators, and with `unseen_pairs` two operators that training never shows as a pair.
        With `drift`, the first half of the training problems is of this world, and all else of the drifted one.
        """
        if drift:
            options: dict[str, Any] = {
                "train": train,
                "validation": validation,
                "test": test,
                "unseen_pairs": unseen_pairs,
            }
            before, (after, validated, tested) = self.split(**options)[0], self.drifted(drift).split(**options)
            return before[: train // 2] + after[train // 2 :], validated, tested
        new_pairs = self.new_pairs(unseen_pairs) if unseen_pairs else frozenset()
        kinds = [(1, False), (2, False), *([(2, True)] if new_pairs else [])]
        splits: list[tuple[Problem, ...]] = [self.problems(train, operators=2, split="train", new_pairs=new_pairs)]
        for split, count in (("validation", validation), ("test", test)):
            seen = {p.prompt for earlier in splits for p in earlier}
            splits.append(
                tuple(
                    problem
                    for n, new in kinds
                    for problem in self.problems(
                        count, operators=n, split=split, exclude=seen, new_pairs=new_pairs, new=new
                    )
                )
            )
        return splits[0], splits[1], splits[2]


def load(
    *,
    seed: int,
    operators: int,
    domains: int,
    unseen_pairs: float,
    drift: float,
    train: int,
    validation: int,
    test: int,
) -> Split:
    """The problems of the world of this seed (see `World.split`). Raises ProblemError."""
    world = World.create(seed, operators=operators, domains=domains)
    trained, validated, tested = world.split(
        train=train, validation=validation, test=test, unseen_pairs=unseen_pairs, drift=drift
    )
    return Split(trained, tested, validation=validated)
