"""What of the documentation is made by a program. Run from a checkout, no part of the installed package.

    hooks.py        what mkdocs calls while it builds          source_pages.py   the files that pages name, as pages
    recipe_keys.py  every key of a recipe                      notebooks.py      notebooks as pages; makes their outputs
    commands.py     every command of `pmd`                     chart.py          the chart of results
    metrics.py      every figure that a step reports           python_api.py     what `import pmd_agent` offers

`python -m docs.generate.chart` and `python -m docs.generate.notebooks` write files that are kept. The rest is made at each build.
"""
