"""What a convention is: one thing that offices write, and the plausible ways to write it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pmd_agent.errors import ProblemError

Values = Mapping[str, object]
"""One instance: what the templates of a convention are filled with."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write something."""

    name: str
    how: str
    """As a colleague would say it, so that `writes a date <how>` is a sentence."""
    template: str
    demands: tuple[tuple[str, str], ...]
    """(pattern, fault): each pattern is found in what is written so; where it is not, `The date <fault>.` is a sentence.
    A fault never says what the form is."""

    def write(self, values: Values) -> str:
        return self.template.format(**values)


@dataclass(frozen=True, slots=True)
class Convention:
    """A thing to write, and its menu of forms."""

    name: str
    label: str
    """In a sentence: `The file name is not right.`"""
    asked: str
    """The template of what a task says of an instance."""
    draw: Callable[[random.Random], Values]
    forms: tuple[Form, ...]
    habit: str
    """The form that models mostly use when nothing is said."""
    example: Values | None
    """Of rules. None: they say all of it."""

    def rule(self, form: Form) -> str:
        """What a colleague would say: the form, and one example."""
        shown = f", such as {form.write(self.example)}" if self.example is not None else ""
        return f"{form.how}{shown}"

    def form(self, name: str) -> Form:
        return next(form for form in self.forms if form.name == name)

    def others(self) -> tuple[Form, ...]:
        """The forms that are not the habit."""
        return tuple(form for form in self.forms if form.name != self.habit)


def chosen(menu: Sequence[Convention], names: Sequence[str]) -> tuple[Convention, ...]:
    """The conventions and forms of these names, `date` or `date/iso`, in the menu's order; of none: all. Raises ProblemError."""
    if not names:
        return tuple(menu)
    known = {c.name: {form.name for form in c.forms} for c in menu}
    wanted: dict[str, set[str]] = {}
    for name in names:
        convention, slash, form = name.partition("/")
        if convention not in known:
            raise ProblemError(f"problems.conventions: there is no {convention!r}.", f"There are {', '.join(known)}.")
        if slash and form not in known[convention]:
            forms = ", ".join(f"{convention}/{form.name}" for c in menu if c.name == convention for form in c.forms)
            raise ProblemError(f"problems.conventions: there is no form {name!r}.", f"There are {forms}.")
        wanted.setdefault(convention, set()).update({form} if slash else known[convention])
    return tuple(
        replace(c, forms=tuple(f for f in c.forms if f.name in wanted[c.name])) for c in menu if c.name in wanted
    )
