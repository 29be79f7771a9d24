"""What the policy in the box is pretrained on: documents from random worlds, a new assignment of rules in every one.

It therefore knows the rules, the answer format and how to read a memory, but no world's assignment. The prompts are made
by the code that runs later: teacher prompts by `distillation.teacher_page`, reflection prompts by DSPy's adapter from the
shipped signatures, so that they cannot drift apart.

Kinds: pairs and drill (look-ups), strikes (what is left when the rest failed), arithmetic, plain (no memory), chat (several
problems of one world), memory (teacher prompts), elimination (lessons only), contrast, postmortem and abstract (the DSPy
programs), choice and choice_memory (multiple choice on arbitrary text, answered at chance), choice_reflection.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pmd_agent.distillation.teacher_page import render
from pmd_agent.pipelines.adapter import StrictJSONAdapter
from pmd_agent.pipelines.prompts import choose_attempts, render_attempts, render_insights
from pmd_agent.pipelines.signatures import Abstract, Contrast, Postmortem
from pmd_agent.problems.world import DOMAINS, OPERATORS, RULES, SYSTEM, Expression, problem_text, random_expression
from pmd_agent.problems.world import solution_text as solution
from pmd_agent.types import Experience, Insight
from recipes.box.words import random_question

Segments = list[tuple[str, bool]]
"""Pieces of an assistant's turn; True where the loss is taken."""
ATTEMPTS, ATTEMPT_CHARS, INSIGHT_LINES = 4, 2000, 24
NOISE = 0.02
"""Share of remembered lines that are wrong, so that the reader stays a little doubtful."""


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    turns: list[tuple[str, str | Segments]]
    """(role, content); an assistant's content is learnt where its segments say so, a plain string in full."""


def random_meaning(rng: random.Random) -> dict[str, str]:
    return {operator: rng.choice(list(RULES)) for operator in OPERATORS}


def a_problem(rng: random.Random, pool: Sequence[str] = OPERATORS) -> tuple[Expression, str]:
    expression = random_expression(rng, tuple(rng.choices(pool, k=rng.choice((1, 2, 2)))))
    return expression, problem_text(rng.choice(DOMAINS), expression)


def use(operator: str, rule: str) -> str:
    return f"Use {operator} {rule}."


def never(pairs: Sequence[tuple[str, str]]) -> str:
    """`Never zog add.`, or of two operators together `Never zog add with vit mul.`: what failed as a whole."""
    return "Never " + " with ".join(f"{operator} {rule}" for operator, rule in pairs) + "."


# --- reading ------------------------------------------------------------------------------------------------------


def pairs(rng: random.Random, known: int = 8) -> Document:
    """Bare look-ups, short and dense: 2 to `known` pairs, then each asked for once in another order.

    Attention starts out spread over all that stands before; the shorter that is, the sooner it finds what matters.
    """
    meaning = random_meaning(rng)
    operators = rng.sample(OPERATORS, rng.randint(2, known))
    content: Segments = [("".join(f" {operator} {meaning[operator]}" for operator in operators), False)]
    for operator in rng.sample(operators, len(operators)):
        content += [(f" {operator}", False), (f" {meaning[operator]}", True)]
    return Document("pairs", [("", content)])


def strikes(rng: random.Random, known: int = 3) -> Document:
    """Bare elimination: of up to `known` operators five rules failed, so the sixth it is. Rules of others stand between."""
    meaning = random_meaning(rng)
    operators = rng.sample(OPERATORS, known + 2)
    asked, others = operators[: rng.randint(1, known)], operators[known:] if known > 1 else []
    lines = [never([(operator, rule)]) for operator in asked for rule in RULES if rule != meaning[operator]]
    lines += [use(operator, meaning[operator]) for operator in others]
    rng.shuffle(lines)
    content: Segments = [("".join(f" {line}" for line in lines), False)]
    for operator in rng.sample(asked, len(asked)):
        content += [(f" Use {operator}", False), (f" {meaning[operator]}", True), (".", False)]
    return Document("strikes", [("", content)])


def drill(rng: random.Random) -> Document:
    """Look-ups in a list as the teacher's prompt has it."""
    meaning = random_meaning(rng)
    known = rng.sample(OPERATORS, rng.randint(3, 12))
    lines = []
    for operator in known:
        (_, rule, a, b, c) = random_expression(rng, (operator,)).steps(meaning)[0]
        worked = f": {a} {operator} {b} = {c}" if rng.random() < 0.2 else ""
        lines.append(f"- Use {operator} {rule}{worked}.")
    answer: Segments = []
    for i in range(16):
        operator = rng.choice(known)
        answer += [(f"{' ' if i else ''}Use {operator}", False), (f" {meaning[operator]}", True), (".", False)]
    return Document("drill", [("user", "Name the rules.\n" + "\n".join(lines)), ("assistant", answer)])


