"""Writes what the documents say of the catalogue: docs/algos/README.md, and the list in README.md.

Run it after adding an algorithm; a test fails until both agree with the catalogue.
"""

from __future__ import annotations

import re
from pathlib import Path

from offlinekit.algos import catalogue
from offlinekit.core.algo import Algo

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = {
    "IL": "imitation",
    "PC": "policy constraint",
    "VR": "value regularisation",
    "U": "uncertainty",
    "MB": "model-based",
    "Off2On": "offline to online",
    "SEQ": "sequence models",
    "online": "bases that learn online",
}
MARKS = ("<!-- catalogue -->", "<!-- end of catalogue -->")


def index() -> str:
    """Returns the index of the pages: one row an algorithm, by family."""
    lines = [
        "# Algorithms",
        "",
        "Written by `scripts/write_catalogue.py` from the classes themselves, as `offlinekit algos` is. Families: "
        + ", ".join(f"{key} ({name})" for key, name in FAMILIES.items())
        + ".",
        "",
        "| algorithm | family | actions | what it does | paper | presets |",
        "|---|---|---|---|---|---|",
    ]
    for name, algo in _by_family():
        link = f"[{algo.__name__}]({name}.md)"
        row = (
            link,
            algo.family,
            algo.action_kind,
            algo.summary(),
            algo.paper,
            str(len(algo.presets()) or ""),
        )
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def readme(text: str) -> str:
    """Returns README.md with the list between its marks written anew: a row a family."""
    rows = ["| family | algorithms |", "|---|---|"]
    for key, family in FAMILIES.items():
        links = [f"[`{a.__name__}`](docs/algos/{name}.md)" for name, a in _by_family() if a.family == key]
        if links:
            rows.append(f"| {family} | {', '.join(links)} |")
    block = "\n".join((MARKS[0], *rows, MARKS[1]))
    return re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda _: block, text, flags=re.DOTALL)


def _by_family() -> list[tuple[str, type[Algo]]]:
    order = list(FAMILIES)
    known = [(name, a) for name, a in catalogue().items() if a.__module__.startswith("offlinekit.")]
    return sorted(known, key=lambda item: (order.index(item[1].family), item[0]))


if __name__ == "__main__":
    (ROOT / "docs" / "algos" / "README.md").write_text(index())
    (ROOT / "README.md").write_text(readme((ROOT / "README.md").read_text()))
