"""The whole of a recipe: a section for each part of a run, and what does not go together.

Every field has a default that works, a bound and a sentence. The defaults are the published settings for Qwen3-8B on
SciKnowEval, as far as they are published; LoRA and its rate are ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pmd_agent.recipe.distill import DistillSection
from pmd_agent.recipe.memory import MemorySection
from pmd_agent.recipe.pipeline import PipelineSection
from pmd_agent.recipe.problems import Problems, SciKnowEvalProblems
from pmd_agent.recipe.section import Section
from pmd_agent.recipe.worlds import HouseRulesProblems, TicketProblems, WorldProblems

# --- policy -------------------------------------------------------------------------------------------------------


class LocalPolicySection(Section):
    """transformers and peft in this process."""

    type: Literal["local"] = "local"
    model: str = "Qwen/Qwen3-8B"
    """`box` (ships with pmd), a folder, a GGUF file (converted once), or a hub id."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU, float32 on a CPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    thinking: bool = False
    """Qwen3-like thinking mode. Warned of: such models are reported to lose up to 17 % in self-distillation."""
    batch_tokens: int = Field(65_536, ge=256)
    """Prompt and completion tokens held in one generation batch."""


class VllmPolicySection(Section):
    """A vLLM server: one that pmd starts and ends, or one that is there (`address`). Training is in this process."""

    type: Literal["vllm"] = "vllm"
    model: str = "Qwen/Qwen3-8B"
    """`box` (ships with pmd), a folder, a GGUF file (converted once), or a hub id."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of server and training. auto: bfloat16 on a GPU, float32 on a CPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training is done."""
    thinking: bool = False
    """Qwen3-like thinking mode. Warned of: such models are reported to lose up to 17 % in self-distillation."""
    max_model_len: int | None = Field(None, ge=64)
    """Tokens of a prompt and its completion. Empty: as many as the model reads."""
    gpu_share: float = Field(0.45, gt=0, le=1)
    """Of each of its GPUs' memory that the server takes; docs/vllm.md has the arithmetic."""
    gpus: str = ""
    """Ids of the server's GPUs, such as "1,2,3". Empty: those that this process sees."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs that share one copy of the model."""
    data_parallel: int = Field(1, ge=1)
    """Copies of the model."""
    sleep: bool = False
    """The server gives its GPU memory back while training."""
    in_flight: int = Field(128, ge=1)
    """Requests (of all samples of one problem each) at one time."""
    request_seconds: float = Field(3600, gt=0)
    """A request that takes longer counts as lost."""
    start_seconds: float = Field(900, gt=0)
    """A server that is not ready by then is an error."""
    restarts: int = Field(3, ge=0)
    """How often in a row a server that dies is started again."""
    cpu_cache_gib: int = Field(1, ge=1)
    """KV cache of vLLM's CPU build."""
    python: str = ""
    """An interpreter that has vLLM. Empty: this one."""
    arguments: tuple[str, ...] = ()
    """More options of the server, such as ["--max-num-seqs", "512"]."""
    address: str | None = None
    """http://host:port of a running server. What the server's own options are is then its starter's business."""
    api_key: str = "VLLM_API_KEY"
    """The environment variable that holds the running server's key, where it has one."""


class ScriptedPolicySection(Section):
    """Answers from a list, for tests of the loop."""

    type: Literal["scripted"] = "scripted"
    answers: tuple[str, ...] = ("<answer> 0 </answer>",)


PolicySection = Annotated[LocalPolicySection | VllmPolicySection | ScriptedPolicySection, Field(discriminator="type")]


class EpisodeSection(Section):
    """Attempts of several turns, at problems that have an environment (docs/agents.md)."""

    turns: int = Field(8, ge=1)
    """Replies of the policy; the last one is still told to the environment."""
    tokens: int = Field(8192, ge=1)
    """Of all that follows the prompt, the environment's messages included."""
    seconds: float = Field(60.0, gt=0, le=3600)
    """Of one call of the environment. One that takes longer could not be checked."""
    observation_chars: int = Field(8000, ge=40)
    """Of one message of the environment; a longer one loses its middle."""
    at_once: int = Field(256, ge=1)
    """Episodes that go on beside each other."""
    tool_format: Literal["plain", "hermes", "qwen_xml", "llama", "mistral"] | None = None
    """How the model calls tools. Empty: as its chat template says, `plain` where that tells nothing of tools (docs/agents.md)."""


