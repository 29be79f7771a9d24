"""Departments, the form that each has for what it writes, and tasks that do not say which.

    For the finance department: write down the price of 7 dollars and 25 cents.

is right as `USD 7.25` where that is how finance writes a price. Another department may write `$7.25`: what has to be found
out, from verdicts and from what they say, is which form is whose. Everything follows from the seed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pmd_agent.errors import ProblemError
from pmd_agent.problems.house_rules.conventions import Convention, Form, chosen
from pmd_agent.problems.house_rules.menu import MENU
from pmd_agent.problems.split import Split
from pmd_agent.types import Problem

DEPARTMENTS = ("finance", "sales", "legal", "travel", "press", "research", "kitchen", "security", "archive", "support")
SYSTEM = "You are a clerk. Every department has its own way to write things. Reply with <answer>TEXT</answer> only."
SEPARATOR = "; "
"""Between the two parts of a hard task's answer."""
TRIES = 200
"""Draws for each problem before an office counts as too small for so many."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one department writes one thing."""

    department: str
    convention: Convention
    form: Form

    def __str__(self) -> str:
        article = "an" if self.convention.label[0] in "aeiou" else "a"
        what = f"{article} {self.convention.label}"
        return f"The {self.department} department writes {what} {self.convention.rule(self.form)}."


Pair = frozenset[tuple[str, str]]
"""Two rules, each as (department, convention), of a task that needs both."""


