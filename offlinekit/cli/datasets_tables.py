"""`offlinekit datasets init`: a first schema of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.options import debug_option, example, key_value_option, usage

ROLES = ("action", "reward", "episode", "time", "terminal", "timeout", "propensity")


def _role_options(function: Any) -> Any:
    for role in reversed(ROLES):
        function = click.option(f"--{role}", metavar="COLUMN", help="Its column.  [default: by its name]")(
            function
        )
    return function


@click.command(
    "init",
    epilog=example(
        "offlinekit datasets init ward.csv", "offlinekit datasets init log.csv --action plan --reward gain"
    ),
)
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: TABLE as .yaml]")
@_role_options
@key_value_option("--dataset-option", "options", help="separator= or decimal= of a text file")
@debug_option
def init(table: Path, out: Path | None, options: dict[str, Any], **roles: str | None) -> None:
    """Guess what the columns of TABLE mean, and write it as YAML for a person to correct.

    TABLE is a CSV, TSV or Parquet file. The commands that read datasets take the result by --schema.
    """
    from offlinekit.datasets.tabular.table_frames import read_texts
    from offlinekit.tables.guessing import guess

    target = out or table.with_name(table.name.partition(".")[0] + ".yaml")
    if target.exists():
        raise click.BadParameter(
            f"{target} is there already; remove it, or write to another file", param_hint="'--out'"
        )
    with usage("TABLE"):
        guessed = guess(read_texts(table, **options), **roles)
    target.write_text(guessed.to_yaml(str(table), str(target)))
    for name, (column, seen) in {**guessed.observations, **guessed.actions}.items():
        click.echo(f"{name:20} {column.kind:9} {seen}")
    for role, column_name in guessed.roles.items():
        click.echo(f"{role:20} {column_name or '-'}")
    click.echo(f"\nWrote {target}; correct it, then: offlinekit datasets validate {table} --schema {target}")
    missing = [
        role
        for role, known in (("action", guessed.actions), ("reward", guessed.roles["reward"]))
        if not known
    ]
    if missing:
        click.echo(f"No column looks like the {' or the '.join(missing)}: name it there.")
