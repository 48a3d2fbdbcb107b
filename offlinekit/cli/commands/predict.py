"""`offlinekit predict`: what a policy does at the rows of a table."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, key_value_option, policy_argument, usage
from offlinekit.cli.runs import find
from offlinekit.errors import UnsupportedError
from offlinekit.io import atomic_write

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.deploy import NumpyPolicy
    from offlinekit.tables.table_schema import TableSchema
    from offlinekit.types import Array


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit predict policy.okt patients.csv",
        "offlinekit predict policy.safetensors patients.json --numbers --out actions.csv",
    ),
)
@policy_argument
@click.argument("rows", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--labels/--numbers", "labels", default=None, help="Of actions.  [default: labels, if they have any]"
)
@click.option("--out", type=click.Path(path_type=Path), help="CSV file to write.  [default: print it]")
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@key_value_option("--dataset-option", "options", help="separator= or decimal= of a text file")
@debug_option
def command(
    run: Path, rows: Path, labels: bool | None, out: Path | None, which: str, options: dict[str, Any]
) -> None:
    """Print the greedy action for each of ROWS, a CSV, TSV, Parquet or JSON file, as CSV.

    RUN_OR_POLICY is a run folder, a policy file such as policy.okt, or an exported policy.safetensors, that has learned
    from a table with a schema, by which the rows are read. Columns that it does not need may be there or not.
    """
    from offlinekit.datasets.tabular.table_frames import read_rows

    policy, schema = _policy_of(run, which)
    with usage("ROWS"):
        table = read_rows(rows, schema, **options)
        actions = policy.predict(table, labels=schema.is_discrete if labels is None else labels)
    text = _csv([column.name for column in schema.actions], actions)
    if out is None:
        click.echo(text, nl=False)
        return
    with atomic_write(out) as beside:
        beside.write_text(text)
    click.echo(f"Wrote {out}: {len(actions):,} actions")


def _policy_of(run: Path, which: str) -> tuple[Algo | NumpyPolicy, TableSchema]:
    """Returns the policy that is named, and its schema."""
    policy: Algo | NumpyPolicy
    if run.suffix == ".safetensors":
        from offlinekit.deploy import NumpyPolicy

        policy = NumpyPolicy.load(run)
    else:
        import offlinekit

        policy = offlinekit.load(find(run, which).policy, device="cpu")
    schema: TableSchema | None = policy.schema
    if schema is None:
        raise UnsupportedError(
            f"{run} did not learn from a table with a schema, so no columns are known to it; give arrays to its "
            "predict in Python, or train on the table by --schema"
        )
    return policy, schema


def _csv(names: list[str], actions: Array) -> str:
    """Returns actions [N] or [N, k] as the text of a table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(actions.reshape(len(actions), -1).tolist())
    return text.getvalue()