@dataclass(frozen=True, slots=True)
class Office:
    """Which department writes what, and how."""

    seed: int
    rules: tuple[Rule, ...]

    @classmethod
    def create(
        cls, seed: int, *, departments: int = 4, rules: int = 8, conventions: Sequence[str] = (), habit: float = 0.25
    ) -> Office:
        """`rules` conventions for each department, out of twice as many: most are shared, and forms then differ.

        `habit`: the share of all rules whose form is the one that models use anyhow. Raises ProblemError.
        """
        menu = chosen(MENU, conventions)
        if rules > len(menu):
            raise ProblemError(
                f"{len(menu)} conventions do not give {rules} to a department.",
                "Lower problems.rules, or name more in problems.conventions.",
            )
        rng = random.Random(f"house/{seed}")
        pool = rng.sample(menu, min(2 * rules, len(menu)))
        names = rng.sample(DEPARTMENTS, departments)
        dealt = [(name, c) for name in names for c in rng.sample(pool, rules)]
        usual = set(rng.sample(range(len(dealt)), round(habit * len(dealt))))
        decks = {c.name: itertools.cycle(rng.sample(c.others(), len(c.others())) or c.forms) for c in pool}
        habits = {c.name: [f for f in c.forms if f.name == c.habit] for c in pool}
        return cls(
            seed,
            tuple(
                Rule(name, c, habits[c.name][0] if i in usual and habits[c.name] else next(decks[c.name]))
                for i, (name, c) in enumerate(dealt)
            ),
        )

    def drifted(self, share: float) -> Office:
        """The same departments and conventions, but so large a share of the rules have another form."""
        rng = random.Random(f"house/{self.seed}/drift")
        free = [i for i, rule in enumerate(self.rules) if len(rule.convention.forms) > 1]
        changed = set(rng.sample(free, min(len(free), round(share * len(self.rules)))))
        return replace(
            self,
            rules=tuple(
                replace(rule, form=rng.choice([f for f in rule.convention.forms if f != rule.form]))
                if i in changed
                else rule
                for i, rule in enumerate(self.rules)
            ),
        )

    def pairs(self) -> list[tuple[Rule, Rule]]:
        """Any two rules of one department."""
        return [
            pair
            for _, rules in itertools.groupby(self.rules, key=lambda rule: rule.department)
            for pair in itertools.combinations(rules, 2)
        ]

    def new_pairs(self, fraction: float) -> frozenset[Pair]:
        """Of every department so large a share of its pairs, at least one where the share is above 0, but never all."""
        rng = random.Random(f"house/{self.seed}/pairs")
        found: set[Pair] = set()
        for _, group in itertools.groupby(self.pairs(), key=lambda pair: pair[0].department):
            pairs = [_key(pair) for pair in group]
            found.update(rng.sample(pairs, min(math.ceil(fraction * len(pairs)), len(pairs) - 1)))
        return frozenset(found)

    def problems(
        self,
        count: int,
        of: Sequence[tuple[Rule, ...]],
        *,
        kind: str,
        split: str,
        exclude: Collection[str] = (),
    ) -> tuple[Problem, ...]:
        """`count` distinct tasks, each of the groups of rules `of` as often; no text of `exclude` comes again."""
        rng = random.Random(f"house/{self.seed}/{split}/{kind}")
        order = rng.sample(list(of), len(of))
        found: dict[str, Problem] = {}
        tries = 0
        while len(found) < count:
            tries += 1
            if tries > TRIES * count:
                raise ProblemError(
                    f"This office has too few tasks of the kind {kind!r} for {count} distinct ones.",
                    "Lower problems.train, problems.validation or problems.test.",
                )
            problem = task(
                rng, order[len(found) % len(order)], f"house/{self.seed}/{split}/{kind}/{len(found):04d}", kind
            )
            if problem.prompt not in found and problem.prompt not in exclude:
                found[problem.prompt] = problem
        return tuple(found.values())

    def split(
        self, *, train: int, validation: int, test: int, hard: float, unseen_pairs: float = 0.0, drift: float = 0.0
    ) -> tuple[tuple[Problem, ...], tuple[Problem, ...], tuple[Problem, ...]]:
        """(train, validation, test): of the training tasks a share `hard` has two parts; of the others so many of each kind.

        Kinds: one part, two, and with `unseen_pairs` two that training never shows together. With `drift`, the first half
        of the training tasks is of this office, and all else of the drifted one.
        """
        if drift:
            options: dict[str, Any] = {"train": train, "validation": validation, "test": test, "hard": hard}
            options["unseen_pairs"] = unseen_pairs
            before, (after, validated, tested) = self.split(**options)[0], self.drifted(drift).split(**options)
            return before[: train // 2] + after[train // 2 :], validated, tested
        new = self.new_pairs(unseen_pairs) if unseen_pairs else frozenset()
        kinds: dict[str, list[tuple[Rule, ...]]] = {
            "one": [(rule,) for rule in self.rules],
            "two": [pair for pair in self.pairs() if _key(pair) not in new],
            "two-new": [pair for pair in self.pairs() if _key(pair) in new],
        }
        two = int(hard * train)
        practised = [self.problems(n, kinds[k], kind=k, split="train") for k, n in (("one", train - two), ("two", two))]
        splits = [tuple(_mixed(*practised))]
        for name, count in (("validation", validation), ("test", test)):
            seen = {p.prompt for earlier in splits for p in earlier}
            splits.append(
                tuple(
                    problem
                    for kind, of in kinds.items()
                    if of
                    for problem in self.problems(count, of, kind=kind, split=name, exclude=seen)
                )
            )
        return splits[0], splits[1], splits[2]


def task(rng: random.Random, rules: Sequence[Rule], name: str, kind: str) -> Problem:
    """A task of one department that asks for what these rules are about, in their order."""
    drawn = [(rule, rule.convention.draw(rng)) for rule in rules]
    asked = " and then ".join(rule.convention.asked.format(**values) for rule, values in drawn)
    between = ", with a semicolon in between" if len(drawn) > 1 else ""
    answers = [rule.form.write(values) for rule, values in drawn]
    return Problem(
        id=name,
        prompt=f"For the {rules[0].department} department: write down {asked}{between}.",
        answer=SEPARATOR.join(answers),
        system=SYSTEM,
        kind=kind,
        data={
            "department": rules[0].department,
            "conventions": tuple(rule.convention.name for rule in rules),
            "rules": tuple(map(str, rules)),
            "parts": tuple(
                {"name": rule.convention.label, "answer": answer, "checks": rule.form.demands}
                for rule, answer in zip(rules, answers, strict=True)
            ),
        },
    )


def load(
    *,
    seed: int,
    departments: int,
    rules: int,
    conventions: Sequence[str],
    habit: float,
    hard: float,
    unseen_pairs: float,
    drift: float,
    train: int,
    validation: int,
    test: int,
) -> Split:
    """The tasks of the office of this seed (see `Office.split`). Raises ProblemError."""
    office = Office.create(seed, departments=departments, rules=rules, conventions=conventions, habit=habit)
    trained, validated, tested = office.split(
        train=train, validation=validation, test=test, hard=hard, unseen_pairs=unseen_pairs, drift=drift
    )
    return Split(trained, tested, validation=validated)


def _key(pair: tuple[Rule, ...]) -> Pair:
    return frozenset((rule.department, rule.convention.name) for rule in pair)


def _mixed(ones: Sequence[Problem], twos: Sequence[Problem]) -> Iterator[Problem]:
    """Both kinds in their orders, spread evenly: a run that takes tasks in order meets both from its first step on."""
    places = [
        ((i + 0.5) / len(part), number, p) for number, part in enumerate((ones, twos)) for i, p in enumerate(part)
    ]
    yield from (problem for *_, problem in sorted(places, key=lambda place: place[:2]))
