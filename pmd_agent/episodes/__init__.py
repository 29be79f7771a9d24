"""Episodes: attempts of several turns, in which an environment answers the policy's replies.

host.py        calls an environment, with a time limit
checked.py     what it says and gives, checked: an environment is somebody's program
play.py        one episode, from the first message to the reward
side_by_side.py   many at once, each at its own pace
tools.py       an environment that makes the policy's tool calls
"""

from pmd_agent.episodes.play import Job, Limits, Played
from pmd_agent.episodes.side_by_side import play_all

__all__ = ["Job", "Limits", "Played", "play_all"]
