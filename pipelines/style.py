"""How the policy is spoken to: in the words that the one in the box was pretrained on, or in those for instruct models."""

from __future__ import annotations

from types import ModuleType
from typing import Literal

from pmd_agent.pipelines import plain_signatures, signatures
from pmd_agent.pipelines.adapter import PlainJSONAdapter, StrictJSONAdapter

Style = Literal["box", "plain"]


def signatures_of(style: Style) -> ModuleType:
    """The module with Contrast, Postmortem and Abstract."""
    return signatures if style == "box" else plain_signatures


def adapter_of(style: Style) -> StrictJSONAdapter:
    """What lays out a program's question, and reads the answer."""
    return StrictJSONAdapter() if style == "box" else PlainJSONAdapter()
