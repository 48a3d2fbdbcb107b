"""Numbers and tables on a terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    pass


def number(value: float | None, digits: int = 4) -> str:
    """Returns a number with thousands separators and some significant digits; "-" for none."""
    if value is None or math.isnan(value):
        return "-"
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.{digits}g}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"


def json_text(value: object) -> str:
    """Returns JSON of a tree, with null for what is no finite number, which JSON has no word for."""
    return json.dumps(_without_nan(value), indent=2, allow_nan=False)


def _without_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_error(mean: float, error: float) -> str:
    """Returns "mean ± standard error" with the decimals of the error; the mean alone if it is NaN."""
    if math.isnan(error):
        return f"{mean:,.1f}"
    decimals = 1 if error == 0 else min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{mean:,.{decimals}f} ± {error:,.{decimals}f}"


def space_text(space: Any) -> str:
    """Returns a gymnasium space in a few words: shape, type, and its bounds if they are one pair."""
    inner = getattr(space, "spaces", None)
    if isinstance(inner, Mapping):
        return "{" + ", ".join(f"{key}: {space_text(part)}" for key, part in inner.items()) + "}"
    if inner is not None:
        return f"({', '.join(map(space_text, inner))})"
    if not hasattr(space, "low") or hasattr(space, "tokenizer"):
        return str(space)
    low, high = {float(bound) for bound in space.low.flat}, {float(bound) for bound in space.high.flat}
    bounds = f" in [{low.pop():g}, {high.pop():g}]" if len(low) == len(high) == 1 else ""
    return f"{space.dtype}{list(space.shape)}{bounds}"


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
