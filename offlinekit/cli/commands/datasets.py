"""`offlinekit datasets`: what there is; the other commands of the group lie one subject a file."""

from __future__ import annotations

import click

from offlinekit.cli.datasets_edit import convert, merge, relabel, subsample
from offlinekit.cli.datasets_info import info, validate
from offlinekit.cli.datasets_record import collect, levels, record
from offlinekit.cli.datasets_tables import drift, init
from offlinekit.cli.options import SETTINGS, debug_option, example
from offlinekit.cli.output import pairs


@click.group(
    context_settings=SETTINGS,
    epilog=example("offlinekit datasets list hopper", "offlinekit datasets info cartpole-mixed"),
)
@debug_option
def command() -> None:
    """List, record, describe, validate and mend datasets."""


for _part in (init, record, collect, levels, info, validate, drift, convert, merge, subsample, relabel):
    command.add_command(_part)


@command.command("list", epilog=example("offlinekit datasets list hopper"))
@click.argument("text", required=False, default="")
@debug_option
def list_(text: str) -> None:
    """List the names of datasets that contain TEXT, or all, and the kinds of files."""
    from offlinekit.datasets import known_datasets

    rows = [(name, line) for name, line in known_datasets().items() if text.lower() in name.lower()]
    if not rows:
        raise click.BadParameter(f"no known dataset contains {text!r}", param_hint="'TEXT'")
    pairs([row for row in rows if not row[0].startswith("*")] or rows)
    files = [row for row in rows if row[0].startswith("*")]
    if files and not text:
        click.echo("\nOr the path of a file:")
        pairs(files)
