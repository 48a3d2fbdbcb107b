"""Breaks the mathematics of each algorithm on purpose and shows which test notices.

`tests/mutations/<algo>.json` lists the breaks: {"what", "file", "old", "new"} and, where other tests than
the default ones must notice, "tests". Each is made in a copy of the package in a temporary folder; the
repository itself is never changed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
MUTATIONS = ROOT / "tests" / "mutations"
COPIED = ("offlinekit", "tests", "pyproject.toml")
GUARD = """
import sys
from pathlib import Path

def pytest_sessionfinish(session, exitstatus):
    package = sys.modules.get("offlinekit")
    here = Path(__file__).resolve().parent
    if exitstatus in (0, 1) and (package is None or Path(package.__file__).resolve().parents[1] != here):
        session.exitstatus = 70
"""
LONGEST = 900
"""Seconds that tests may take; a break that makes them go on for ever is caught too."""

OUTCOMES = {2: "the tests could not be imported", 5: "no test ran", 70: "the copy was not imported"}


class MutationError(Exception):
    """A mutation that cannot be made, or a run that shows nothing."""


@dataclass(frozen=True)
class Mutation:
    """One break of one file.

    Attributes:
        algo: Whose tests must notice.
        what: The break, in words.
        file: Relative to the repository.
        old: Text that occurs exactly once in the file.
        new: What takes its place.
        tests: Test files to run in turn until one notices.
    """

    algo: str
    what: str
    file: str
    old: str
    new: str
    tests: list[str] = field(default_factory=list)

    def apply(self, root: Path) -> str:
        """Changes the file below `root` and returns its former text.

        Raises:
            MutationError: Where the old text does not occur exactly once.
        """
        path = root / self.file
        text = path.read_text()
        if (found := text.count(self.old)) != 1 or self.old == self.new:
            raise MutationError(
                f"{self.algo}: {self.what!r}: its old text must occur once in {self.file} and differ from "
                f"the new, found it {found} times; write it anew in tests/mutations/{self.algo}.json"
            )
        path.write_text(text.replace(self.old, self.new))
        return text


def load_mutations(path: Path) -> list[Mutation]:
    """Reads the mutations of one algorithm.

    Raises:
        MutationError: For a file that is no list of objects with the known keys.
    """
    try:
        rows = json.loads(path.read_text())
        mutations = [Mutation(path.stem, **row) for row in rows]
    except (TypeError, ValueError) as error:
        raise MutationError(
            f"{path.name} must list objects of what, file, old, new (tests): {error}"
        ) from None
    default = [f"tests/algos/test_{path.stem}.py", "tests/nn/test_losses.py"]
    return [m if m.tests else Mutation(m.algo, m.what, m.file, m.old, m.new, default) for m in mutations]


def make_copy(folder: Path) -> None:
    """Copies the package and its tests, without compiled files, and the guard beside them."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, folder / name)
    (folder / "mutation_guard.py").write_text(GUARD)


def run_tests(folder: Path, tests: str) -> str | None:
    """Runs test files of a copy against that copy.

    Returns:
        The name of the first test that failed, or that they came to no end; None where all passed.

    Raises:
        MutationError: Where the tests did not run, or ran against another package than the copy.
    """
    paths = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-rf", "-p", "mutation_guard"]
    command += ["-p", "no:cacheprovider", tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return f"{tests}: no end after {LONGEST} s"
    if done.returncode == 0:
        return None
    failed = re.search(r"^FAILED \S*?/([^/]+?::.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        reason = OUTCOMES.get(done.returncode, f"pytest exited with {done.returncode}")
        raise MutationError(f"{tests}: {reason}:\n{(done.stdout + done.stderr)[-2000:]}")
    return failed[1]


def caught_by(folder: Path, mutation: Mutation) -> str | None:
    """Makes one mutation in a copy, runs its tests until one fails, and undoes the mutation."""
    former = mutation.apply(folder)
    try:
        return next(filter(None, (run_tests(folder, tests) for tests in mutation.tests)), None)
    finally:
        (folder / mutation.file).write_text(former)


def check_baseline(folder: Path, mutations: list[Mutation]) -> None:
    """Checks that the tests pass without a mutation, without which no failure would show anything.

    Raises:
        MutationError: Where one fails.
    """
    for tests in sorted({tests for mutation in mutations for tests in mutation.tests}):
        if failed := run_tests(folder, tests):
            raise MutationError(f"{failed} fails without any mutation; mend it first")


def print_row(algo: str, what: str, outcome: str) -> None:
    """Prints one row of the table."""
    click.echo(f"{algo:<14} {what:<52} {outcome}")


@click.command()
@click.option("--algo", "algos", multiple=True, help="Only this algorithm; may be repeated.")
@click.option("--what", default="", help="Only mutations with these words.")
@click.option("--list", "only_list", is_flag=True, help="List the mutations and run nothing.")
def main(algos: tuple[str, ...], what: str, only_list: bool) -> None:
    """Make each mutation, run its algorithm's tests, print who caught it; exit 1 if any survived."""
    known = {path.stem: path for path in sorted(MUTATIONS.glob("*.json"))}
    if unknown := [algo for algo in algos if algo not in known]:
        raise click.BadParameter(f"no mutations for {unknown[0]!r}; there are: {', '.join(known)}")
    try:
        mutations = [m for algo in algos or known for m in load_mutations(known[algo]) if what in m.what]
        if only_list:
            for mutation in mutations:
                print_row(mutation.algo, mutation.what, mutation.file)
            return
        survived = run_all(mutations)
    except MutationError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{len(mutations)} mutations, {len(mutations) - survived} caught, {survived} survived")
    sys.exit(1 if survived else 0)


def run_all(mutations: list[Mutation]) -> int:
    """Runs mutations one after another, prints a row each, and returns how many survived."""
    survived = 0
    with tempfile.TemporaryDirectory(prefix="offlinekit-mutations-") as name:
        folder = Path(name).resolve()
        make_copy(folder)
        check_baseline(folder, mutations)
        for mutation in mutations:
            test = caught_by(folder, mutation)
            survived += test is None
            print_row(mutation.algo, mutation.what, test or "SURVIVED")
    return survived


if __name__ == "__main__":
    main()
