"""A recipe: what a user writes. Defaults < YAML file < command line (`distill.lr=1e-4`).

recipe.py    the whole, and the loading of it           section.py  what a section is
problems.py, memory.py, pipeline.py, distill.py: a section each; keys.py     sections, variants, and what was probably meant
yaml.py      YAML in and out                            removed_keys.py     keys of earlier releases
"""

from pmd_agent.recipe.recipe import (
    LocalPolicySection,
    Recipe,
    ScriptedPolicySection,
    VllmPolicySection,
    dump_recipe,
    load_recipe,
    override_recipe,
    parse_recipe,
    write_overrides,
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
