"""pmd memory: read what a run has remembered, and carry it elsewhere."""

import typer

from pmd_agent.cli.group import Group
from pmd_agent.cli.memory.bank import export, import_
from pmd_agent.cli.memory.recall import recall, taught
from pmd_agent.cli.memory.show import lift, list_, report, search, show

app = typer.Typer(cls=Group, no_args_is_help=True, help="Read what a run has remembered.")
for command in (recall, export, taught, show, search, lift, report):
    app.command()(command)
app.command("import")(import_)
app.command("list")(list_)
