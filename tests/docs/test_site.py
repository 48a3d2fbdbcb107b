"""The site builds without a warning, and a page that is added is found."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs")
REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made():
    return runpy.run_path(str(REPO / "scripts" / "site_pages.py"))


def test_each_page_has_its_place(made):
    pages = [str(page.relative_to(REPO / "docs")) for page in REPO.glob("docs/**/*.md")]
    listed = [page for section in made["navigation"](pages) for held in section.values() for page in held]
    assert sorted(listed) == sorted(pages)
    more = [section["More"] for section in made["navigation"](pages) if "More" in section]
    assert not more, f"name a section for {more} in SECTIONS of scripts/site_pages.py"


def test_a_new_page_is_found(made):
    sections = made["navigation"](
        ["ope.md", "evaluation.md", "surprise.md", "algos/README.md", "algos/bc.md"]
    )
    assert sections == [
        {"Algorithms": ["algos/README.md", "algos/bc.md"]},
        {"Judging": ["evaluation.md", "ope.md"]},
        {"More": ["surprise.md"]},
    ]


def test_home_links_within_the_site(made):
    home = made["home_page"]("README.md")
    assert "(docs/" not in home
    assert "](algos/README.md)" in home
    assert "](CONTRIBUTING.md)" in home


def test_algorithms_are_listed_by_their_short_names(made):
    assert made["short_title"]("# IQL: implicit Q-learning\n\nText: more.\n") == "IQL"
    assert made["short_title"]("# ReBRAC\n") == "ReBRAC"


def test_a_notebook_becomes_a_page(made, tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]},
        {"cell_type": "code", "source": ["a = 1\n", "a"]},
    ]
    (tmp_path / "some.ipynb").write_text(json.dumps({"cells": cells}))
    page = made["notebook_page"](tmp_path / "some.ipynb")
    assert page == "# Title\n\n[Download this notebook](some.ipynb)\n\nWords.\n\n```python\na = 1\na\n```\n"


def test_comments_to_the_tests_are_taken_out(made):
    markdown = "Words.\n\n<!-- before:\na = 1\n-->\n```python\na\n```\n"
    assert made["on_page_markdown"](markdown) == "Words.\n\n```python\na\n```\n"


def test_links_to_notebooks_lead_to_their_pages(made):
    markdown = "[one](a/one.ipynb), [two](two.ipynb)\n\n[Download this notebook](two.ipynb)\n"
    expected = "[one](a/one.md), [two](two.md)\n\n[Download this notebook](two.ipynb)\n"
    assert made["on_page_markdown"](markdown) == expected


def test_commands_are_coloured_as_commands(made):
    assert made["on_page_markdown"]("```console\nmake\n```\n") == "```bash\nmake\n```\n"
    shown = "```console\n$ make\ndone\n```\n"
    assert made["on_page_markdown"](shown) == shown


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "reference" / "offlinekit.algos.html").read_text()
    assert "TD3 with a behaviour-cloning term" in reference
    assert 'id="offlinekit.algos.TD3PlusBC"' in reference
    for page in tmp_path.rglob("*.html"):
        local = re.findall(r'(?:href|src)="(?!https?:|mailto:|#|data:|\.\"|/)([^"#?]+)', page.read_text())
        missing = [link for link in local if not (page.parent / link).exists()]
        assert not missing or page.name == "404.html", f"{page.name}: {missing}"


def test_outputs_stand_beneath_the_cells(made, tmp_path):
    cells = [{"cell_type": "markdown", "source": ["# Title"]}, {"cell_type": "code", "source": ["1 + 1"]}]
    (tmp_path / "some.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "outputs").mkdir()
    record = [{"cell": "0", "outputs": [{"text": "2"}, {"image": "some_0_1.png"}]}]
    (tmp_path / "outputs" / "some.json").write_text(json.dumps(record))
    page = made["notebook_page"](tmp_path / "some.ipynb")
    assert page.endswith(
        "```python\n1 + 1\n```\n\n```text\n2\n```\n\n![](../images/tutorials/some_0_1.png)\n"
    )


def test_kept_outputs_are_those_of_the_cells():
    digest = runpy.run_path(str(REPO / "scripts" / "record_tutorials.py"))["digest"]
    for path in REPO.glob("docs/tutorials/outputs/*.json"):
        notebook = json.loads((path.parents[1] / f"{path.stem}.ipynb").read_text())
        code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        record = json.loads(path.read_text())
        assert [digest(source) for source in code] == [cell["cell"] for cell in record], (
            f"record {path.stem} anew"
        )
        images = [each["image"] for cell in record for each in cell["outputs"] if "image" in each]
        assert all((REPO / "docs" / "images" / "tutorials" / image).is_file() for image in images)


def test_the_reference_lists_parameters(made):
    page = made["reference"]("offlinekit.algos", ["IQL", "MLPEncoder"])
    assert "| `expectile` | `0.7` | float in (0, 1) |" in page
    assert page.count("| parameter | default |") == 1


def test_search_works_from_disk():
    assert "\n  - offline" in (REPO / "mkdocs.yml").read_text()
