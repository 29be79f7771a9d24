"""Nodes for a LangGraph agent: `recall` before it acts, `learn` after.

    pip install langgraph
    pmd run recipes/episodes.yaml
    python recipes/examples/langgraph_node.py runs/episodes

The graph is recall -> reply <-> service -> learn. The two in the middle are the agent's own: here the run's policy, and the
world in the box, an operator a turn.
"""

from __future__ import annotations

import sys
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

import pmd_agent as pmd
from pmd_agent.problems.world_episode import WorldEpisode


class State(TypedDict, total=False):
    """Of one episode. `messages` are what memory learns from: the notes are not in them."""

    problem: Any
    service: Any
    notes: dict[str, str]
    messages: list[dict[str, str]]
    over: bool


def agent(policy: Any, memory: Any) -> Any:
    """The compiled graph."""

    def recall(state: State) -> State:
        messages = state["service"].start(state["problem"])
        asked = messages[-1]["content"]
        notes = memory.recall(state["problem"]).text.replace(state["problem"].prompt, asked)
        return {"messages": messages, "notes": {"role": "user", "content": notes}}

    def reply(state: State) -> State:
        first = next(n for n, m in enumerate(state["messages"]) if m["role"] == "user")
        told = [*state["messages"][:first], state["notes"], *state["messages"][first + 1 :]]
        said = policy.chat(told, temperature=1.0, seed=len(memory.list("experience")))
        return {"messages": [*state["messages"], {"role": "assistant", "content": said}]}

    def service(state: State) -> State:
        heard = state["service"].act(state["messages"][-1]["content"])
        if heard is None:
            return {"over": True}
        return {"messages": [*state["messages"], {"role": "user", "content": heard}], "over": False}

    def learn(state: State) -> State:
        memory.learn(state["messages"], state["service"].reward or 0.0)
        return {}

    graph = StateGraph(State)
    for node in (recall, reply, service, learn):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "reply")
    graph.add_edge("reply", "service")
    graph.add_conditional_edges("service", lambda state: "learn" if state["over"] else "reply", ["learn", "reply"])
    graph.add_edge("learn", END)
    return graph.compile()


def main(run_folder: str, count: int = 8) -> float:
    """Returns the mean reward."""
    run = pmd.Run.open(run_folder)
    rewards = []
    with run.policy() as policy, run.memory(write=True) as memory:
        graph = agent(policy, memory)
        for problem in memory.problems[:count]:
            service = WorldEpisode()
            graph.invoke({"problem": problem, "service": service})
            rewards.append(service.reward or 0.0)
    print(f"mean reward {sum(rewards) / len(rewards):.2f}; what was tried is in {run.path / 'traces.jsonl'}")
    return sum(rewards) / len(rewards)


if __name__ == "__main__":
    main(sys.argv[1])
