"""`offlinekit datasets init` and `drift`: what the columns of a table mean, and which of them moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.datasets_info import open_alike, open_dataset
from offlinekit.cli.options import debug_option, example, reader_options, usage
from offlinekit.cli.output import json_text, number
from offlinekit.cli.output import table as show_table

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
@click.option("--separator", help="Between the cells of a text file.  [default: found by the header line]")
@debug_option
def init(table: Path, out: Path | None, separator: str | None, **roles: str | None) -> None:
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
        guessed = guess(read_texts(table, separator=separator), **roles)
    target.write_text(guessed.to_yaml(str(table), str(target)), encoding="utf-8")
    for name, (column, seen) in {**guessed.observations, **guessed.actions}.items():
        click.echo(f"{name:20} {column.kind:9} {seen}")
    for role, column_name in guessed.roles.items():
        why = f"  (proposed: {guessed.proposed[role]})" if role in guessed.proposed else ""
        click.echo(f"{role:20} {column_name or '-'}{why}")
    click.echo(f"{'legal_actions':20} {', '.join(guessed.legal_actions) or '-'}")
    click.echo(f"\nWrote {target}; correct it, then: offlinekit datasets validate {table} --schema {target}")
    missing = [
        role
        for role, known in (("action", guessed.actions), ("reward", guessed.roles["reward"]))
        if not known
    ]
    if missing:
        click.echo(f"No column looks like the {' or the '.join(missing)}: name it there.")
    if guessed.roles["episode"] is None and guessed.roles["propensity"] is None:
        click.echo("No column says where episodes begin, so all rows would be one episode: name it there.")


@click.command(
    "drift",
    epilog=example(
        "offlinekit datasets drift ward.csv --schema ward.yaml --by admitted",
        "offlinekit datasets drift spring.csv autumn.csv --schema ward.yaml",
    ),
)
@click.argument("name")
@click.argument("later", required=False)
@reader_options()
@click.option(
    "--by", metavar="COLUMN", help="Without LATER: the column of extras by whose values NAME is cut in two."
)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, True, True),
    default=0.5,
    help="Share of the episodes in the first period.",
)
@click.option(
    "--permutations", type=click.IntRange(min=19), default=199, help="Of the episodes, for p-values."
)
@click.option("--seed", type=int, default=0, help="Of the permutations.")
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print JSON.")
@debug_option
def drift(
    name: str,
    later: str | None,
    options: dict[str, Any],
    by: str | None,
    fraction: float,
    permutations: int,
    seed: int,
    as_json: bool,
) -> None:
    """Show which columns and actions moved between two periods: NAME and LATER, or NAME cut by the values of a column.

    The distance is that of Kolmogorov and Smirnov, of an action the difference of its shares. P-values permute whole
    episodes and are corrected for the number of columns. LATER is read by the schema of NAME.
    """
    from offlinekit.datasets.tabular.drift import drift as compare

    if (later is None) == (by is None):
        raise click.UsageError("give two datasets, or one and --by COLUMN")
    before = open_dataset("NAME", name, options)
    if later is not None:
        after = open_alike("LATER", later, before, options)
    else:
        with usage("--by"):
            before, after = before.split(fraction, by=by)
    report = compare(before, after, n_permutations=permutations, seed=seed)
    if as_json:
        click.echo(
            json_text({"columns": [row._asdict() for row in report.columns], "n_episodes": report.n_episodes})
        )
        return
    head = ("column", "before", "after", "distance", "p-value")
    show_table(head, [(row.name, *map(number, row[1:])) for row in report.columns])
    first, second = report.n_episodes
    click.echo(f"\nOf {first:,} and {second:,} episodes. Moved: {', '.join(report.moved) or 'none'}")