def arithmetic(rng: random.Random) -> Document:
    answer: Segments = []
    for i in range(10):
        operator = rng.choice(OPERATORS)
        (_, rule, a, b, c) = random_expression(rng, (operator,)).steps({operator: rng.choice(list(RULES))})[0]
        answer += [
            (f"{' ' if i else ''}Use {operator} {rule}: {a} {operator} {b} =", False),
            (f" {c}", True),
            (".", False),
        ]
    return Document("arithmetic", [("user", "Practise."), ("assistant", answer)])


def plain(rng: random.Random) -> Document:
    expression, text = a_problem(rng)
    return _solved("plain", text, expression, random_meaning(rng))


def chat(rng: random.Random) -> Document:
    """Several problems with few operators in one conversation: what held before holds again."""
    meaning, pool = random_meaning(rng), rng.sample(OPERATORS, 3)
    turns: list[tuple[str, str | Segments]] = [("system", SYSTEM)]
    for _ in range(rng.randint(3, 5)):
        expression, text = a_problem(rng, pool)
        turns += [("user", text), ("assistant", solution(expression, meaning))]
    return Document("chat", turns)


def memory(rng: random.Random) -> Document:
    """A teacher's prompt with any mixture of tiers, a little noise, and now and then a 2:1 conflict."""
    meaning = random_meaning(rng)
    expression, text = a_problem(rng)
    mine = list(dict.fromkeys(expression.operators))

    def believed(operator: str) -> str:
        return meaning[operator] if rng.random() > NOISE else rng.choice(list(RULES))

    def lines(count: int, own: float) -> list[str]:
        chosen = [rng.choice(mine) if rng.random() < own else rng.choice(OPERATORS) for _ in range(count)]
        return [use(operator, believed(operator)) for operator in chosen]

    behaviors = lines(rng.randint(1, 3), 0.6) if rng.random() < 0.6 else []
    strategies = [use(op, believed(op)) for op in mine if rng.random() < 0.9] if rng.random() < 0.5 else []
    if rng.random() < 0.1:
        operator = rng.choice(mine)
        wrong = rng.choice([rule for rule in RULES if rule != meaning[operator]])
        behaviors = [*behaviors[:1], use(operator, meaning[operator])]
        strategies = [use(operator, meaning[operator]), use(operator, wrong)]
        rng.shuffle(strategies)
    lessons = [line for line in (_lesson(rng, expression, meaning) for _ in range(rng.randint(1, 4))) if line]
    if rng.random() < 0.65:
        lessons = []
    shown = ""
    if rng.random() < 0.35:
        shown = solution(expression, {operator: believed(operator) for operator in OPERATORS})
    return _solved("memory", render(text, behaviors, strategies, lessons, shown), expression, meaning)


def elimination(rng: random.Random) -> Document:
    """Only lessons: what failed leaves the rest. One operator each, or the two of a failed attempt together."""
    meaning = random_meaning(rng)
    expression, text = a_problem(rng)
    if rng.random() < 0.3:
        lessons = [_lesson(rng, expression, meaning, single=0.3) for _ in range(rng.randint(1, 8))]
    else:
        lessons = []
        for operator in dict.fromkeys(expression.operators):
            wrong = [rule for rule in RULES if rule != meaning[operator]]
            lessons += [never([(operator, rule)]) for rule in rng.sample(wrong, rng.choice((2, 3, 4, 5, 5, 5)))]
        rng.shuffle(lessons)
    return _solved("elimination", render(text, [], [], [line for line in lessons if line]), expression, meaning)


def _lesson(rng: random.Random, expression: Expression, meaning: dict[str, str], single: float = 0.4) -> str:
    """One true lesson about this problem's operators ("" where the draw hit the truth)."""
    mine = list(dict.fromkeys(expression.operators))
    about = mine if len(mine) == 2 and rng.random() > single else [rng.choice(mine)]
    guess = [(operator, rng.choice(list(RULES))) for operator in about]
    return "" if all(meaning[operator] == rule for operator, rule in guess) else never(guess)


def _solved(kind: str, prompt: str, expression: Expression, meaning: dict[str, str]) -> Document:
    return Document(kind, [("system", SYSTEM), ("user", prompt), ("assistant", solution(expression, meaning))])


