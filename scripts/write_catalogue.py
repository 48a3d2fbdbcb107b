"""Writes what the documents say of the catalogue and of settings.

These are docs/algos/README.md, the list in README.md and the tables in docs/training.md and docs/online.md. Run it
after adding an algorithm or a setting of a run; a test fails until the documents agree with the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from offlinekit.algos import catalogue
from offlinekit.core.algo import Algo
from offlinekit.core.catalogue import FAMILIES
from offlinekit.fields import meaning_of
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.setup.settings import (
    N_STEPS,
    SETTINGS,
    RunSettings,
    Setting,
    SharedSettings,
    plain_kind,
    settings_of,
)

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- catalogue -->", "<!-- end of catalogue -->")
SETTING_MARKS = ("<!-- settings -->", "<!-- end of settings -->")
ONLINE_MARKS = ("<!-- online settings -->", "<!-- end of online settings -->")


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
    first = (
        f"| `n_steps` | {N_STEPS:,} | Number of updates, exactly; with `resume`, of the whole run. | yes |"
    )
    return _with_table(text, SETTING_MARKS, [first], RunSettings, SETTINGS)


def online(text: str) -> str:
    """Returns docs/online.md with its table written anew: the settings that online runs alone have."""
    settings = settings_of(OnlineSettings)
    own = {name: setting for name, setting in settings.items() if name not in SharedSettings.__annotations__}
    return _with_table(text, ONLINE_MARKS, [], OnlineSettings, own)


def _with_table(
    text: str, marks: tuple[str, str], first: list[str], record: Any, settings: Mapping[str, Setting]
) -> str:
    hints = record.__annotations__
    rows = ["| keyword | default | meaning | changes results |", "|---|---|---|---|", *first]
    for name, setting in settings.items():
        default = f"{setting.default:,}" if type(setting.default) is int else f"`{setting.default!r}`"
        choices = _choices(hints[name])
        meaning = f"{meaning_of(hints[name])}{f' One of {choices}.' if choices else ''}".replace("|", "\\|")
        rows.append(f"| `{name}` | {default} | {meaning} | {'no' if setting.cosmetic else 'yes'} |")
    start, end = (text.index(mark) for mark in marks)
    return text[: start + len(marks[0])] + "\n" + "\n".join(rows) + "\n" + text[end:]


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
    for path, written in (
        (ROOT / "README.md", readme),
        (ROOT / "docs" / "training.md", training),
        (ROOT / "docs" / "online.md", online),
    ):
        path.write_text(written(path.read_text()))
