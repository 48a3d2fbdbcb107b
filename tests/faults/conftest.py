"""Fixtures of the fault suite, and the table that `make faults` prints.

A test notes how many faults it made by `tally(n)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_suite import Children, Tally

ALSO = {
    "test_malformed_files.py": "F6",
    "test_distributed.py": "F12",
}  # Tests of the suite by the names of their files.


@pytest.fixture
def tally(record_property: Callable[[str, Any], None]) -> Tally:
    return lambda n: record_property("faults", n)


@pytest.fixture(scope="session")
def children() -> Children:
    return Children()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints test, count, passed, seconds."""
    rows: dict[str, list[float]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            name = Path(report.nodeid.split("::")[0]).name
            found = re.match(r"test_f(\d+)_", name)
            key = f"F{int(found.group(1))}" if found else ALSO.get(name)
            if key is None:
                continue
            made = dict(report.user_properties).get("faults", 1)
            row = rows.setdefault(key, [0, 0, 0, 0.0])
            row[0] += made
            row[1] += made * (outcome == "passed")
            row[2] += made * (outcome == "skipped")
            row[3] += report.duration
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write_line("| test | count | passed | skipped | seconds |\n|---|---|---|---|---|")
        for key in sorted(rows, key=lambda key: int(key[1:])):
            made, passed, skipped, seconds = rows[key]
            terminalreporter.write_line(f"| {key} | {made:,} | {passed:,} | {skipped:,} | {seconds:.1f} |")
