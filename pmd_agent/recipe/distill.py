"""The section `distill` of a recipe: how the policy learns. The defaults are SDPO's published loss; LoRA is ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pmd_agent.recipe.section import Section


class LoraSection(Section):
    """The adapter (PEFT)."""

    rank: int = Field(32, ge=1)
    alpha: int = Field(64, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: str | tuple[str, ...] = "all-linear"


class TeacherSection(Section):
    """Whose weights read the memory. All of them share one copy of the base."""

    type: Literal["initial", "current", "ema", "trust_region"] = "ema"
    """trust_region: logits between those of initial and current weights, at the price of two forward passes."""
    rate: float = Field(0.05, gt=0, le=1)
    """ema: teacher <- (1 - rate) teacher + rate student, after each step."""
    mix: float = Field(0.05, ge=0, le=1)
    """trust_region: logits = (1 - mix) initial + mix current."""
    thinking: bool | None = None
    """Whether its prompt is that of the thinking mode. Empty: as the student's (policy.thinking)."""
    reads_problem: bool = True
    """False: it reads the memory alone, without the problem (a control, as `controls_every` measures it)."""


class GrpoSection(Section):
    """The policy gradient, for method=grpo and for what `routing` sends there. The defaults are those of SDPO's baseline."""

    lr: float | None = Field(None, gt=0)
    """Learning rate of method=grpo. Empty: distill.lr."""
    updates: int | None = Field(None, ge=1)
    """Optimiser updates per step of method=grpo. Empty: distill.updates."""
    normalise: bool = False
    """Advantages are divided by their group's standard deviation, as in GRPO's paper."""
    clip: float = Field(0.2, gt=0, lt=1)
    """The ratio to the policy that sampled counts within [1 - clip, 1 + clip_high]."""
    clip_high: float | None = Field(0.28, gt=0)
    """Empty: clip."""
    dual_clip: float | None = Field(3.0, gt=1)
    """Where the advantage is negative, the ratio counts up to this. Empty: without a bound."""
    kl: float = Field(0.0, ge=0)
    """Weight of the KL to the initial policy (k3 estimator)."""


class DistillSection(Section):
    """Student towards teacher on the student's own rollouts."""

    enabled: bool = True
    """False: the policy stays frozen while memory grows."""
    divergence: Literal["forward_kl", "reverse_kl", "jsd", "sampled_kl"] = "jsd"
    """forward: KL(teacher || student), reverse: KL(student || teacher), jsd: between them; sampled: reverse, from one token."""
    alpha: float = Field(0.5, gt=0, lt=1)
    """jsd only: the teacher's share of the mixture."""
    top_k: int | None = Field(100, ge=1)
    """Over the student's likeliest tokens and one tail for the rest. Empty: over the whole vocabulary."""
    importance_clip: float | None = Field(2.0, ge=1)
    """A token's divergence is multiplied by min(student / sampling policy, this). Empty: by nothing."""
    normalisation: Literal["per_token", "per_rollout"] = "per_token"
    """The loss is a mean over all tokens, or over each rollout's and then over rollouts, where one whose teacher has nothing to
    read counts as 0 (SDPO's code). The latter gives a token of a short answer more weight."""
    weighting: Literal["none", "pass_rate"] = "none"
    """pass_rate: a problem counts by sqrt(p (1 - p)), p = (correct + 1) / (rollouts + 2), so that none counts nothing."""
    routing: Literal["none", "srpo"] = "none"
    """srpo: correct rollouts to the policy gradient, failed ones to the teacher."""
    mask_special: bool = False
    """No loss on the tokenizer's special tokens, such as the one that ends an answer."""
    controls_every: int = Field(0, ge=0)
    """Steps between measuring what two control teachers gain, at a forward pass each. 0: never."""
    tier_gains_every: int = Field(0, ge=0)
    """Steps between measuring what teachers gain that read one tier of the memory alone, at a forward pass each. 0: never."""
    entropy_every: int = Field(0, ge=0)
    """Steps between measuring the entropy of the student's distributions, at three passes over their logits. 0: never."""
    show_tokens: int = Field(8, ge=0)
    """Rollouts of a step that are kept with the teacher's gain at each token, to be read in `pmd watch`. 0: none."""
    gain_patience: int | None = Field(None, ge=1)
    """Steps in a row with a teacher gain of zero or less after which distillation ends. Empty: it goes on."""
    lr: float = Field(1e-4, gt=0)
    """For LoRA: about ten times the published rate of all weights (docs/method.md, Rates)."""
    warmup: int = Field(10, ge=0)
    """Steps of linear warm-up."""
    schedule: Literal["constant", "linear"] = "constant"
    """After the warm-up: constant, or falling linearly to zero at the run's last step."""
    updates: int = Field(1, ge=1)
    """Optimiser updates per step: the batch is split into so many parts."""
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    batch_tokens: int | None = Field(None, ge=256)
    """Teacher and student tokens in one forward pass: those shared counted once, or padding included where none are.
    Empty: as many as a GPU's memory holds, 16,384 on a CPU."""
    share_prefixes: bool = True
    """What rollouts or their teachers' prompts have in common at the start is computed once."""
    gradient_checkpointing: bool | None = None
    """Activations are computed again in the backward pass instead of kept. Empty: on a GPU where they do not fit."""
    profile: bool = False
    """The second step's trace is written into the run's folder, for Perfetto or chrome://tracing."""
    parallel: Literal["none", "ddp", "fsdp"] = "none"
    """With torchrun. ddp: every process has the whole model; fsdp: a part of it, for models that do not fit."""
    teacher: TeacherSection = TeacherSection()
    lora: LoraSection = LoraSection()
    grpo: GrpoSection = GrpoSection()
