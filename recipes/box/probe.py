"""What the policy in the box can and cannot do: greedy answers to fresh problems of random worlds.

    python -m recipes.box.probe --count 200        --model DIR for another than the one in the box

Accuracy is that of the final answer under the meaning drawn for each problem, which no prompt states in full unless the row
says so. The rows of programs measure their output: share that parses, and share of sentences that are true.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from pmd_agent.console import Console
from pmd_agent.distillation.teacher_page import render
from pmd_agent.models import BOX
from pmd_agent.models.loading import load_base, load_tokenizer
from pmd_agent.pipelines.adapter import StrictJSONAdapter
from pmd_agent.pipelines.prompts import choose_attempts, render_attempts, render_insights
from pmd_agent.pipelines.signatures import Abstract, Contrast, Postmortem
from pmd_agent.policies.local import LocalPolicy
from pmd_agent.problems.world import (
    DOMAINS,
    OPERATORS,
    RULES,
    SYSTEM,
    Expression,
    problem_text,
    random_expression,
    solution_text,
)
from pmd_agent.types import Problem, Sampling
from pmd_agent.verifiers.multiple_choice import MultipleChoice
from recipes.box.documents import (
    a_problem,
    abstract_truly,
    attempts_at,
    cluster_insights,
    never,
    random_meaning,
    reflect_truly,
    use,
)  # fmt: skip
from recipes.box.words import random_question

Row = dict[str, float]


def probe(model: str | Path, count: int = 200, seed: int = 1) -> dict[str, Row]:
    """Row name -> column -> share in [0, 1]. `count` problems a cell."""
    policy = LocalPolicy(load_base(str(model)), load_tokenizer(str(model)), name="probe")
    rng = random.Random(f"probe/{seed}")
    table: dict[str, Row] = {}
    for name, prompt in READING.items():
        table[name] = {f"{n} op": _reading(policy, rng, prompt, n, count) for n in (1, 2)}
    table["contrast"] = _reflecting(policy, rng, True, count)
    table["postmortem"] = _reflecting(policy, rng, False, count)
    table["abstract"] = _abstracting(policy, rng, count)
    table["multiple choice"] = {"parses": _choosing(policy, rng, count)}
    return table


# --- reading a memory ---------------------------------------------------------------------------------------------

Meaning = dict[str, str]
Prompt = Callable[[random.Random, Expression, str, Meaning], str]


def _wrong(rng: random.Random, rule: str) -> str:
    return rng.choice([other for other in RULES if other != rule])


def _right(expression: Expression, meaning: Meaning) -> list[str]:
    return [use(op, meaning[op]) for op in dict.fromkeys(expression.operators)]


def _others(rng: random.Random, expression: Expression, meaning: Meaning, count: int = 3) -> list[str]:
    free = [op for op in OPERATORS if op not in expression.operators]
    return [use(op, meaning[op]) for op in rng.sample(free, count)]


def _conflict(rng: random.Random, e: Expression, text: str, m: Meaning) -> str:
    wrong = [use(op, _wrong(rng, m[op])) for op in dict.fromkeys(e.operators)]
    return render(text, _right(e, m), [*wrong[:1], *_right(e, m)], [])


def _another(rng: random.Random, e: Expression, text: str, m: Meaning) -> str:
    other = Expression(random_expression(rng, e.operators).operands, e.operators)
    return render(text, [], [], [], solution_text(other, m))


def _five_lessons(rng: random.Random, e: Expression, text: str, m: Meaning) -> str:
    lessons = [never([(op, rule)]) for op in dict.fromkeys(e.operators) for rule in RULES if rule != m[op]]
    return render(text, [], [], rng.sample(lessons, len(lessons)))


READING: dict[str, Prompt] = {
    "no memory": lambda rng, e, text, m: text,
    "right strategies": lambda rng, e, text, m: render(text, [], _right(e, m), []),
    "right strategies + noise": lambda rng, e, text, m: render(text, _others(rng, e, m), _right(e, m), []),
    "right behaviors": lambda rng, e, text, m: render(text, (_right(e, m) + _others(rng, e, m))[:3], [], []),
    "conflict 2:1": _conflict,
    "same problem's solution": lambda rng, e, text, m: render(text, [], [], [], solution_text(e, m)),
    "another problem's solution": _another,
    "five lessons an operator": _five_lessons,
    "about other operators only": lambda rng, e, text, m: render(text, _others(rng, e, m), [], []),
    "wrong strategies": lambda rng, e, text, m: render(
        text, [], [use(op, _wrong(rng, m[op])) for op in dict.fromkeys(e.operators)], []
    ),
}


def _reading(policy: LocalPolicy, rng: random.Random, prompt: Prompt, operators: int, count: int) -> float:
    prompts, values = [], []
    for _ in range(count):
        meaning = random_meaning(rng)
        expression = random_expression(rng, tuple(rng.sample(OPERATORS, operators)))
        text = problem_text(rng.choice(DOMAINS), expression)
        prompts.append(
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt(rng, expression, text, meaning)}]
        )
        values.append(expression.value(meaning))
    answers = _greedy(policy, prompts, 80)
    return sum(f"<answer> {value} </answer>" in answer for value, answer in zip(values, answers, strict=True)) / count


# --- running the programs -----------------------------------------------------------------------------------------


def _reflecting(policy: LocalPolicy, rng: random.Random, success: bool, count: int) -> Row:
    """parses; strategies_true and lessons_true against the world; exact: as a careful reader would write it."""
    prompts: list[list[dict[str, str]]] = []
    cases: list[tuple[Meaning, tuple[list[str], list[str]]]] = []
    while len(cases) < count:
        meaning = random_meaning(rng)
        expression, text = a_problem(rng)
        shown = choose_attempts(attempts_at(rng, expression, meaning), 4)
        if shown[0].correct != success:
            continue
        inputs = {"problem": text, "attempts": render_attempts(shown, 4000)}
        prompts.append(StrictJSONAdapter().format(Contrast if success else Postmortem, [], inputs))
        cases.append((meaning, reflect_truly(shown, list(dict.fromkeys(expression.operators)))))
    row = {"parses": 0.0, "exact": 0.0}
    true = {"strategies": [0, 0], "lessons": [0, 0]}
    for answer, (meaning, wanted) in zip(_greedy(policy, prompts, 160), cases, strict=True):
        said = _json(answer)
        if said is None:
            continue
        row["parses"] += 1 / count
        row["exact"] += (said.get("strategies", []), said.get("lessons")) == wanted and 1 / count
        for kind, sentences in said.items():
            true[kind][0] += sum(_is_true(sentence, meaning) for sentence in sentences)
            true[kind][1] += len(sentences)
    return row | {f"{kind} true": hits / total for kind, (hits, total) in true.items() if total}


def _abstracting(policy: LocalPolicy, rng: random.Random, count: int) -> Row:
    prompts, wanted = [], []
    for _ in range(count):
        shown, _ = render_insights(cluster_insights(rng), 24)
        prompts.append(StrictJSONAdapter().format(Abstract, [], {"insights": shown}))
        wanted.append(set(abstract_truly(shown)))
    parses = hits = said_all = wanted_all = 0
    for answer, want in zip(_greedy(policy, prompts, 160), wanted, strict=True):
        said = _json(answer)
        parses += said is not None
        found = set((said or {}).get("behaviors", []))
        hits, said_all, wanted_all = hits + len(found & want), said_all + len(found), wanted_all + len(want)
    return {"parses": parses / count, "precision": hits / max(1, said_all), "recall": hits / max(1, wanted_all)}


def _choosing(policy: LocalPolicy, rng: random.Random, count: int) -> float:
    questions = [random_question(rng) for _ in range(count)]
    answers = _greedy(
        policy, [[{"role": "system", "content": s}, {"role": "user", "content": q}] for s, q, _ in questions], 64
    )
    verdicts = [
        MultipleChoice().verify(Problem("p", q, letters[0], data={"choices": tuple(letters)}), a)
        for (_, q, letters), a in zip(questions, answers, strict=True)
    ]
    return sum(v.answer is not None for v in verdicts) / count


def _is_true(sentence: str, meaning: Meaning) -> bool:
    """`Use zog max.` where zog means max; `Never ...` where not all that it names is so."""
    words = sentence.replace(".", " ").split()
    named = [(a, b) for a, b in zip(words, words[1:], strict=False) if a in meaning and b in RULES]
    as_said = bool(named) and all(meaning[op] == rule for op, rule in named)
    return as_said if sentence.startswith("Use") else bool(named) and not as_said


def _json(answer: str) -> dict[str, list[str]] | None:
    try:
        said = json.loads(answer)
    except ValueError:
        return None
    return said if isinstance(said, dict) and all(isinstance(v, list) for v in said.values()) else None


def _greedy(policy: LocalPolicy, prompts: Sequence[list[dict[str, str]]], max_tokens: int) -> list[str]:
    return [group[0].text for group in policy.sample(prompts, 1, Sampling(temperature=0.0, max_tokens=max_tokens))]


def main() -> None:
    """A table: probes down, shares across."""
    parser = argparse.ArgumentParser(
        prog="recipes.box.probe", description="What a policy can do with and without memory."
    )
    parser.add_argument("--model", default=BOX, metavar="DIR", help="a model folder (the one in the box)")
    parser.add_argument("--count", type=int, default=200, help="questions of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides the questions (%(default)s)")
    given = parser.parse_args()
    if given.count < 1:
        parser.error("--count is 1 or more")
    console = Console()
    with console.stage("probing"):
        rows = probe(given.model, given.count, given.seed)
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    console.table(["probe", *columns], [[name, *(row.get(column) for column in columns)] for name, row in rows.items()])


if __name__ == "__main__":
    main()
