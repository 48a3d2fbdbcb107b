"""Breaks the mathematics of each algorithm on purpose and shows which test notices.

`tests/mutations/<algo>.json` lists the breaks, `mutation.py` says how one is written. Each is made in a copy of the
package in a temporary folder; the repository itself is never changed.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import click
from forked_tests import FORK, import_libraries, make_copy, run_tests
from mutation import Mutation, MutationError, Package, load_mutations

ROOT = Path(__file__).resolve().parents[1]
MUTATIONS = ROOT / "tests" / "mutations"

read_package = cache(Package)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a mutation.

    Attributes:
        verdict: "caught", "survived" or, where tests did not run, "unanswered".
        details: The test that caught it, or why there is no answer.
    """

    verdict: str
    details: str = ""

    def __str__(self) -> str:
        return self.details if self.verdict == "caught" else f"{self.verdict.upper()} {self.details}".rstrip()


def problems(mutations: list[Mutation], package: Package) -> list[str]:
    """Returns why mutations cannot be made, for those that cannot."""

    def problem(mutation: Mutation) -> str:
        try:
            mutation.apply(package)
        except MutationError as error:
            return str(error)
        return ""

    return [found for mutation in mutations if (found := problem(mutation))]


def judge(base: Path, limits: dict[str, float | str], mutation: Mutation) -> Outcome:
    """Makes a mutation in this process's copy of `base`, runs its tests until one fails, and undoes it."""
    folder = base.with_name(f"copy-{os.getpid()}")
    if not folder.exists():
        shutil.copytree(base, folder)
    file, source = mutation.apply(read_package(base))
    (folder / file).write_text(source)
    try:
        for tests in mutation.tests:
            limit = limits[tests]
            if isinstance(limit, str):
                return Outcome("unanswered", limit)
            if failed := run_tests(folder, tests, limit):
                return Outcome("caught", failed)
    except MutationError as error:
        return Outcome("unanswered", str(error))
    finally:
        shutil.copy2(base / file, folder / file)
    return Outcome("survived")


def limit_of(base: Path, tests: str) -> float | str:
    """Returns how many seconds tests may take, or why they would show nothing: they fail without any mutation."""
    begin = time.monotonic()
    try:
        failed = run_tests(base, tests)
    except MutationError as error:
        return str(error)
    if failed:
        return f"{failed} fails without any mutation; mend it first"
    return 60.0 + 20.0 * (time.monotonic() - begin)


def run_all(mutations: list[Mutation], jobs: int) -> Iterator[Outcome]:
    """Yields what becomes of each mutation, in order."""
    import_libraries()
    with tempfile.TemporaryDirectory(prefix="offlinekit-mutations-") as name:
        base = Path(name).resolve() / "base"
        make_copy(base)
        read_package(base)  # Before the jobs are forked.
        files = sorted({tests for mutation in mutations for tests in mutation.tests})
        with ProcessPoolExecutor(jobs, FORK) as pool:
            limits = dict(zip(files, pool.map(partial(limit_of, base), files), strict=True))
            yield from pool.map(partial(judge, base, limits), mutations)


def print_row(mutation: Mutation, what_of_it: object) -> None:
    """Prints one row of the table."""
    click.echo(f"{mutation.algo:<14} {mutation.what:<52} {what_of_it}")


@click.command()
@click.option("--algo", "algos", multiple=True, help="Only this algorithm; may be repeated.")
@click.option("--what", default="", help="Only mutations with these words.")
@click.option("--sample", type=click.IntRange(1), help="Only so many, drawn at random.")
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@click.option("--jobs", default=1, show_default=True, help="How many to run at a time.")
@click.option("--list", "only_list", is_flag=True, help="List the mutations and run nothing.")
@click.option("--check", "only_check", is_flag=True, help="List those that cannot be made and run nothing.")
def main(
    algos: tuple[str, ...],
    what: str,
    sample: int | None,
    seed: int,
    jobs: int,
    only_list: bool,
    only_check: bool,
) -> None:
    """Make each mutation, run its algorithm's tests, print who caught it; exit 1 unless all are caught."""
    known = {path.stem: path for path in sorted(MUTATIONS.glob("*.json"))}
    if unknown := [algo for algo in algos if algo not in known]:
        raise click.BadParameter(f"no mutations for {unknown[0]!r}; there are: {', '.join(known)}")
    try:
        mutations = [m for algo in algos or known for m in load_mutations(known[algo]) if what in m.what]
        if sample is not None:
            mutations = random.Random(seed).sample(mutations, min(sample, len(mutations)))
        if only_list:
            for mutation in mutations:
                print_row(mutation, mutation.place)
            return
        if found := problems(mutations, read_package(ROOT)):
            raise MutationError(
                "\n".join([f"{len(found)} of {len(mutations)} mutations cannot be made:", *found])
            )
        if only_check:
            return
        counts = Counter[str]()
        for mutation, outcome in zip(mutations, run_all(mutations, jobs), strict=True):
            print_row(mutation, outcome)
            counts[outcome.verdict] += 1
    except MutationError as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        ", ".join([f"{len(mutations)} mutations", *(f"{n} {verdict}" for verdict, n in counts.items())])
    )
    sys.exit(0 if counts["caught"] == len(mutations) else 1)


if __name__ == "__main__":
    main()
