"""An office whose departments have conventions that no task states: a world in plain English.

conventions.py  what a convention is           instances.py  what tasks ask to be written
menu.py         the conventions, with their forms   office.py     who writes what how, and the tasks
"""

from pmd_agent.problems.house_rules.conventions import Convention, Form, chosen
from pmd_agent.problems.house_rules.menu import MENU
from pmd_agent.problems.house_rules.office import Office, Rule, load

__all__ = ["MENU", "Convention", "Form", "Office", "Rule", "chosen", "load"]