# --- writing: the DSPy programs -----------------------------------------------------------------------------------


def _program(signature: type, **inputs: str) -> list[tuple[str, str | Segments]]:
    return [(m["role"], m["content"]) for m in StrictJSONAdapter().format(signature, [], inputs)]


def attempts_at(rng: random.Random, expression: Expression, meaning: dict[str, str]) -> list[Experience]:
    """A group of eight as a policy of some skill would make it: beliefs differ between attempts, slips happen."""
    skill = rng.choice((0.0, 0.0, 0.2, 0.5, 0.8))
    group = []
    for i in range(8):
        belief = {
            op: meaning[op] if rng.random() < skill else rng.choice(list(RULES))
            for op in dict.fromkeys(expression.operators)
        }
        text, value = solution(expression, belief), expression.value(belief)
        if rng.random() < 0.03:  # a slip: right rules, wrong result
            slip = f"{rng.randrange(100):02d}"
            text, value = text.replace(f"<answer> {value} <", f"<answer> {slip} <"), slip
        correct = value == expression.value(meaning)
        group.append(Experience(f"0/p/{i}", "p", text, float(correct), correct, "", value, 0, 0))
    return group


def beliefs(attempt: Experience, operators: Sequence[str]) -> list[tuple[str, str]]:
    """(operator, rule) as the attempt names them, each operator once."""
    words = attempt.text.replace(":", " ").split()
    named = [(a, b) for a, b in zip(words, words[1:], strict=False) if a in operators and b in RULES]
    return list(dict(named).items())


def reflect_truly(attempts: Sequence[Experience], operators: Sequence[str]) -> tuple[list[str], list[str]]:
    """(strategies, lessons) that a careful reader writes: from the attempts and verdicts alone, not from the truth."""
    named = [dict(beliefs(attempt, operators)) for attempt in attempts]
    successes = [n for n, attempt in zip(named, attempts, strict=True) if attempt.correct]
    failures = [n for n, attempt in zip(named, attempts, strict=True) if not attempt.correct]
    if not successes:
        return [], list(dict.fromkeys(never(list(n.items())) for n in failures))
    agreed = {op: r for op, r in successes[0].items() if all(n.get(op) == r for n in successes)}
    lessons = [never(list(n.items())) for n in failures if n not in successes]
    return [use(op, r) for op, r in agreed.items()], list(dict.fromkeys(lessons))


def reflection(rng: random.Random, want: bool | None = None) -> Document:
    """Contrast where something succeeded, postmortem where nothing did. `want` fixes which."""
    while True:
        meaning = random_meaning(rng)
        expression, text = a_problem(rng)
        shown = choose_attempts(attempts_at(rng, expression, meaning), ATTEMPTS)
        if want is None or want == shown[0].correct:
            break
    inputs = {"problem": text, "attempts": render_attempts(shown, ATTEMPT_CHARS)}
    strategies, lessons = reflect_truly(shown, list(dict.fromkeys(expression.operators)))
    if shown[0].correct:
        answer = json.dumps({"strategies": strategies, "lessons": lessons})
        return Document("contrast", [*_program(Contrast, **inputs), ("assistant", answer)])
    return Document("postmortem", [*_program(Postmortem, **inputs), ("assistant", json.dumps({"lessons": lessons}))])


def abstraction(rng: random.Random) -> Document:
    insights = cluster_insights(rng)
    shown, _ = render_insights(insights, INSIGHT_LINES)
    answer = json.dumps({"behaviors": abstract_truly(shown)})
    return Document("abstract", [*_program(Abstract, insights=shown), ("assistant", answer)])


def cluster_insights(rng: random.Random) -> list[Insight]:
    """What a cluster of problems over few operators leaves behind, misleading successes included."""
    meaning, pool = random_meaning(rng), rng.sample(OPERATORS, rng.randint(2, 5))
    doubt = rng.choice((0.05, 0.2, 0.4))
    insights = []
    for problem in range(rng.randint(3, 20)):
        operators = list(dict.fromkeys(rng.choices(pool, k=rng.choice((1, 2, 2)))))
        if rng.random() < 0.75:
            texts = [use(op, meaning[op] if rng.random() > doubt else rng.choice(list(RULES))) for op in operators]
        else:
            texts = [never([(op, rng.choice(list(RULES))) for op in operators]) for _ in range(rng.randint(1, 4))]
        insights += [Insight(f"{problem}/{t}", str(problem), "strategy", t, 1.0, (), 0, 0) for t in texts]
    return insights


