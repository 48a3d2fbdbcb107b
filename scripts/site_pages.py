"""Pages that mkdocs adds to docs/: the README as first page, tutorials from notebooks, the reference, the navigation.

A page that docs/ gains appears by itself: in the section that `SECTIONS` names for it, else under "More".
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = {
    "Start": ("index", "start", "tutorials/*", "from_d3rlpy", "cli"),
    "Data": ("datasets", "tables", "formats", "tools", "atari", "text", "sampling"),
    "Algorithms": ("algos/*", "model_based", "presets", "results", "sequences", "parity"),
    "Training": ("training", "online", "sweeps", "evolution"),
    "Judging": ("evaluation", "ope", "selection", "statistics", "reports"),
    "Engine": ("engine", "populations", "distributed"),
    "Reliability": ("reliability", "SECURITY"),
    "Deployment": ("deploy",),
    "Extending": ("architecture", "extending", "CONTRIBUTING", "CHANGELOG"),
    "Reference": ("reference/*",),
}
"""Pages by section, in order; those that are not there yet are passed over."""
HOME = {
    "README.md": "index.md",
    **{name: name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")},
}
PACKAGES = ("offlinekit.algos", "offlinekit.datasets", "offlinekit.metrics")
MODULES = (
    "offlinekit.core.algo",
    "offlinekit.core.impl",
    "offlinekit.nn.losses",
    "offlinekit.testing",
    "offlinekit.types",
    "offlinekit.errors",
)
LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")
COMMENTED = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)
NOTEBOOK = re.compile(r"(?<!this notebook)\]\((\S+)\.ipynb\)")
COMMANDS = re.compile(r"^```console\n((?:(?!```|\$ ).*\n)*)```", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not written in docs/."""
    made = {to: home_page(source) for source, to in HOME.items()}
    for notebook in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        made[f"tutorials/{notebook.stem}.md"] = notebook_page(notebook)
    for package in PACKAGES:
        made[f"reference/{package}.md"] = reference(package, exported(package))
    for module in MODULES:
        made[f"reference/{module}.md"] = (
            f"# {module}\n\n::: {module}\n    options: {{show_root_heading: false}}\n"
        )
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    config.nav = navigation([file.src_uri for file in files.documentation_pages()])
    return files


def on_nav(nav: Navigation, **_: Any) -> Navigation:
    """Names the pages of algorithms by the algorithm alone, which keeps the list short."""
    for page in nav.pages:
        if page.file.src_uri.startswith("algos/") and not page.is_index:
            page.title = short_title(page.file.content_string)
    return nav


def short_title(text: str) -> str:
    """Returns the heading of a page up to its colon."""
    return text.partition("\n")[0].removeprefix("#").partition(":")[0].strip()


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Takes out the comments, which speak to the tests, and points at the pages of notebooks."""
    markdown = COMMENTED.sub("", markdown)
    markdown = COMMANDS.sub(r"```bash\n\1```", markdown)  # Without "$" all of it would be coloured as output.
    for source, to in HOME.items():
        markdown = markdown.replace(f"](../{source})", f"]({to})")
    return NOTEBOOK.sub(r"](\1.md)", markdown)


def home_page(source: str) -> str:
    """Returns a page of the repository's root with its links seen from docs/."""

    def seen_from_docs(found: re.Match[str]) -> str:
        target = found[1]
        if target.startswith("docs/"):
            return f"]({target.removeprefix('docs/')})"
        return f"]({HOME[target]})" if target in HOME else "]"

    return LINK.sub(seen_from_docs, (ROOT / source).read_text())


def notebook_page(path: Path) -> str:
    """Returns a notebook as Markdown, its code as blocks, with a link to the notebook itself."""
    cells = json.loads(path.read_text())["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    title, _, rest = texts[0][0].partition("\n")
    parts = [title, f"[Download this notebook]({path.name})", rest.strip()]
    outputs = iter(recorded_outputs(path))
    for text, kind in texts[1:]:
        parts.append(text if kind == "markdown" else f"```python\n{text}\n```")
        parts += next(outputs, []) if kind == "code" else []
    return "\n\n".join(parts) + "\n"


def recorded_outputs(notebook: Path) -> list[list[str]]:
    """Returns the Markdown of what each code cell has put out, as scripts/record_tutorials.py keeps it."""
    path = notebook.parent / "outputs" / f"{notebook.stem}.json"
    cells = json.loads(path.read_text()) if path.is_file() else []
    return [
        [
            f"![](../images/tutorials/{each['image']})"
            if "image" in each
            else f"```text\n{each['text']}\n```"
            for each in cell["outputs"]
        ]
        for cell in cells
    ]


def exported(package: str) -> list[str]:
    """Returns the names in the `__all__` of a package, without importing it."""
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    raise ValueError(f"{package} has no __all__")


def reference(package: str, names: list[str]) -> str:
    """Returns a page that shows what a package exports from its docstrings, of algorithms with their parameters."""
    parts = [f"# {package}"]
    for name in names:
        parts += [f"::: {package}.{name}", *parameters(package, name)]
    return "\n\n".join(parts) + "\n"


def parameters(package: str, name: str) -> list[str]:
    """Returns a table of the keywords of an algorithm: default, range and meaning; none for anything else."""
    import offlinekit  # Here: pages without algorithms need none of it.

    front = getattr(offlinekit.algos, name, None) if package == "offlinekit.algos" else None
    if front is None or not hasattr(front, "hyperparameters"):
        return []
    rows = [
        (f"`{each.name}`", f"`{each.default}`", each.kind.replace("|", "or"), each.meaning)
        for each in front.hyperparameters().values()
        if each.name != "impl_class"
    ]
    head = (("parameter", "default", "range", "meaning"), ("---",) * 4)
    return ["\n".join(f"| {' | '.join(row)} |" for row in (*head, *rows))]


def navigation(pages: list[str]) -> list[dict[str, list[str]]]:
    """Returns the sections with those of their pages that are there, and what no section names under More."""
    left = sorted(pages, key=lambda page: (not page.endswith("README.md"), page.removesuffix(".md")))
    sections = []
    for title, patterns in {**SECTIONS, "More": ("*",)}.items():
        held = [page for pattern in patterns for page in left if fits(page, pattern)]
        left = [page for page in left if page not in held]
        if held:
            sections.append({title: held})
    return sections


def fits(page: str, pattern: str) -> bool:
    """Returns whether a page is the one, or in the folder, that a pattern names; "*" is every page."""
    return page.startswith(pattern[:-1]) if pattern.endswith("*") else page == f"{pattern}.md"
