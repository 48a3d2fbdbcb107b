"""Writes the tables of columns and rules in docs/tools.md from the schema and the rule lists.

Run it after adding a column or a rule; a test fails until the page agrees with them.
"""

from __future__ import annotations

import re
from pathlib import Path

from offlinekit.datasets import schema
from offlinekit.datasets.inspection.doubts import DOUBTS
from offlinekit.datasets.inspection.notes import NOTES
from offlinekit.datasets.inspection.rules import STRUCTURE, VALUES, Rule

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tools.md"
MARKS = ("<!-- rules -->", "<!-- end of rules -->")


def columns() -> list[str]:
    """Returns the table of columns: a row a column."""
    rows = ["| column | one entry a | kind |", "|---|---|---|"]
    for column in schema.COLUMNS:
        needed = ", needed" if column.is_required else ""
        kind = schema.KINDS[column.kind].replace("[N", "[N" if column.per == "row" else "[E")
        rows.append(f"| `{column.name}`{needed} | {column.per} | {kind} |")
    return rows


def rules() -> list[str]:
    """Returns the table of rules: a row a rule, whose meaning is the first line of its docstring."""
    rows = ["| severity | what is found |", "|---|---|"]
    for severity, list_ in (("fault", (*STRUCTURE, *VALUES)), ("warning", DOUBTS), ("note", NOTES)):
        rows += [f"| {severity} | {meaning_of(rule)} |" for rule in list_]
    return rows


def meaning_of(rule: Rule) -> str:
    """Returns what a rule finds."""
    return (rule.__doc__ or "").splitlines()[0].removeprefix("Finds ").rstrip(".")


def page(text: str) -> str:
    """Returns the page with the tables between its marks written anew."""
    tables = "\n".join([MARKS[0], "", *columns(), "", *rules(), "", MARKS[1]])
    return re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda _: tables, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
