"""Runs the tests nearest to what git says has changed, for some thirty seconds: `make try`.

Changed is what differs from the commit where this branch left main, and what git does not track yet.
A test file is near by its name (`networks.py`: `test_networks.py`; `iql_impl.py`: `test_iql.py`), else by
the number of imports that lie between. Slow tests are left out; of the conformance suite the algorithms
whose front or impl has changed are checked.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[1]
ALWAYS = "tests/test_architecture.py"
CONFORMANCE = "tests/test_conformance.py"


def git(root: Path, *arguments: str) -> list[str]:
    """Returns the lines that a git command prints, none if it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def changed_files(root: Path, base: str) -> list[str]:
    """Returns what differs from the common ancestor with `base`, and new files, relative to the repository."""
    ancestor = (git(root, "merge-base", "HEAD", base) or ["HEAD"])[0]
    return sorted(
        {
            *git(root, "diff", "--name-only", "--relative", ancestor),
            *git(root, "ls-files", "--others", "--exclude-standard"),
        }
    )


def imported(path: Path) -> Iterator[str]:
    """Yields every dotted name that a file imports or imports from, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(root: Path) -> dict[str, set[str]]:
    """Returns which files import each file; tests import their helpers by the bare name."""
    files = [*root.glob("offlinekit/**/*.py"), *root.glob("tests/**/*.py")]
    places = {_module(path.relative_to(root)): str(path.relative_to(root)) for path in files}
    found: dict[str, set[str]] = {}
    for path in files:
        for name in imported(path):
            if name in places:
                found.setdefault(places[name], set()).add(str(path.relative_to(root)))
    return found


def _module(path: Path) -> str:
    if path.parts[0] == "tests":
        return path.stem
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def stem(file: str) -> str:
    """Returns the name that a file and its test share."""
    return Path(file).stem.removeprefix("test_").removesuffix("_impl")


def names_of(changed: Iterable[str]) -> set[str]:
    """Returns the names that tests of changed files bear: those of the files, and of folders of data and pages."""
    changed = list(changed)
    folders = {Path(file).parent.name for file in changed if not file.endswith(".py")}
    return {stem(file) for file in changed} | folders


def mentioning(root: Path, file: str) -> set[str]:
    """Returns the tests whose text names a file, or the folder it lies in."""
    path = Path(file)
    names = [f'"{path.name}"', f"/{path.name}", *(f'"{folder}"' for folder in path.parts[:-1][-1:])]
    tests = ((test, test.read_text()) for test in root.glob("tests/**/test_*.py"))
    return {str(test.relative_to(root)) for test, text in tests if any(name in text for name in names)}


def distances(root: Path, changed: Iterable[str]) -> dict[str, int]:
    """Returns how many imports lie between each file and the nearest changed one; a mention counts as an import."""
    edges = importers(root)
    found = dict.fromkeys(sorted(changed), 0)
    reached = list(found)
    for file in reached:
        code = file.startswith(("offlinekit/", "tests/")) and file.endswith(".py")
        for other in sorted((edges.get(file, set()) if code else mentioning(root, file)) - found.keys()):
            found[other] = found[file] + 1
            reached.append(other)
    return found


def nearest_tests(root: Path, changed: Iterable[str]) -> list[str]:
    """Returns the test files that a change concerns, nearest first."""
    distance = distances(root, changed)
    names = names_of(changed)
    tests = [str(path.relative_to(root)) for path in sorted(root.glob("tests/**/test_*.py"))]
    found = [test for test in tests if test in distance or stem(test) in names]
    return sorted(found, key=lambda test: (stem(test) not in names, distance.get(test, 0)))


def in_order(tests: Iterable[str], changed: Iterable[str], rules: Iterable[str]) -> list[str]:
    """Returns what to run: tests that bear the name of a changed file, then the rules, then tests that import it."""
    names = names_of(changed)
    own = [test for test in tests if stem(test) in names]
    return [*own, *rules, *(test for test in tests if test not in own)]


class Budget:
    """A pytest plugin that starts no test when its time is over, and checks the contract of some algorithms alone."""

    def __init__(self, seconds: float, algos: set[str]) -> None:
        self.end = time.monotonic() + seconds
        self.algos = algos
        self.n_left = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the contracts of other algorithms out."""
        items[:] = [item for item in items if CONFORMANCE not in item.nodeid or self._is_of(item.name)]

    def _is_of(self, name: str) -> bool:
        return any(f"-{algo}-" in name for algo in self.algos)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        """Takes a test from pytest, unrun, when the time is over."""
        if time.monotonic() < self.end:
            return None
        self.n_left += 1
        return True


@click.command()
@click.option("--base", default="main", show_default=True, help="Branch that this one will be merged into.")
@click.option("--seconds", default=25.0, show_default=True, help="After which no further test starts.")
@click.option("--most", default=8, show_default=True, help="Test files to run.")
def main(base: str, seconds: float, most: int) -> None:
    """Run the tests nearest to what has changed since BASE, and say which."""
    changed = changed_files(ROOT, base)
    if not changed:
        click.echo(f"Nothing has changed since {base}.")
        return
    tests = [test for test in nearest_tests(ROOT, changed) if test not in (ALWAYS, CONFORMANCE)]
    algos = {stem(file) for file in changed if file.startswith("offlinekit/algos/")}
    chosen = in_order(tests[:most], changed, [*([CONFORMANCE] if algos else []), ALWAYS])
    click.echo("\n  ".join([f"Files changed since {base}: {len(changed)}. Running:", *chosen]))
    if left := len(tests) - len(tests[:most]):
        click.echo(f"Test files further away, left to `make fast`: {left}")
    budget = Budget(seconds, algos)
    code = pytest.main(["-m", "not slow", *(str(ROOT / test) for test in chosen)], plugins=[budget])
    if budget.n_left:
        click.echo(f"Tests not started within {seconds:g} s, left to `make fast`: {budget.n_left}")
    sys.exit(code)


if __name__ == "__main__":
    main()
