"""Arms times seeds from one recipe.

plan.py    the file that a sweep is written in, and the runs that follow from it
run.py     running them side by side, resumably
tune.py    the same search for every arm, on worlds of its own
"""

from pmd_agent.sweep.plan import Sweep, SweepRun, load_sweep, runs_of
from pmd_agent.sweep.run import run_all
from pmd_agent.sweep.tune import choose, tuning_runs

__all__ = ["Sweep", "SweepRun", "choose", "load_sweep", "run_all", "runs_of", "tuning_runs"]
