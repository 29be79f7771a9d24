"""pmd chat RUN"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Annotated

import typer

from pmd_agent.cli.arguments import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pmd_agent.assembly.conversations import Conversations
    from pmd_agent.console import Console
    from pmd_agent.types import Completion, Problem

HELP = "/problem asks a test problem, /new begins anew, /quit (or Ctrl-D) ends"


def chat(
    run: Run,
    once: Annotated[
        list[str] | None,
        typer.Option("--once", metavar="TEXT", help="Say this, print the answers and stop. Again: the next turn."),
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message, in place of the run's.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="As the run evaluates, by default.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other answers.")] = 0,
    server: Annotated[bool, typer.Option("--server", help="Ask the run's vLLM server.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a turn.")] = False,
) -> None:
    """Talk to a run's base model and to its adapter, side by side. Without memory in the prompt.

    Where the input is no terminal, each of its lines is a turn.
    """
    import sys

    from pmd_agent.console import Console
    from pmd_agent.runs.folder import RunDir

    directory = RunDir.open(run)
    from pmd_agent.assembly.conversations import Conversations
    from pmd_agent.assembly.run_policy import RunPolicy
    from pmd_agent.types import Sampling

    console = Console()
    recipe = directory.recipe
    sampling = Sampling(
        recipe.evaluate.temperature if temperature is None else temperature,
        recipe.evaluate.top_p,
        max_tokens or recipe.rollout.max_tokens,
        seed,
    )
    beside = Console(sys.stderr, sys.stderr) if as_json else console  # what a server says while it starts
    with console.working(f"loading {directory.path}"):
        policy = RunPolicy(directory, server=server, otherwise="wait for a checkpoint", console=beside)
    with policy:
        _talk(Conversations(policy, sampling, system), console, iter(once) if once else None, as_json)


def _talk(talk: Conversations, console: Console, given: Iterator[str] | None, as_json: bool) -> None:
    """Turn by turn; what cannot be answered is said, and ends a conversation only where nobody sits at it."""
    from pmd_agent.errors import OutputError, PMDError

    if given is None and console.asks:
        console.info(f"{' and '.join(talk.names)} of {talk.policy.run.path}; {HELP}")
    problems: Iterator[Problem] | None = None
    while (text := next(given, None) if given is not None else console.ask("you> ")) is not None:
        try:
            match text.strip():
                case "":
                    continue
                case "/quit" | "/exit" if given is None:
                    return
                case "/help" if given is None:
                    console.info(HELP)
                case "/new" if given is None:
                    talk.forget()
                case "/problem" if given is None:
                    problems = problems or cycle(talk.test_problems())
                    _pose(talk, console, next(problems, None), as_json)
                case _:
                    with console.working("answering"):
                        replies = talk.say(text)
                    _show(console, text, replies, as_json)
        except OutputError:
            raise
        except PMDError as error:
            if not console.asks or given is not None:
                raise
            console.error(error)


def _pose(talk: Conversations, console: Console, problem: Problem | None, as_json: bool) -> None:
    if problem is None:
        console.warn("this run has no test problems")
        return
    if not as_json:
        console.info(problem.prompt)
    with console.working("answering"):
        replies = talk.pose(problem)
    _show(console, problem.prompt, replies, as_json, problem.answer)


def _show(
    console: Console, text: str, replies: Mapping[str, Completion], as_json: bool, answer: str | None = None
) -> None:
    if as_json:
        row = {"prompt": text, **{name: reply.text for name, reply in replies.items()}}
        console.data(row | ({} if answer is None else {"answer": answer}))
        return
    console.side_by_side({name: _whole(reply) for name, reply in replies.items()})
    if answer is not None:
        console.info(f"the answer: {answer}")


def _whole(reply: Completion) -> str:
    """What was said, and whether it was cut."""
    text = reply.text.strip() or "(nothing)"
    return text if reply.finish_reason == "stop" else f"{text}\n[cut after {len(reply.completion_ids)} tokens]"
