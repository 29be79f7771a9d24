"""What a student is told of the format that a verifier reads: the system message of rows that bring none."""

from __future__ import annotations

from pmd_agent.types import Problem

REASON = "Write down how you work it out between <reasoning> and </reasoning>."
EXACT = f"{REASON} Then close with the answer, alone, between <answer> and </answer>."
PARTS = "Reply with the answer alone between <answer> and </answer>. Where it has several parts, put a semicolon between them."
MATH = "Work it out step by step. Then give the answer alone, without a sentence around it, in \\boxed{}."
SCRIPT = (
    "Solve the problem with a Python program that reads stdin and prints to stdout. Use the standard library only. Think first; "
    "then give the whole program in a single ```python block."
)
FUNCTION = (
    "Write a Python function that does what is asked. Use the standard library only. Think first; then give the whole function, "
    "with what it needs, in a single ```python block."
)


def choice(letters: tuple[str, ...]) -> str:
    """Of multiple choice. No letters: they are not known."""
    listed = f"{', '.join(letters[:-1])} or {letters[-1]}" if len(letters) > 1 else "a capital letter"
    return f"{REASON} Then close with the letter of the right option ({listed}), alone, between <answer> and </answer>."


def instructions(verifier: str, problem: Problem) -> str:
    """Empty for a verifier of the user's own: only the user knows what it reads."""
    match verifier:
        case "exact":
            return EXACT
        case "parts":
            return PARTS
        case "math":
            return MATH
        case "multiple_choice":
            return choice(tuple(problem.data.get("choices") or ()))
        case "code":
            return FUNCTION if "entry" in problem.data else SCRIPT
    return ""
