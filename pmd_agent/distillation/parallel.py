"""Several processes, started by torchrun, that learn as one.

Rank 0 owns the run: it samples, remembers and writes files. The others wait for what it tells them and run the same trainer
(`follow`). A step's examples go to all; each takes its share of the micro-batches, and gradients and sums are added up, so
the numbers are those of one process.

    ddp    every process has the whole model. The adapter's gradients are added up once an update, in one call. torch's
           DistributedDataParallel would do the same inside the backward pass, but wants one backward pass in step with the
           others for each forward pass; here shares may differ in their number of passes, and an adapter is small.
    fsdp   fully_shard (FSDP2) of every decoder layer, for models that do not fit: each process has a part of every weight.
           Embeddings and head stay whole. All processes make equally many passes, since each gathers the weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pmd_agent.errors import PolicyError, RunError

V = TypeVar("V")
Kind = Literal["none", "ddp", "fsdp"]
PATIENCE = timedelta(days=30)
"""While rank 0 samples and reflects, the others wait; a process that dies is torchrun's to notice."""
TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Team:
    """This process and its fellows. `Team()` is one process alone, for which everything here does nothing."""

    def __init__(self, kind: Kind = "none", rank: int = 0, size: int = 1, talk: Any = None) -> None:
        self.kind, self.rank, self.size, self._talk = kind, rank, size, talk
        self.at_work = False

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def even(self) -> bool:
        """Whether all processes have to make equally many passes through the model."""
        return self.kind == "fsdp" and self.size > 1

    # ---- talk: rank 0 says what is done next

    def tell(self, message: object) -> None:
        """To all others, from rank 0. None ends their work."""
        if self.size > 1:
            dist.broadcast_object_list([message], src=0, group=self._talk)

    @contextmanager
    def working(self, method: str, *arguments: object) -> Iterator[None]:
        """Rank 0 does this now, and all others with it. After an error the others are still in it: they hear nothing."""
        self.tell((method, arguments))
        self.at_work = True
        yield
        self.at_work = False

    def hear(self) -> Any:
        """What rank 0 tells next; the process waits for it."""
        box: list[Any] = [None]
        dist.broadcast_object_list(box, src=0, group=self._talk)
        return box[0]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Of each value over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self._talk)
        return total.tolist()

    def least(self, value: float) -> float:
        """Of all processes' values."""
        return min(self.merge({str(self.rank): value}).values())

    def merge(self, values: dict[str, V]) -> dict[str, V]:
        """All processes' entries in one."""
        if self.size == 1:
            return values
        boxes: list[dict[str, V]] = [{} for _ in range(self.size)]
        dist.all_gather_object(boxes, values, group=self._talk)
        return {name: value for box in boxes for name, value in box.items()}

    # ---- weights

    def shard(self, base: Any, device: torch.device) -> None:
        """fsdp: this process keeps its part of each decoder layer, on its device. Raises PolicyError."""
        if self.kind != "fsdp":
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        from pmd_agent.distillation.lm_head import body_of

        whole = [base.get_input_embeddings(), base.get_output_embeddings()]
        if any(p.requires_grad for module in whole for p in module.parameters()):
            raise PolicyError(
                "distill.parallel=fsdp keeps embeddings and head whole, and the adapter has weights there.",
                "Leave them out of distill.lora.targets, or use distill.parallel=ddp.",
            )
        mesh = init_device_mesh(device.type, (self.size,))
        kept = {p for module in whole for p in module.to(device).parameters()}
        body, layers = body_of(base), set(base._no_split_modules or ())
        for module in body.modules():
            if type(module).__name__ in layers:
                fully_shard(module, mesh=mesh)
        fully_shard(body, mesh=mesh, ignored_params=kept)

    @property
    def scale(self) -> int:
        """What a loss is multiplied by so that its gradients add up: fully_shard takes the mean over processes."""
        return self.size if self.kind == "fsdp" else 1

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """ddp: each gradient becomes the sum of all processes'. fully_shard has done so in the backward pass."""
        if self.kind != "ddp" or self.size == 1:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        dist.all_reduce(flat)
        for p, summed in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad = summed.view_as(p).clone()

    @torch.no_grad()
    def clip_gradients(self, parameters: Sequence[Tensor], most: float) -> float:
        """Their norm over all processes before it is clipped at `most`."""
        if self.kind != "fsdp":
            return float(torch.nn.utils.clip_grad_norm_(parameters, most, foreach=True))
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = float(whole_tensor(torch.nn.utils.get_total_norm(gradients)))
        for gradient in gradients:
            gradient.mul_(min(1.0, most / (norm + 1e-6)))
        return norm


def whole_tensor(tensor: Tensor) -> Tensor:
    """Itself, or put together from all processes' parts; then all have to ask."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """Of a whole tensor what this process has of the parameter."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(parameter, DTensor):
        return whole.to(parameter.device)
    return distribute_tensor(
        whole.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )


@contextmanager
def joined(kind: Kind) -> Iterator[Team]:
    """Within: this process is one of those that torchrun started, on its own GPU where there are any. Raises RunError."""
    launched = "TORCHELASTIC_RUN_ID" in os.environ
    size = int(os.environ.get("WORLD_SIZE", "1")) if launched else 1
    if kind == "none":
        if size > 1:
            raise RunError(
                f"torchrun started {size} processes, and distill.parallel is none: each would do the whole run.",
                "Add distill.parallel=ddp or distill.parallel=fsdp, or start without torchrun.",
            )
        yield Team()
        return
    if not launched:
        raise RunError(
            f"distill.parallel={kind} is for processes that torchrun starts, and this one was started alone.",
            "torchrun --nproc_per_node 2 -m pmd_agent run RECIPE",
        )
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    talk = dist.new_group(backend="gloo", timeout=PATIENCE)
    team = Team(kind, dist.get_rank(), dist.get_world_size(), talk)
    # What this process starts, such as a vLLM server, is no member of the team.
    for name in [n for n in os.environ if n in TORCHRUN or n.startswith("TORCHELASTIC_")]:
        del os.environ[name]
    try:
        yield team
    finally:
        if not team.at_work:  # otherwise the others wait for what will not come, and torchrun ends them
            if team.leads:
                team.tell(None)
            dist.destroy_process_group()


def follow(trainer: Any, team: Team) -> None:
    """Do as rank 0 tells, until it tells to stop: (name, arguments) of a method of the trainer."""
    while (message := team.hear()) is not None:
        method, arguments = message
        team.at_work = True
        getattr(trainer, method)(*arguments)
        team.at_work = False
