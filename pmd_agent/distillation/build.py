"""From a recipe to a model with its adapters and the trainer of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pmd_agent.distillation.leading_trainer import LeadingTrainer
from pmd_agent.distillation.parallel import Team
from pmd_agent.distillation.trainer import Trainer
from pmd_agent.models.adapters import attach_lora
from pmd_agent.models.endings import padding_id
from pmd_agent.models.loading import choose_device, choose_dtype, load_base, read_limits
from pmd_agent.recipe import LocalPolicySection, Recipe, VllmPolicySection
from pmd_agent.recipe.distill import DistillSection, TeacherSection


def build_trainer(
    recipe: Recipe,
    section: LocalPolicySection | VllmPolicySection,
    tokenizer: Any,
    *,
    team: Team | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Trainer:
    """The trainer, with the model that it changes in place. Raises PolicyError."""
    team, learning, device = team or Team(), _learning(recipe), choose_device(section.device)
    lora = learning.lora
    # A model to be sharded need not fit where its parts will be.
    place = "cpu" if team.kind == "fsdp" else section.device
    dtype = str(choose_dtype(section.dtype, device)).removeprefix("torch.")
    _, ends = read_limits(section.model, tokenizer)
    model = attach_lora(
        load_base(section.model, dtype=dtype, device=place),
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        targets=lora.targets,
        seed=recipe.seed,
        teacher=learning.teacher.type == "ema",
    )
    kind = LeadingTrainer if team.size > 1 and team.leads else Trainer
    trainer = kind(
        model,
        learning,
        pad_id=padding_id(tokenizer, ends),
        seed=recipe.seed,
        special_ids=tokenizer.all_special_ids,
        team=team,
        device=device,
        warn=warn,
    )
    if learning.share_prefixes and trainer.forward.unshared:
        warn(f"each rollout is computed whole, its prompt too (docs/engine.md): {trainer.forward.unshared}")
    if trainer.forward.sharing.partly:
        warn(f"prompts are shared but for one part (docs/engine.md): {trainer.forward.sharing.partly}")
    if trainer.forward.sharing.slow:
        warn(f"attention makes one call a segment, not one a layer (docs/engine.md): {trainer.forward.sharing.slow}")
    return trainer


def _learning(recipe: Recipe) -> DistillSection:
    """How the trainer learns. GRPO keeps no teacher, and has a rate and updates of its own where the recipe gives them."""
    settings, grpo = recipe.distill, recipe.distill.grpo
    if recipe.method != "grpo":
        return settings
    own = {"lr": grpo.lr or settings.lr, "updates": grpo.updates or settings.updates}
    return settings.model_copy(update=own | {"teacher": TeacherSection(type="initial")})
