"""The teacher's lessons absorbed by a LoRA adapter: one step on the student's own rollouts.

For each rollout the teacher reads memory + problem + the rollout, the student problem + the rollout; both give a distribution
at every token of the rollout, and the student moves towards the teacher. A rollout with an advantage has no teacher: GRPO's
objective moves the student (losses.py has both). What sequences share at the start is computed once (forward.py), and
logits at those positions only, a chunk at a time (chunks.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pmd_agent.distillation import lean_layers
from pmd_agent.distillation.batches import by_objective, length, micro_batches, shares, split
from pmd_agent.distillation.chunks import backward, chunks
from pmd_agent.distillation.compiled import Guarded, compiled
from pmd_agent.distillation.example import Example
from pmd_agent.distillation.forward import ForwardPass
from pmd_agent.distillation.lm_head import lm_head_of
from pmd_agent.distillation.losses import Judged, Tokens, distilled, reinforced
from pmd_agent.distillation.parallel import Team
from pmd_agent.distillation.policy_gradient import token_logprobs
from pmd_agent.distillation.profile import Profiler
from pmd_agent.distillation.room import Cut, checkpoint, cut, free_bytes, require_checkpointing
from pmd_agent.distillation.step_metrics import Tally
from pmd_agent.distillation.token_gains import Gains, to_show
from pmd_agent.distillation.trainer_state import PARTS, Part, State, gathered, restore, write_adapter
from pmd_agent.models.adapters import STUDENT, TEACHER, Weights, adapter_parameters, answering_as, copy_adapter
from pmd_agent.recipe.distill import DistillSection


class Trainer:
    """Owns the optimiser and the teacher's weights; the student's are the active adapter of `model`, changed in place."""

    def __init__(
        self,
        model: Any,
        settings: DistillSection,
        *,
        pad_id: int,
        seed: int,
        special_ids: Collection[int] = frozenset(),
        team: Team | None = None,
        device: torch.device | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`device`: where a model is to be that does not fit there before it is sharded; by default, where it is."""
        self.model, self.settings, self.seed, self.team = model, settings, seed, team or Team()
        self.steps = 0
        self.gains: dict[str, float] = {}
        """Rollout id -> how much more its teacher believed in it than the student, in the last step; nats per token."""
        self.token_gains: dict[str, Gains] = {}
        """The same at each token, of a few rollouts (distill.show_tokens)."""
        self.total_steps: int | None = None
        """The run's length, which a falling learning rate follows."""
        self._unlearnt = frozenset(special_ids) if settings.mask_special else frozenset()
        base = model.get_base_model()
        self._lm_head = lm_head_of(base)
        self._vocabulary = int(base.config.get_text_config().vocab_size)
        lean_layers.install(model)
        self.forward = ForwardPass(model, pad_id=pad_id, share=settings.share_prefixes)
        self.profiler, self.guard = Profiler(), Guarded(warn, self._vocabulary)
        require_checkpointing(base, settings.gradient_checkpointing)
        self._cut: Cut | None = None
        self._student: State | None = None  # gathered since the last step
        self.team.shard(base, device or base.device)
        self._parameters = list(adapter_parameters(model, STUDENT).values())
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=settings.lr, weight_decay=settings.weight_decay, foreach=True
        )

    def step(self, examples: Sequence[Example], *, rollouts: int | None = None) -> dict[str, float]:
        """Learn from the batch in `updates` optimiser steps, then let the teacher follow. Returns metrics (nats per token).

        An update's loss is a mean by weight: over its tokens, or (per_rollout) over those of each rollout and then over
        rollouts, of which there are so many (`rollouts`, by default as many as examples): those that are no example count as 0.
        """
        per_rollout = self.settings.normalisation == "per_rollout"
        share = len(examples) / (rollouts or len(examples) or 1) if per_rollout else 1.0
        self.gains, self.token_gains, self._student = {}, {}, None
        if not examples:
            self.steps += 1
            return {"loss": 0.0, "tokens": 0.0}
        with self.profiler.step(self.steps):
            return self._step(examples, share)

    def _step(self, examples: Sequence[Example], share: float) -> dict[str, float]:
        settings, lr = self.settings, self._lr()
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        torch.manual_seed(
            self.seed * 100_003 + self.steps
        )  # order and dropout: a resumed run draws what an unbroken one draws
        order = torch.randperm(len(examples)).tolist()
        every = settings.entropy_every
        tally = Tally(
            to_show(examples, settings.show_tokens), with_entropy=bool(every) and (self.steps + 1) % every == 0
        )
        norms: list[float] = []
        skipped = 0
        for part in split([examples[i].without_loss_on(self._unlearnt) for i in order], settings.updates):
            total = sum(self._weight(e) * sum(e.written) for e in part) / share or 1.0
            self._optimiser.zero_grad(set_to_none=True)
            with self.forward.precision():
                for batch, counts in self._micro_batches(part):
                    judged = self._backward(batch, total / self.team.scale, with_entropy=tally.with_entropy)
                    if counts:
                        tally.add(batch, *judged)
            self.team.add_gradients(self._parameters)
            norm = self.team.clip_gradients(self._parameters, settings.max_grad_norm)
            if math.isfinite(norm):  # all processes see the same one
                norms.append(norm)
                self._optimiser.step()
            else:
                skipped += 1  # one such step would make every weight NaN for good
        self.model.eval()
        if settings.teacher.type == "ema" and norms:  # after no update there is nothing to follow
            copy_adapter(self.model, STUDENT, TEACHER, rate=settings.teacher.rate)
        self.steps += 1
        tally = tally.over(self.team)
        self.gains, self.token_gains = tally.gains, tally.token_gains
        found = tally.metrics() | {"grad_norm": sum(norms) / max(1, len(norms)), "lr": lr}
        found["loss"] *= share
        return found | ({"updates_skipped": float(skipped)} if skipped else {})

    def learn(self, examples: Sequence[Example], rollouts: int | None, total_steps: int | None) -> None:
        """A step of a run of this length, as rank 0 tells it."""
        self.total_steps = total_steps
        self.step(examples, rollouts=rollouts)

    def gain(self, examples: Sequence[Example]) -> float | None:
        """The gain of a teacher that reads these examples' teacher prompts; nothing is learnt.

        Nats per token, against the log-probabilities at which the rollouts were sampled. None where not both correct and
        wrong ones are there.
        """
        return self._score(examples).teacher_gain

    def log_ratios(self, examples: Sequence[Example]) -> dict[str, float]:
        """By id: how much more a teacher that reads the example's teacher prompt believes in its rollout, nats in all.

        Compared as in `gain`, so that the differences of two are those of two teachers. Nothing is learnt.
        """
        tokens = {e.id: sum(e.without_loss_on(self._unlearnt).written) for e in examples}
        return {name: mean * tokens[name] for name, mean in self._score(examples).gains.items()}

    @torch.no_grad()
    def _score(self, examples: Sequence[Example]) -> Tally:
        tally = Tally()
        learnt = [e.without_loss_on(self._unlearnt) for e in examples]
        with self.forward.precision():
            for batch, counts in self._micro_batches(learnt):
                tokens, teachers = self._tokens(batch), self._references(batch)
                gain_N = [
                    token_logprobs(self._mixed([h[part] for h in teachers]), t.target_N) - t.sampled_N
                    for part, t in chunks(tokens, self._vocabulary)
                ]
                if counts:
                    tally.add_gain(batch, torch.cat(gain_N))
        return tally.over(self.team)

    def cut(self) -> Cut:
        """How steps are cut, found at the first one: by then all else that lives on the GPU is there, or asleep."""
        if self._cut is None:
            base, settings = self.model.get_base_model(), self.settings
            free = free_bytes(self._parameters[0].device)
            if free is not None:  # what is read whole is more tokens than are counted
                free = int(self.team.least(free)) // (2 if self.forward.sharing.partly else 1)
            sharded = free is not None and self.team.kind == "fsdp"  # its layers are gathered while they are computed
            wanted = True if sharded and settings.gradient_checkpointing is None else settings.gradient_checkpointing
            self._cut = cut(base, free, tokens=settings.batch_tokens, checkpointing=wanted)
            if self._cut.checkpointing:
                checkpoint(base)
        return self._cut

    def _lr(self) -> float:
        """Of this step: the warm-up, then constant or falling to zero over `total_steps`."""
        scale = min(1.0, (self.steps + 1) / max(1, self.settings.warmup))
        if self.settings.schedule == "linear" and self.total_steps:
            scale *= max(0.0, 1.0 - self.steps / self.total_steps)
        return self.settings.lr * scale

    def _backward(self, batch: Sequence[Example], total: float, *, with_entropy: bool) -> tuple[Tokens, Judged]:
        """The gradient of one micro-batch, all of it distilled or all of it reinforced."""
        tokens, references = self._tokens(batch), self._references(batch)
        objective = partial(
            self._distilled if batch[0].advantage is None else self._reinforced, with_entropy=with_entropy
        )
        self.model.train()
        student_ND = self.forward.hidden([(e.student_prompt_ids, e) for e in batch])
        judged = backward(
            objective, student_ND, references, tokens, total=total, vocabulary=self._vocabulary, guard=self.guard
        )
        return tokens, judged

    def _micro_batches(self, examples: Sequence[Example]) -> Iterator[tuple[list[Example], bool]]:
        """This process's, and whether they count: one that only keeps step with other processes does not."""
        shared, team, tokens = not self.forward.unshared, self.team, self.cut().tokens
        for share in by_objective(examples):
            cut = [list(micro_batches(part, tokens, shared=shared)) for part in shares(share, team.size, shared=shared)]
            mine = cut[team.rank]
            yield from ((batch, True) for batch in mine)
            if team.even:
                idle = [replace(min(share, key=length), weight=0.0)]
                yield from ((idle, False) for _ in range(max(map(len, cut)) - len(mine)))

    def _distilled(
        self, student_ND: Tensor, teachers_ND: list[Tensor], tokens: Tokens, fast: bool, *, with_entropy: bool
    ) -> Judged:
        with torch.no_grad():
            teacher_NV = self._mixed(teachers_ND)
        judge = compiled(distilled) if fast else distilled
        return judge(self._logits(student_ND), teacher_NV, tokens, self.settings, with_entropy=with_entropy)

    def _reinforced(
        self, student_ND: Tensor, initial_ND: list[Tensor], tokens: Tokens, fast: bool, *, with_entropy: bool
    ) -> Judged:
        with torch.no_grad():
            initial_NV = self._logits(initial_ND[0]) if initial_ND else None
        judge = compiled(reinforced) if fast else reinforced
        return judge(self._logits(student_ND), initial_NV, tokens, self.settings.grpo, with_entropy=with_entropy)

    def _logits(self, hidden_ND: Tensor) -> Tensor:
        with self.forward.autocast():
            return self._lm_head(hidden_ND)

    def _mixed(self, teachers_ND: list[Tensor]) -> Tensor:
        """(N, V) logits of the teacher: of one, or of two interpolated, (1 - mix) initial + mix current."""
        logits = [self._logits(hidden_ND) for hidden_ND in teachers_ND]
        if len(logits) == 1:
            return logits[0]
        return torch.lerp(logits[0].float(), logits[1].float(), self.settings.teacher.mix)

    @torch.no_grad()
    def _references(self, batch: Sequence[Example]) -> list[Tensor]:
        """(N, D) hidden states of each whom the student is compared with: teachers with memory, or GRPO's initial policy."""
        self.model.eval()  # without dropout
        who: Sequence[Weights]
        if batch[0].advantage is None:
            kind = self.settings.teacher.type
            who = ("initial", "current") if kind == "trust_region" else (kind,)
            rows = [(e.teacher_prompt_ids, e) for e in batch]
        else:
            who = ("initial",) if self.settings.grpo.kl else ()
            rows = [(e.student_prompt_ids, e) for e in batch]
        found = []
        for weights in who:
            with answering_as(self.model, weights):
                found.append(self.forward.hidden(rows))
        return found

    def _weight(self, example: Example) -> float:
        """Of each of its tokens in an update's mean."""
        if self.settings.normalisation == "per_token":
            return example.weight
        return example.weight / max(1, sum(example.written))

    def _tokens(self, batch: Sequence[Example]) -> Tokens:
        device = self._parameters[0].device
        count_B = [sum(e.written) for e in batch]
        written_N = torch.tensor([w for e in batch for w in e.written], dtype=torch.bool)
        target_N = torch.tensor([i for e in batch for i in e.completion_ids], dtype=torch.long)[written_N]
        sampled_N = torch.tensor([p for e in batch for p in e.logprobs], dtype=torch.float32)[written_N]
        weight_N = torch.tensor([self._weight(e) for e, n in zip(batch, count_B, strict=True) for _ in range(n)])
        advantage_N = torch.tensor([e.advantage or 0.0 for e, n in zip(batch, count_B, strict=True) for _ in range(n)])
        return Tokens(*(column.to(device) for column in (target_N, sampled_N, weight_N, advantage_N)))

    # --- state ------------------------------------------------------------------------------------------------

    def save_adapter(self, folder: Path) -> None:
        """The student in PEFT's own format, loadable without this package."""
        write_adapter(self.model, folder, self._gathered("student"))

    def save(self, folder: Path) -> None:
        """Everything that training goes on from: adapters, optimiser, position."""
        torch.save({part: self._gathered(part) for part in PARTS}, folder / "trainer.pt")
        (folder / "trainer.json").write_text(json.dumps({"steps": self.steps}))

    def load(self, folder: Path) -> None:
        state = torch.load(folder / "trainer.pt", weights_only=True, map_location="cpu")
        self.restore(state, json.loads((folder / "trainer.json").read_text())["steps"])

    def gather(self, part: Part) -> State:
        """A part of the state, whole; where the weights are sharded, all processes have to ask."""
        return gathered(self.model, self._optimiser, part)

    def _gathered(self, part: Part) -> State:
        """What is asked for twice after a step, by sync and by the checkpoint, is gathered once."""
        if part != "student":
            return self.gather(part)
        if self._student is None:
            self._student = self.gather(part)
        return self._student

    def restore(self, state: State, steps: int) -> None:
        """Go on from a state that was gathered after so many steps."""
        self._student = None
        restore(self.model, self._optimiser, state)
        self.steps = steps
