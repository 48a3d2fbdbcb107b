"""Runs test files against a copy of the package, each in a fork of one process that has the libraries."""

from __future__ import annotations

import compileall
import gc
import importlib
import multiprocessing
import os
import py_compile
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from mutation import MutationError

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("benchmarks", "offlinekit", "tests", "docs", "pyproject.toml")
LIBRARIES = (
    "torch.distributed.tensor",
    "torch.export",
    "gymnasium",
    "h5py",
    "jaxtyping",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.cluster",
    "structlog",
    "hypothesis",
    "beartype",
)
"""Libraries that take long to import; not offlinekit, which every fork imports from its own copy."""

FORK = multiprocessing.get_context("fork")
LONGEST = 900.0
"""Seconds that tests may take where nothing else is known; a break that keeps them from an end is caught too."""

PYTEST = ("-x", "-q", "--tb=line", "--assert=plain", "-p", "no:cacheprovider")
ELSEWHERE = 70
REASONS = {
    None: "pytest died",
    2: "the tests could not be imported",
    5: "no test ran",
    ELSEWHERE: "the copy was not imported",
}


def import_libraries() -> None:
    """Imports what all tests need, once for all forks."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # As the tests do; threads would not outlive a fork either.
    for name in LIBRARIES:
        importlib.import_module(name)


def make_copy(folder: Path) -> None:
    """Copies the package and its tests, compiled by what they hold, not by when they were written."""
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, folder / name)
    by_content = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder / "offlinekit", quiet=1, invalidation_mode=by_content)


@dataclass
class FirstFailure:
    """A pytest plugin that keeps the first test that failed."""

    name: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the name of a failed test, without the folders of its file."""
        if report.failed and self.name is None:
            file, _, test = report.nodeid.partition("::")
            self.name = f"{Path(file).name}::{test}"


def run_tests(folder: Path, tests: str, longest: float = LONGEST) -> str | None:
    """Runs a test file of a copy against that copy, until a test fails.

    Returns:
        The name of the test that failed, or that they came to no end; None where all passed.

    Raises:
        MutationError: Where the tests did not run, or ran against another package than the copy.
    """
    code: int | None = None
    failed: str | None = None
    output = folder / f"output-{os.getpid()}.txt"  # Several jobs may share a copy.
    here, there = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_run_pytest, args=(folder, tests, output, there))
    child.start()
    there.close()
    try:
        if not here.poll(longest):
            return f"{tests}: no end after {longest:.0f} s"
        code, failed = here.recv()
    except EOFError:
        pass  # It died before it could say.
    finally:
        assert child.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # With what the tests may have started.
        child.join()
    if code == 0 or (code == 1 and failed):
        return failed
    reason = REASONS.get(code, f"pytest exited with {code}")
    raise MutationError(f"{tests}: {reason}:\n{output.read_text(errors='replace')[-2000:]}")


def _run_pytest(folder: Path, tests: str, output: Path, answer: Connection) -> None:
    gc.freeze()  # What is imported stays; to look through it again and again takes half the time.
    os.setsid()
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path[0], sys.dont_write_bytecode = str(folder), True
    # As `python -m pytest` has it, for tests that start processes of their own.
    sys.modules["__main__"] = importlib.import_module("pytest.__main__")
    first = FirstFailure()
    code = int(pytest.main([*PYTEST, tests], plugins=[first]))
    loaded = getattr(sys.modules.get("offlinekit"), "__file__", None) or ""
    if code in (0, 1) and folder not in Path(loaded).resolve().parents:
        code = ELSEWHERE
    answer.send((code, first.name))
    os._exit(0)  # Whatever threads the tests left.
