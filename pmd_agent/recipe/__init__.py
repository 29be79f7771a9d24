"""A recipe: what a user writes. Defaults < YAML file < command line (`distill.lr=1e-4`). Unknown keys are refused.

load.py     YAML and overrides -> Recipe       recipe.py        the whole, and what does not go together
yaml.py     how YAML is read and written       removed_keys.py  keys of earlier releases
keys.py     sections, variants, near misses    section.py       what a section is
problems.py (worlds.py), memory.py, pipeline.py, distill.py  a section each
"""

from pmd_agent.recipe.load import (
    dump_recipe,
    load_recipe,
    override_recipe,
    parse_recipe,
    write_overrides,
)
from pmd_agent.recipe.recipe import (
    LocalPolicySection,
    Recipe,
    ScriptedPolicySection,
    VllmPolicySection,
)

__all__ = [
    "LocalPolicySection",
    "Recipe",
    "ScriptedPolicySection",
    "VllmPolicySection",
    "dump_recipe",
    "load_recipe",
    "override_recipe",
    "parse_recipe",
    "write_overrides",
]
