"""What finished runs show beside each other, with intervals.

finished.py    runs, read        intervals.py   over seeds and problems, paired
arms.py        runs of one arm, and what an arm showed      curves.py   accuracy against rollouts and seconds
report.py      the tables        page.py        the same as Markdown, CSV and one HTML page
"""

from pmd_agent.comparison.arms import Arm, group_by_arm
from pmd_agent.comparison.finished import FinishedRun, read_runs
from pmd_agent.comparison.page import write_report
from pmd_agent.comparison.report import Report, compare

__all__ = ["Arm", "FinishedRun", "Report", "compare", "group_by_arm", "read_runs", "write_report"]
