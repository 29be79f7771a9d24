"""Names of before: of pmd_agent.recipe.distill. They go with the next release."""

from __future__ import annotations

from pmd_agent.recipe.distill import DistillSection as Distill
from pmd_agent.recipe.distill import GrpoSection as Grpo
from pmd_agent.recipe.distill import LoraSection as Lora
from pmd_agent.recipe.distill import TeacherSection as Teacher

__all__ = ["Distill", "Grpo", "Lora", "Teacher"]
