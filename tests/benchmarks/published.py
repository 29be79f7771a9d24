"""Our losses beside SDPO's own functions on the same random tensors: python -m tests.benchmarks.published CORE_ALGOS

CORE_ALGOS: verl/trainer/ppo/core_algos.py of a checkout of SDPO's public repository (0e6d510 was compared). Its functions are taken
out of the file and run as they are; nothing else of it is imported. Prints the largest difference in value and gradient.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmd_agent.distillation.groups import advantages
from pmd_agent.distillation.losses import Judged, Tokens, distilled, reinforced
from pmd_agent.recipe.distill import DistillSection, GrpoSection

DRAWS, ROLLOUTS, VOCABULARY = 200, 4, 60
TAUGHT = (True, False, True, True)
TAKEN = ("agg_loss", "compute_self_distillation_loss", "compute_policy_loss_vanilla", "compute_grpo_outcome_advantage")
ALPHAS: dict[Any, float] = {"forward_kl": 0.0, "jsd": 0.5, "reverse_kl": 1.0}


class Clips(dict[str, Any]):
    """The clips of SDPO's GRPO baseline, as an object and as a dict."""

    __getattr__ = dict.__getitem__


def functions(path: Path) -> dict[str, Any]:
    """SDPO's, by name."""
    found = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and n.name in TAKEN]
    for function in found:
        function.decorator_list = []
    later = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    module = ast.fix_missing_locations(ast.Module([later, *found], []))
    masked = SimpleNamespace(
        masked_sum=lambda v, mask: (v * mask).sum(), masked_mean=lambda v, mask: (v * mask).sum() / (mask.sum() + 1e-8)
    )
    names: dict[str, Any] = {
        "torch": torch, "F": torch.nn.functional, "np": np, "defaultdict": defaultdict, "verl_F": masked, "AlgoConfig": bytes,
    }  # fmt: skip
    exec(compile(module, str(path), "exec"), names)
    return names


class Draw:
    """Logits of student and teacher for four rollouts of different lengths, and what was sampled."""

    def __init__(self, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(1, 12, (ROLLOUTS,), generator=g).tolist()
        longest = max(self.lengths)
        self.mask_BT = torch.tensor([[float(t < n) for t in range(longest)] for n in self.lengths])
        self.student_BTV = (torch.randn(ROLLOUTS, longest, VOCABULARY, generator=g) * 2).requires_grad_()
        self.teacher_BTV = torch.randn(ROLLOUTS, longest, VOCABULARY, generator=g) * 2
        self.token_BT = torch.randint(0, VOCABULARY, (ROLLOUTS, longest), generator=g)
        noise = torch.randn(ROLLOUTS, longest, generator=g)
        self.sampled_BT = (self.of_tokens(self.student_BTV) + noise).detach()
        self.rewards = torch.randint(0, 2, (ROLLOUTS,), generator=g).float()

    def of_tokens(self, logits_BTV: Tensor) -> Tensor:
        return logits_BTV.log_softmax(-1).gather(-1, self.token_BT[..., None])[..., 0]

    def ours(self, kept_B: tuple[bool, ...], advantage_B: list[float], judge: Any) -> tuple[Tensor, Tensor]:
        """The mean over rollouts, and its gradient."""
        leaf = self.student_BTV.detach().clone().requires_grad_()
        kept = self.mask_BT.bool() & torch.tensor(kept_B)[:, None]
        share = (1 / torch.tensor(self.lengths))[:, None].expand_as(kept)[kept]
        advantage = torch.tensor(advantage_B)[:, None].expand_as(kept)[kept]
        found: Judged = judge(
            leaf[kept], self.teacher_BTV[kept], Tokens(self.token_BT[kept], self.sampled_BT[kept], share, advantage)
        )
        loss = (found.loss_N * share).sum() / ROLLOUTS
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    def theirs(self, one: Any) -> tuple[Tensor, Tensor]:
        """Micro-batches of one rollout, each a part of the sum: as SDPO's configuration has it."""
        loss = torch.stack([one(slice(b, b + 1)) for b in range(ROLLOUTS)]).sum() / ROLLOUTS
        return loss.detach(), torch.autograd.grad(loss, self.student_BTV)[0]


def distilling(theirs: dict[str, Any], draw: Draw, name: Any, k: int | None) -> float:
    settings = SimpleNamespace(
        full_logit_distillation=True, distillation_topk=k, distillation_add_tail=True, alpha=ALPHAS[name], is_clip=2.0
    )
    kept_B = torch.tensor(TAUGHT).float()

    def one(b: slice) -> Tensor:
        student, teacher = draw.student_BTV[b].log_softmax(-1), draw.teacher_BTV[b].log_softmax(-1)
        more = {"student_all_log_probs": student, "teacher_all_log_probs": teacher}
        if k:
            index = student.topk(k, -1).indices
            more = {
                "student_topk_log_probs": student.gather(-1, index),
                "teacher_topk_log_probs": teacher.gather(-1, index),
            }
        now, then = draw.of_tokens(draw.student_BTV)[b], draw.of_tokens(draw.teacher_BTV)[b]
        loss: Tensor = theirs["compute_self_distillation_loss"](
            now, then, draw.mask_BT[b], settings,
            old_log_probs=draw.sampled_BT[b], self_distillation_mask=kept_B[b], **more,
        )[0]  # fmt: skip
        return loss

    section = DistillSection(divergence=name, top_k=k)
    ours = draw.ours(TAUGHT, [0.0] * ROLLOUTS, lambda s, t, tokens: distilled(s, t, tokens, section))
    return apart(ours, draw.theirs(one))


def reinforcing(theirs: dict[str, Any], draw: Draw) -> float:
    clips = Clips(clip_ratio=0.2, clip_ratio_low=0.2, clip_ratio_high=0.28, clip_ratio_c=3.0, global_batch_info={})
    rewards_BT = torch.zeros_like(draw.mask_BT)
    for b, n in enumerate(draw.lengths):
        rewards_BT[b, n - 1] = draw.rewards[b]
    advantage_BT, _ = theirs["compute_grpo_outcome_advantage"](
        rewards_BT, draw.mask_BT, np.array(["one"] * ROLLOUTS), norm_adv_by_std_in_grpo=False
    )

    def one(b: slice) -> Tensor:
        now = draw.of_tokens(draw.student_BTV)[b]
        loss: Tensor = theirs["compute_policy_loss_vanilla"](
            draw.sampled_BT[b], now, advantage_BT[b], draw.mask_BT[b], "token-mean", clips
        )[0]
        return loss

    section = GrpoSection()
    advantage_B = advantages(draw.rewards.tolist(), normalise=False)
    ours = draw.ours((True,) * ROLLOUTS, advantage_B, lambda s, _, tokens: reinforced(s, None, tokens, section))
    return apart(ours, draw.theirs(one))


def apart(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    theirs = functions(Path(sys.argv[1]))
    worst: dict[str, float] = defaultdict(float)
    for seed in range(DRAWS):
        draw = Draw(seed)
        for name in ALPHAS:
            worst[name] = max(worst[name], distilling(theirs, draw, name, (None, 20)[seed % 2]))
        worst["grpo"] = max(worst["grpo"], reinforcing(theirs, draw))
    print(json.dumps(worst, indent=2))


if __name__ == "__main__":
    main()
