from __future__ import annotations

import itertools

import pytest

from offlinekit.datasets.formats.png import in_threads


def test_threads_keep_the_order_and_run_only_a_little_ahead() -> None:
    taken = itertools.count()
    results = in_threads(lambda number: 2 * number, (next(taken) for _ in range(200)))
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert next(taken) < 40
    assert next(results) == 6
    results.close()  # type: ignore[attr-defined]


def test_all_results_come_in_order() -> None:
    assert list(in_threads(str, range(100))) == [str(number) for number in range(100)]
    assert list(in_threads(str, [])) == []


def test_errors_come_out_where_results_would() -> None:
    results = in_threads(lambda number: 1 // number, [1, 0, 1])
    with pytest.raises(ZeroDivisionError):
        list(results)