class RolloutSection(Section):
    """Attempts: sampled from the plain prompt."""

    problems: int = Field(32, ge=1)
    """Problems in a step's batch."""
    samples: int = Field(8, ge=1)
    """Rollouts of each (the group)."""
    shuffle: bool = True
    """Every epoch a new order of the problems. False: always the source's, such as easy ones first."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(8192, ge=1)
    """Of a completion; of an episode, of each reply."""
    max_prompt_tokens: int = Field(2048, ge=16)
    """Longer problems are left out at the start, counted and named."""
    success_threshold: float = Field(0.5, gt=0, le=1)
    """A reward of at least this counts as correct, where a function or an environment of yours gives it. (Code: what passes all
    tests.)"""
    lag: Literal[0, 1] = 0
    """1: a step's attempts are sampled while the step before is distilled, by weights one update older. Faster where the server
    has a GPU of its own."""
    episode: EpisodeSection = EpisodeSection()


# --- evaluation and the whole -------------------------------------------------------------------------------------


class EvaluateSection(Section):
    """On the test problems before the first step and after the last; on the validation problems every `every` steps."""

    every: int = Field(5, ge=0)
    """Validation clock in steps; 0: only before and after."""
    samples: int = Field(16, ge=1)
    """Rollouts of each problem: the k of avg@k, pass@k and maj@k (which only answers have that can be compared)."""
    validation_samples: int | None = Field(None, ge=1)
    """The same in validation, which comes often. Empty: samples."""
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_problems: int | None = Field(None, ge=1)
    """At most so many test problems of each kind. Empty: all."""
    with_memory: bool = True
    """Also with memory in the prompt: at each validation, at the end, and before the first step where there is a bank."""


class Recipe(Section):
    """One run."""

    name: str = "run"
    """The run's folder is runs/<name>."""
    method: Literal["pmd", "sdpo", "grpo"] = "pmd"
    """sdpo switches memory off: siblings and feedback are all that the teacher reads. grpo has no teacher either."""
    seed: int = 0
    steps: int | None = Field(None, ge=1)
    """Empty: epochs."""
    epochs: int = Field(20, ge=1)
    runs: Path = Path("runs")
    """Where run folders are made."""
    track: tuple[Literal["wandb", "mlflow", "tensorboard", "trackio"], ...] = ()
    """Services that are told the run's figures (docs/recipes.md, Trackers)."""
    checkpoint_every: int = Field(1, ge=1)
    """Steps between checkpoints; a resumed run goes on from the last one."""
    keep_checkpoints: int = Field(2, ge=1)
    problems: Problems = SciKnowEvalProblems()
    policy: PolicySection = LocalPolicySection()
    rollout: RolloutSection = RolloutSection()
    pipeline: PipelineSection = PipelineSection()
    memory: MemorySection = MemorySection()
    distill: DistillSection = DistillSection()
    evaluate: EvaluateSection = EvaluateSection()

    @property
    def page_style(self) -> Literal["box", "plain"]:
        """How the teacher's page is worded."""
        if self.pipeline.style != "auto":
            return self.pipeline.style
        return "box" if getattr(self.policy, "model", "box") == "box" else "plain"

    @property
    def program_style(self) -> Literal["box", "plain"]:
        """How programs are asked: another model than the policy reads what instruct models read."""
        return "plain" if self.pipeline.style == "auto" and self.pipeline.lm.model else self.page_style

    @property
    def judged(self) -> bool:
        """Whether attempts get verdicts. Where nothing judges them they are still taught, and nothing is measured."""
        return getattr(self.problems, "judged", True)

    @model_validator(mode="before")
    @classmethod
    def _method(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("method") in ("sdpo", "grpo"):
            method, memory = data["method"], data.get("memory") or {}
            if isinstance(memory, dict):
                if memory.get("tiers"):
                    raise ValueError(
                        f"method={method} keeps no memory, but memory.tiers is set: leave out one of the two"
                    )
                data = data | {"memory": memory | {"tiers": ()}}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if "behavior" in self.memory.tiers and "insight" not in self.memory.tiers and self.memory.persist:
            raise ValueError("memory.tiers: behaviors are made from insights; add insight, or leave out behavior")
        if self.memory.bank is not None and (not self.memory.tiers or not self.memory.persist):
            raise ValueError(
                "memory.bank is read into a memory that is kept: leave out the bank, or memory.persist=false"
            )
        if self.rollout.lag and getattr(self.policy, "sleep", False):
            raise ValueError(
                "rollout.lag=1 samples while it learns, and policy.sleep lets the server rest: leave out one"
            )
        made_up = WorldProblems | HouseRulesProblems | TicketProblems
        if isinstance(self.problems, made_up) and self.problems.drift and self.rollout.shuffle:
            raise ValueError("problems.drift begins with the second half of the problems: set rollout.shuffle=false")
        if not self.judged and (self.method != "pmd" or self.distill.routing != "none" or self.memory.lift.trial):
            raise ValueError(
                "problems.verifier=none: nothing judges the attempts, so there is nothing to reinforce, to show to siblings, or to "
                "try memories on: set a verifier, or leave method, distill.routing and memory.lift.trial as they are"
            )
        if not self.judged and not (self.memory.tiers and self.memory.persist):
            raise ValueError(
                "problems.type=traces teaches by memory: leave memory.tiers and memory.persist as they are"
            )
        lift = self.memory.lift
        if lift.trial and lift.harmful is None:
            raise ValueError("memory.lift.trial ends by memory.lift.harmful: set it, or leave out the trial")
        if lift.trial and self.memory.tiers and (not self.distill.enabled or self.policy.type == "scripted"):
            raise ValueError("memory.lift.trial: nothing is tried where nothing is learnt (distill.enabled=false)")
        optimise = self.pipeline.optimise
        weightless = self.policy.type == "scripted" or (self.policy.type == "vllm" and not self.distill.enabled)
        if optimise.every and optimise.metric == "teacher_gain" and (weightless or self.distill.parallel == "fsdp"):
            raise ValueError(
                "pipeline.optimise.metric=teacher_gain needs the policy's weights in this process: set it to support"
            )
        if self.method == "grpo" and self.distill.routing != "none":
            raise ValueError("method=grpo reinforces every rollout: distill.routing has nothing to send to a teacher")
        if self.distill.routing != "none" and self.distill.gain_patience is not None:
            raise ValueError("distill.gain_patience needs a teacher of successes too: leave out distill.routing")
        if self.distill.parallel != "none" and (not self.distill.enabled or self.policy.type == "scripted"):
            raise ValueError("distill.parallel: nothing is learnt here (distill.enabled=false, or a scripted policy)")
        if self.distill.parallel == "fsdp" and self.policy.type != "vllm":
            raise ValueError(
                "distill.parallel=fsdp: no process has the whole model to sample from; use policy.type=vllm, or ddp"
            )
        if not re.fullmatch(r"\w[\w.-]{0,79}", self.name):
            raise ValueError(f"name={self.name!r} names a folder: use letters, digits, '_', and then '.' and '-'")
        return self
