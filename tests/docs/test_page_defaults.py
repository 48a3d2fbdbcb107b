"""The page of an algorithm says its defaults: each row of its table of hyperparameters is held against the class."""

from __future__ import annotations

import ast
import inspect
import re
from fractions import Fraction
from pathlib import Path

import pytest

from offlinekit.algos import catalogue
from offlinekit.nn.encoders import MLPEncoder, ResidualEncoder
from offlinekit.sampling.scalers import StandardObservationScaler

PAGES = Path(__file__).parents[2] / "docs" / "algos"
NAMES = sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "README")


def table(name):
    """Returns {hyperparameter: its default as the page writes it}."""
    found = {}
    _, after = (PAGES / f"{name}.md").read_text().split("## Hyperparameters\n")
    for line in after.split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`(\w+)`", cells[1]) if len(cells) > 2 else []
        defaults = cells[2].split(", ") if len(names) > 1 else cells[2:3]
        assert not names or len(names) == len(defaults), (
            f"{len(names)} names, {len(defaults)} defaults: {line}"
        )
        found |= dict(zip(names, defaults, strict=False))
    return found


def read(cell):
    """Returns a cell as a number, "1/3" and "40,000" too, or as words."""
    try:
        return float(Fraction(cell.replace(",", "")))
    except ValueError:
        return float("inf") if cell == "infinity" else cell.strip('`"').lower()


def shown(default):
    """Returns a default as pages write it, in small letters."""
    if isinstance(default, MLPEncoder | ResidualEncoder):
        return in_words(default).lower()
    if isinstance(default, StandardObservationScaler):
        return f"standard (eps {default.eps:.0e})".replace("e-0", "e-")
    if isinstance(default, int | float) and not isinstance(default, bool):
        return default
    return str(default).lower()


def in_words(encoder):
    """Returns an encoder as "MLP 3 x 256 GELU, layer norm, dropout 0.1"; a ReLU is not named."""
    sizes = encoder.hidden_sizes
    alike = len(set(sizes)) == 1
    kind = "residual" if isinstance(encoder, ResidualEncoder) else "MLP"
    first = f"{kind} {len(sizes)} x {sizes[0]}" if alike else f"{kind} {'-'.join(map(str, sizes))}"
    activation = "" if encoder.activation == "relu" else f" {encoder.activation}"
    norm = ", layer norm" if encoder.layer_norm else ""
    return first + activation + norm + (f", dropout {encoder.dropout:g}" if encoder.dropout else "")


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_page(name):
    fields, rows = catalogue()[name].hyperparameters(), table(name)
    assert {key: read(cell) for key, cell in rows.items()} == {
        key: shown(fields[key].default) for key in rows
    }
    own = set(inspect.get_annotations(catalogue()[name])) & fields.keys()
    assert own <= rows.keys(), f"the table of docs/algos/{name}.md leaves out {own - rows.keys()}"


@pytest.mark.parametrize("name", [name for name in NAMES if catalogue()[name].online_settings])
def test_settings_online_are_those_of_the_page(name):
    page = (PAGES / f"{name}.md").read_text()
    written = re.search(r"^Online, unless given: (.*)$", page, re.MULTILINE)
    assert written, f"docs/algos/{name}.md does not say how {name} goes online"
    found = {key: ast.literal_eval(value) for key, value in re.findall(r"`(\w+)=([^`]+)`", written[1])}
    assert found == catalogue()[name].online_settings


def test_cells_by_hand():
    assert read("1/3") == 1 / 3
    assert read("40,000") == 40_000.0
    assert read("3e-4") == 3e-4
    assert read('`"auto"`') == "auto"
    assert in_words(MLPEncoder((400, 300))) == "MLP 400-300"
    assert in_words(MLPEncoder((64, 64), "gelu", layer_norm=True)) == "MLP 2 x 64 gelu, layer norm"
    assert in_words(ResidualEncoder((8, 8))) == "residual 2 x 8 mish, layer norm, dropout 0.1"
