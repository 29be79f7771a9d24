"""How a ticket system differs from its documentation. Everything follows from the seed; no model can know it beforehand."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

CHOICES: dict[str, tuple[Any, ...]] = {
    "urgent_is": (1, 5),
    "minutes_a_unit": (1, 15, 60, 480),
    "channel_field": ("via", "channel", "origin", "medium"),
    "before_assign": ("note", "log", "show"),
    "before_close": ("note", "log", "assign"),
    "team_form": ("upper", "team-", "@"),
}
"""What each quirk may be."""
FAULTS = ("unknown call", "no arguments", "no such ticket", "field missing", "bad value", "wrong order", "closed")


@dataclass(frozen=True, slots=True)
class Quirks:
    """One system's."""

    urgent_is: int
    """Which end of the scale from 1 to 5 is the most urgent."""
    minutes_a_unit: int
    """What `time` counts in."""
    channel_field: str
    """What `open` calls the way by which the customer came; the documentation forgets it."""
    before_assign: str
    """The call that a ticket has to have seen before it is assigned."""
    before_close: str
    """... before it is closed."""
    team_form: str
    """How a team's name is spelt: in capitals, or behind a prefix."""
    codes: Mapping[str, int]
    """What went wrong -> the number that the system gives."""

    @classmethod
    def drawn(cls, seed: int) -> Quirks:
        """Of the system of this seed."""
        rng = random.Random(f"tickets/{seed}")
        numbers = rng.sample(range(10, 100), len(FAULTS))
        return cls(
            **{name: rng.choice(choices) for name, choices in CHOICES.items()},
            codes=dict(zip(FAULTS, numbers, strict=True)),
        )

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Quirks:
        """From plain data, such as a problem's."""
        return cls(**{f.name: data[f.name] for f in fields(cls)})

    def plain(self) -> dict[str, Any]:
        """The inverse of `of`."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"codes": dict(self.codes)}

    def drifted(self, seed: int, share: float) -> Quirks:
        """The same system after a change: so large a share of its quirks are others. Error numbers stay."""
        rng = random.Random(f"tickets/{seed}/drift")
        changed: dict[str, Any] = {
            name: rng.choice([choice for choice in CHOICES[name] if choice != getattr(self, name)])
            for name in rng.sample(list(CHOICES), round(share * len(CHOICES)))
        }
        return replace(self, **changed)

    def spelt(self, team: str) -> str:
        """A team as the system wants it written."""
        return team.upper() if self.team_form == "upper" else f"{self.team_form}{team}"

    def urgency(self, priority: int) -> str:
        """What a priority means: urgent, normal or low."""
        distance = abs(priority - self.urgent_is)
        return "urgent" if distance == 0 else "low" if distance == 4 else "normal"
