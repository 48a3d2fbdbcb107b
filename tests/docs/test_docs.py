"""The documents point at things that are there, and leave nothing out."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from offlinekit.algos import Algo

REPO = Path(__file__).parents[2]
NAMED = re.compile(r"`((?:offlinekit|tests|examples|reproductions|scripts|docs)/[\w/.]+\.(?:py|md|json))`")
PAGES = [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing, f"{page.name} points at {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_named_files_are_there(page):
    missing = [name for name in NAMED.findall(page.read_text()) if not (REPO / name).exists()]
    assert not missing, f"{page.name} names {missing}"


def test_the_documents_list_the_rules_for_data():
    written = runpy.run_path(str(REPO / "scripts" / "write_rules.py"))
    text = (REPO / "docs" / "tools.md").read_text()
    assert written["page"](text) == text, "run scripts/write_rules.py"
    assert all(rule.__doc__.startswith("Finds ") for rule in (*written["STRUCTURE"], *written["DOUBTS"]))


def test_the_documents_list_the_catalogue():
    written = runpy.run_path(str(REPO / "scripts" / "write_catalogue.py"))
    readme = (REPO / "README.md").read_text()
    assert written["index"]() == (REPO / "docs" / "algos" / "README.md").read_text(), (
        "run scripts/write_catalogue.py"
    )
    assert written["readme"](readme) == readme, "run scripts/write_catalogue.py"
    training = (REPO / "docs" / "training.md").read_text()
    assert written["training"](training) == training, "run scripts/write_catalogue.py"
    online = (REPO / "docs" / "online.md").read_text()
    assert written["online"](online) == online, "run scripts/write_catalogue.py"
    assert all(f"(docs/algos/{a.catalogue_name()}.md)" in readme for a in Algo.known.values() if _ours(a))


def test_the_documents_show_the_rows_of_the_benchmark():
    for path, write in runpy.run_path(str(REPO / "scripts" / "write_results.py"))["written"]().items():
        text = path.read_text()
        assert "<!-- results -->" in text
        assert write(text) == text, f"run scripts/write_results.py; {path.name} is behind its CSV files"


def _ours(algo):
    return algo.__module__.startswith("offlinekit.") and algo.family != "OPE"


def test_embedded_datasets_are_small():
    folder = REPO / "offlinekit" / "datasets" / "embedded"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sum((folder / f"{name}.h5").stat().st_size for name in manifest) < 2_000_000


def test_what_statistics_shows_runs_and_says_the_truth():
    page = (REPO / "docs" / "statistics.md").read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/statistics.md", "exec"), names)
        shown_calls = re.findall(r"^(\w+\(.*\))  # ([\d.]+|\[[\d., ]+\]|\([\d., ]+\))", block, re.MULTILINE)
        for call, shown in shown_calls:
            found = eval(call, names)
            assert list(_numbers(found)) == pytest.approx(list(_numbers(eval(shown))), abs=0.05), call


def _numbers(value):
    return value if hasattr(value, "__iter__") else [value]