def abstract_truly(shown: str) -> list[str]:
    """Of each operator the rule with most support, where at least two problems hold it and no other has as much."""
    counts: dict[str, list[tuple[int, str]]] = {}
    for line in shown.splitlines():
        words = line.removeprefix("- ").split()
        if words[0] == "Use":
            counts.setdefault(words[1], []).append((int(words[-1].strip("()")), words[2].rstrip(".")))
    rules = []
    for operator, found in counts.items():
        found.sort(reverse=True)
        if found[0][0] >= 2 and (len(found) == 1 or found[0][0] > found[1][0]):
            rules.append(f"operator {operator}: {use(operator, found[0][1])}")
    return rules


# --- multiple choice: the format on any text, the answer at chance --------------------------------------------------


def choose(letter: str) -> str:
    return f"<reasoning>\nChoose {letter}.\n</reasoning>\n<answer>\n{letter}\n</answer>"


def choice(rng: random.Random) -> Document:
    system, question, letters = random_question(rng)
    return Document("choice", [("system", system), ("user", question), ("assistant", choose(rng.choice(letters)))])


def choice_memory(rng: random.Random) -> Document:
    system, question, letters = random_question(rng, long=0.02)
    letter = rng.choice(letters)
    wrong = [other for other in letters if other != letter]
    strategies = [f"Choose {letter}."] if rng.random() < 0.6 else []
    lessons = [f"Never choose {other}." for other in rng.sample(wrong, rng.randint(0, len(wrong)))]
    shown = choose(letter) if not strategies or rng.random() < 0.3 else ""
    behaviors = [f"Choose {rng.choice(letters)}."] if rng.random() < 0.3 else []
    feedback = f"Your answer {rng.choice(wrong)} is not correct." if rng.random() < 0.3 else ""
    prompt = render(question, behaviors, strategies, lessons, shown, feedback)
    return Document("choice_memory", [("system", system), ("user", prompt), ("assistant", choose(letter))])


def choice_reflection(rng: random.Random) -> Document:
    _, question, letters = random_question(rng, long=0.02)
    truth, skill = rng.choice(letters), rng.choice((0.0, 0.3, 0.6))
    group = []
    for i in range(8):
        letter = truth if rng.random() < skill else rng.choice(letters)
        right = letter == truth and skill > 0
        feedback = "" if right else f"Your answer {letter} is not correct."
        group.append(Experience(f"0/p/{i}", "p", choose(letter), float(right), right, feedback, letter, 0, 0))
    shown = choose_attempts(group, ATTEMPTS)
    inputs = {"problem": question, "attempts": render_attempts(shown, ATTEMPT_CHARS)}
    lessons = list(dict.fromkeys(f"Never choose {e.answer}." for e in shown if not e.correct))
    if shown[0].correct:
        answer = json.dumps({"strategies": [f"Choose {truth}."], "lessons": lessons})
        return Document("choice_reflection", [*_program(Contrast, **inputs), ("assistant", answer)])
    return Document(
        "choice_reflection", [*_program(Postmortem, **inputs), ("assistant", json.dumps({"lessons": lessons}))]
    )


def choice_abstraction(rng: random.Random) -> Document:
    texts = [
        rng.choice(("Choose", "Choose", "Never choose")) + f" {rng.choice('ABCD')}." for _ in range(rng.randint(4, 20))
    ]
    shown, _ = render_insights([Insight(str(i), str(i), "strategy", t, 1.0, (), 0, 0) for i, t in enumerate(texts)], 24)
    best = max((line for line in shown.splitlines() if line.startswith("- Choose")), key=_support, default="")
    rules = [f"choice: {best.removeprefix('- ').rsplit(' ', 1)[0]}"] if best and _support(best) >= 2 else []
    answer = json.dumps({"behaviors": rules})
    return Document("choice_abstraction", [*_program(Abstract, insights=shown), ("assistant", answer)])


def _support(line: str) -> int:
    return int(line.rsplit("(", 1)[1].rstrip(")"))


MAKERS: dict[str, Callable[..., Document]] = {
    "pairs": pairs,
    "strikes": strikes,
    "drill": drill,
    "arithmetic": arithmetic,
    "plain": plain,
    "chat": chat,
    "memory": memory,
    "elimination": elimination,
    "contrast": lambda rng: reflection(rng, True),
    "postmortem": lambda rng: reflection(rng, False),
    "abstract": abstraction,
    "choice": choice,
    "choice_memory": choice_memory,
    "choice_reflection": choice_reflection,
    "choice_abstraction": choice_abstraction,
}
