"""Generalisation: the insights of a cluster of problems in, rules for all problems out."""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from pmd_agent.pipelines.prompts import render_insights
from pmd_agent.pipelines.style import Style, signatures_of
from pmd_agent.types import Insight


class Generaliser(dspy.Module):  # type: ignore[misc]
    """Abstracts what recurs across the problems of a cluster.

    A generaliser is any `dspy.Module` that is called as below and returns a `dspy.Prediction` with `behaviors`, a list of
    `name: rule` sentences.
    """

    def __init__(self, insight_lines: int = 24, style: Style = "box") -> None:
        super().__init__()
        self.insight_lines = insight_lines
        self.abstract = dspy.Predict(signatures_of(style).Abstract)

    def forward(self, insights: Sequence[Insight]) -> dspy.Prediction:
        lines, _ = render_insights(insights, self.insight_lines)
        return self.abstract(insights=lines)
