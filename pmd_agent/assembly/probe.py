"""What a recipe's model makes of house rules: untold, told the rule of the task, and told all rules of the office.

A memory can teach a form only if the model follows it when told, and it is worth teaching only if the model does not use it
untold. Rules are told as a teacher is told them, on its page.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pmd_agent.assembly.policy import frozen_policy
from pmd_agent.console import Console
from pmd_agent.distillation.teacher_page import student_messages, teacher_page
from pmd_agent.errors import RecipeError
from pmd_agent.policies import Policy
from pmd_agent.policies.base import Messages
from pmd_agent.problems.house_rules import MENU, Convention, Office, Rule, chosen
from pmd_agent.problems.house_rules.office import task
from pmd_agent.recipe import Recipe
from pmd_agent.recipe.worlds import HouseRulesProblems
from pmd_agent.types import Behavior, Problem, Sampling, TeacherContext
from pmd_agent.verifiers import Parts

FOLLOWED = 0.85
"""A form that is written so often when told counts as one that the model can follow."""
SAMPLES = 8
"""Of each task untold, as a rollout draws them; told, one greedy answer."""


@dataclass(frozen=True, slots=True)
class Probed:
    """One form, as shares of right answers."""

    convention: str
    form: str
    untold: float
    told: float
    among: float | None
    """With all of the office's rules on the page. None: this office has no such rule."""

    @property
    def name(self) -> str:
        return f"{self.convention}/{self.form}"


def probe(recipe: Recipe, console: Console, *, cases: int) -> list[Probed]:
    """Every form of the recipe's conventions, on so many tasks each. Raises RecipeError where there are no house rules."""
    section = recipe.problems
    if not isinstance(section, HouseRulesProblems):
        raise RecipeError(
            f"Nothing is probed with problems.type={section.type}: its problems bring no rules.",
            "Set problems.type=house_rules, or leave out --probe.",
        )
    menu = chosen(MENU, section.conventions)
    office = Office.create(
        section.seed,
        departments=section.departments,
        rules=section.rules,
        conventions=section.conventions,
        habit=section.habit,
    )
    policy, _ = frozen_policy(recipe, None, console)
    try:
        policy.load(None, 0)
        return _Probe(recipe, policy, cases).forms(menu, office)
    finally:
        policy.close()


def followed(found: Sequence[Probed]) -> tuple[str, ...]:
    """What to put into problems.conventions: conventions, or those of their forms, that the model writes when told."""
    names: list[str] = []
    for convention in dict.fromkeys(each.convention for each in found):
        forms = [each for each in found if each.convention == convention]
        can = [each.name for each in forms if each.told >= FOLLOWED]
        names += [convention] if len(can) == len(forms) else can
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _Probe:
    recipe: Recipe
    policy: Policy
    cases: int

    def forms(self, menu: Sequence[Convention], office: Office) -> list[Probed]:
        pairs = [(c, form) for c in menu for form in c.forms]
        tasks = {
            (c.name, form.name): [_task(Rule(office.rules[0].department, c, form), case) for case in range(self.cases)]
            for c, form in pairs
        }
        untold = self._untold(menu, tasks)
        told = self._told([tasks[c.name, f.name] for c, f in pairs], lambda problem: problem.data["rules"])
        every = tuple(map(str, office.rules))
        ours = {(r.convention.name, r.form.name): r for r in office.rules}
        among = self._told([[_task(rule, i) for i in range(self.cases)] for rule in ours.values()], lambda _: every)
        shares = dict(zip(ours, among, strict=True))
        return [
            Probed(c.name, f.name, untold[c.name, f.name], share, shares.get((c.name, f.name)))
            for (c, f), share in zip(pairs, told, strict=True)
        ]

    def _untold(
        self, menu: Sequence[Convention], tasks: dict[tuple[str, str], list[Problem]]
    ) -> dict[tuple[str, str], float]:
        """Tasks of one convention read alike whatever the form is: the same samples are checked against each."""
        rollout = self.recipe.rollout
        sampling = Sampling(rollout.temperature, rollout.top_p, rollout.max_tokens, self.recipe.seed)
        prompts = [student_messages(problem) for c in menu for problem in tasks[c.name, c.forms[0].name]]
        texts = iter([[s.text for s in samples] for samples in self.policy.sample(prompts, SAMPLES, sampling)])
        found: dict[tuple[str, str], float] = {}
        for convention in menu:
            written = [next(texts) for _ in range(self.cases)]
            for form in convention.forms:
                key = (convention.name, form.name)
                found[key] = _share(tasks[key], written)
        return found

    def _told(self, groups: Sequence[Sequence[Problem]], rules: Callable[[Problem], Sequence[str]]) -> list[float]:
        """The share of right greedy answers in each group."""
        prompts = [self._page(problem, rules(problem)) for group in groups for problem in group]
        sampling = Sampling(0.0, 1.0, self.recipe.rollout.max_tokens, self.recipe.seed)
        texts = iter([[s.text for s in samples] for samples in self.policy.sample(prompts, 1, sampling)])
        return [_share(group, [next(texts) for _ in group]) for group in groups]

    def _page(self, problem: Problem, rules: Sequence[str]) -> Messages:
        behaviors = tuple(Behavior(f"{i}", f"{i}", rule, "", 1, (), 0, 0) for i, rule in enumerate(rules))
        page = teacher_page(
            TeacherContext(problem, behaviors=behaviors),
            None,
            max_tokens=self.recipe.memory.max_tokens,
            count_tokens=lambda text: len(self.policy.encode([{"role": "user", "content": text}])),
            special_tokens=self.policy.special_tokens,
            style=self.recipe.page_style,
        )
        return page.messages


def _task(rule: Rule, case: int) -> Problem:
    """The same instance for every form of a convention."""
    rng = random.Random(f"probe/{rule.convention.name}/{case}")
    return task(rng, [rule], f"probe/{rule.convention.name}/{rule.form.name}/{case}", "one")


def _share(problems: Sequence[Problem], written: Sequence[Sequence[str]]) -> float:
    verdicts = [Parts().verify(p, text) for p, texts in zip(problems, written, strict=True) for text in texts]
    return sum(bool(verdict.correct) for verdict in verdicts) / len(verdicts)
