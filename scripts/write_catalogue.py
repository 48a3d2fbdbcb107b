"""Writes what the documents say of the catalogue and of settings.

These are docs/algos/README.md, the list in README.md and the table in docs/training.md. Run it after adding an
algorithm or a setting of a run; a test fails until the documents agree with the code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from offlinekit.algos import catalogue
from offlinekit.core.algo import Algo
from offlinekit.fields import meaning_of
from offlinekit.training.setup.settings import N_STEPS, SETTINGS, RunSettings, plain_kind

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
SETTING_MARKS = ("<!-- settings -->", "<!-- end of settings -->")


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


def training(text: str) -> str:
    """Returns docs/training.md with the table between its marks written anew: a row a setting of a run."""
    hints = RunSettings.__annotations__
    rows = [
        "| keyword | default | meaning | changes results |",
        "|---|---|---|---|",
        f"| `n_steps` | {N_STEPS:,} | Number of updates, exactly; with `resume`, of the whole run. | yes |",
    ]
    for name, setting in SETTINGS.items():
        default = f"{setting.default:,}" if type(setting.default) is int else f"`{setting.default!r}`"
        choices = _choices(hints[name])
        meaning = f"{meaning_of(hints[name])}{f' One of {choices}.' if choices else ''}".replace("|", "\\|")
        rows.append(f"| `{name}` | {default} | {meaning} | {'no' if setting.cosmetic else 'yes'} |")
    start, end = (text.index(mark) for mark in SETTING_MARKS)
    return text[: start + len(SETTING_MARKS[0])] + "\n" + "\n".join(rows) + "\n" + text[end:]


def _choices(hint: Any) -> str:
    """Returns the values of a choice, or nothing."""
    kind, _ = plain_kind(hint) or (None, None)
    return ", ".join(f"`{value!r}`" for value in get_args(kind))


def _by_family() -> list[tuple[str, type[Algo]]]:
    order = list(FAMILIES)
    known = [(name, a) for name, a in catalogue().items() if a.__module__.startswith("offlinekit.")]
    return sorted(known, key=lambda item: (order.index(item[1].family), item[0]))


if __name__ == "__main__":
    (ROOT / "docs" / "algos" / "README.md").write_text(index())
    for path, written in ((ROOT / "README.md", readme), (ROOT / "docs" / "training.md", training)):
        path.write_text(written(path.read_text()))
