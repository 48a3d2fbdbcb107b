"""How numbers and tables look on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click


def number(value: float | None, digits: int = 4) -> str:
    """Returns a number with thousands separators and some significant digits; "-" for none."""
    if value is None or math.isnan(value):
        return "-"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 6)}f}"


def with_error(mean: float, error: float) -> str:
    """Returns "mean ± standard error" with the decimals of the error; the mean alone where it is unknown."""
    if math.isnan(error):
        return f"{mean:,.1f}"
    decimals = 1 if error == 0 else min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{mean:,.{decimals}f} ± {error:,.{decimals}f}"


def table(head: Sequence[str], body: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Prints a table.

    Args:
        head: Names of the columns.
        body: Rows of as many cells.
        left: How many of the first columns are aligned to the left; the others to the right.
    """
    rows = [list(head), *([str(cell) for cell in row] for row in body)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for index, row in enumerate(rows):
        cells = [
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
        if index == 0:
            click.echo("  ".join("-" * width for width in widths))


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Prints names and what they are, in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"{name.ljust(width)}  {text}".rstrip())
