"""What a run has learnt, to be asked: text in, text out, or as a language model of DSPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

from pmd_agent.arguments import a_count, a_number, a_text, kind_of
from pmd_agent.assembly.policy import frozen_policy
from pmd_agent.assembly.run_memory import known_problems
from pmd_agent.console import Console
from pmd_agent.distillation.teacher_page import student_messages
from pmd_agent.errors import RunError
from pmd_agent.models.run_adapter import adapter_of
from pmd_agent.runs.folder import RunDir
from pmd_agent.types import Problem, Sampling

if TYPE_CHECKING:
    import dspy

Prompt = str | Problem
"""A text is asked as the run's problems are: with the system message that they share, if they share one."""
Prompts = list[Prompt] | list[str] | list[Problem] | tuple[Prompt, ...]


class RunPolicy:
    """Use it as a context manager: `with run.policy() as policy`. The weights are this object's own."""

    def __init__(
        self,
        run: RunDir,
        *,
        adapter: bool = True,
        server: bool = False,
        otherwise: str = "ask the base: run.policy(adapter=False)",
        console: Console,
    ) -> None:
        """The run's adapter, or the base. `server`: a run of policy.type=vllm answers from its server. Raises PMDError.

        `otherwise`: what can be done while there is no adapter.
        """
        self.run = run
        self._closed = False
        self._warn: Callable[[str], None] = console.warn
        if server and run.recipe.policy.type != "vllm":
            raise RunError(
                f"{run.path} has no server (policy.type={run.recipe.policy.type}).", "Leave out server=True."
            )
        with ExitStack() as opened:
            found = opened.enter_context(adapter_of(run, otherwise, console.warn)) if adapter else None
            folder = found.folder if found else None
            self.policy, self.context = frozen_policy(run.recipe, folder, console, server=server)
            """For what this class has no short way to: token ids, log-probabilities."""
            opened.callback(self.policy.close)
            if server:
                self.policy.attach(run.path)
            self._adapter = found
            self.load(base=False)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def learnt(self) -> bool:
        """Whether there is an adapter; else the base answers."""
        return self._adapter is not None

    def load(self, *, base: bool) -> None:
        """Answer as the base from now on, or again with the adapter. The weights are there once, and nothing is read anew."""
        adapter = None if base else self._adapter
        self.policy.load(adapter.folder if adapter else None, adapter.step if adapter else 0)

    def close(self) -> None:
        """Free the weights."""
        self._closed = True
        self._opened.close()

    @overload
    def __call__(
        self, prompts: Prompt, *, n: None = None, temperature: float | None = None, top_p: float | None = None,
        max_tokens: int | None = None, seed: int = 0, system: str | None = None,
    ) -> str: ...  # fmt: skip
    @overload
    def __call__(
        self, prompts: Prompt, *, n: int, temperature: float | None = None, top_p: float | None = None,
        max_tokens: int | None = None, seed: int = 0, system: str | None = None,
    ) -> list[str]: ...  # fmt: skip
    @overload
    def __call__(
        self, prompts: Prompts, *, n: None = None, temperature: float | None = None, top_p: float | None = None,
        max_tokens: int | None = None, seed: int = 0, system: str | None = None,
    ) -> list[str]: ...  # fmt: skip
    @overload
    def __call__(
        self, prompts: Prompts, *, n: int, temperature: float | None = None, top_p: float | None = None,
        max_tokens: int | None = None, seed: int = 0, system: str | None = None,
    ) -> list[list[str]]: ...  # fmt: skip
    def __call__(
        self,
        prompts: Prompt | Prompts,
        *,
        n: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        seed: int = 0,
        system: str | None = None,
    ) -> str | list[str] | list[list[str]]:
        """An answer for a prompt, a list of them with `n`; and a list of what a prompt would give for several prompts.

        Sampled as the run's evaluation samples, unless told otherwise. `system` takes the place of a text's system message.
        """
        self._check_open()
        odd: object = prompts
        if not isinstance(odd, str | Problem | list | tuple):
            raise RunError(f"A policy answers texts, not {kind_of(odd)}.", "Give a text, a Problem, or a list.")
        single = isinstance(prompts, str | Problem)
        asked = [prompts] if isinstance(prompts, str | Problem) else list(prompts)
        recipe = self.run.recipe
        sampling = Sampling(
            recipe.evaluate.temperature if temperature is None else a_number(temperature, "temperature", 0),
            recipe.evaluate.top_p if top_p is None else a_number(top_p, "top_p", 1e-6, 1),
            recipe.rollout.max_tokens if max_tokens is None else a_count(max_tokens, "max_tokens"),
            a_count(seed, "seed", least=0),
        )
        messages = [student_messages(self._problem(each, system)) for each in asked]
        many = 1 if n is None else a_count(n, "n")
        texts = [[c.text for c in group] for group in self.policy.sample(messages, many, sampling)]
        if n is None:
            return texts[0][0] if single else [group[0] for group in texts]
        return texts[0] if single else texts

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int = 0,
    ) -> str:
        """The reply to a conversation, messages with role and content: what an agent loop asks for, turn by turn."""
        self._check_open()
        recipe = self.run.recipe
        sampling = Sampling(
            recipe.evaluate.temperature if temperature is None else temperature,
            recipe.evaluate.top_p,
            max_tokens or recipe.rollout.max_tokens,
            seed,
        )
        ((completion,),) = self.policy.sample([[dict(message) for message in messages]], 1, sampling)
        return completion.text

    def lm(self, *, temperature: float = 0.0, max_tokens: int | None = None, seed: int = 0) -> dspy.LM:
        """The same weights as a language model of DSPy, its cache off. Above temperature 0 what is asked again is drawn anew."""
        self._check_open()
        made = self.policy.lm(
            temperature=temperature, max_tokens=max_tokens or self.run.recipe.pipeline.max_tokens, seed=seed
        )
        if hasattr(made.engine, "repeats_differ"):
            made.engine.repeats_differ = True
        return made

    def _check_open(self) -> None:
        if self._closed:
            raise RunError("This policy is closed.", "Use it within its `with` block, or open another: run.policy().")

    def _problem(self, prompt: Prompt, system: str | None) -> Problem:
        if isinstance(prompt, Problem):
            return prompt
        shared = self.system if system is None else a_text(system, "system")
        return Problem("", a_text(prompt, "a prompt"), system=shared)

    @cached_property
    def system(self) -> str:
        """The system message that all of the run's problems have; empty where they share none."""
        systems = {problem.system for problem in known_problems(self.run, self._warn)}
        return systems.pop() if len(systems) == 1 else ""
