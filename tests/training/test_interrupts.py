"""Handlers and settings of the process come back, whichever run ends first, and pauses belong to the caller."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from offlinekit.algos import BC, IQL, Population
from offlinekit.errors import Preempted
from offlinekit.testing import small_dataset
from offlinekit.training.engines.process_settings import BFLOAT16_PRODUCTS, DETERMINISTIC

ONE: dict[str, Any] = {"seed": 0, "batch_size": 4}
QUIET: dict[str, Any] = {"out": None, "progress": False, "log_interval": 5}


def stray(number: int, _: Any) -> None:
    """Raises where the default action would end the process of the tests."""
    raise AssertionError(f"the handler of before has signal {number}")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Gives Ctrl-C its usual handler, which a process in the background starts without, and others a harmless one."""
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: stray, signal.SIGUSR1: stray}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def begun(n_steps: int = 20, **settings: Any) -> Any:
    run = BC(seed=0, batch_size=4).fitter(small_dataset("continuous"), n_steps, **{**QUIET, **settings})
    next(run)
    return run


def drop(run: Any) -> None:
    del run
    gc.collect()


ENDINGS: dict[str, Callable[[Any], None]] = {
    "closed": lambda run: run.close(),
    "ended": list,
    "dropped": drop,
}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("ending", list(ENDINGS))
@pytest.mark.parametrize("preemptible", [False, True])
def test_two_generators_end_in_any_order(order: tuple[int, int], ending: str, preemptible: bool) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    runs = [begun(preemptible=preemptible), begun(preemptible=preemptible)]
    for number in order:
        run, runs[number] = runs[number], None
        ENDINGS[ending](run)
        del run
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before


def test_pauses_belong_to_the_caller() -> None:
    run = begun()
    with pytest.raises(KeyboardInterrupt) as raised:
        signal.raise_signal(signal.SIGINT)
    assert "interrupted after update" not in str(raised.value)
    assert [step for step, _ in run] == [10, 15, 20]


def test_pauses_of_a_population_belong_to_the_caller() -> None:
    run = Population([BC(seed=i, batch_size=4) for i in range(2)]).fitter(
        small_dataset("continuous"), 10, **QUIET
    )
    next(run)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert [step for step, _ in run] == [10]


def test_preemptions_are_noted_in_pauses_by_all_runs() -> None:
    runs = [begun(preemptible=True) for _ in range(3)]
    runs.pop(0).close()
    signal.raise_signal(signal.SIGTERM)
    for run in runs:
        with pytest.raises(Preempted, match="interrupted after update 5"):
            next(run)


def test_a_handler_that_the_caller_sets_meanwhile_stays() -> None:
    mine = lambda *_: None  # noqa: E731  # A handler.
    before, run = signal.getsignal(signal.SIGTERM), begun(preemptible=True)
    signal.signal(signal.SIGTERM, mine)
    try:
        list(run)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupting(algo: Any, _data: Any) -> float:
    """Sends Ctrl-C, but not when it is tried."""
    if algo.grad_step:
        signal.raise_signal(signal.SIGINT)
    return 0.0


def test_a_fit_notes_ctrl_c_and_one_inside_its_evaluator_too() -> None:
    """Of the inner run a first Ctrl-C is noted on both; each saves and ends at its own step."""
    before = signal.getsignal(signal.SIGINT)

    def inner(algo: Any, data: Any) -> float:
        if algo.grad_step:
            BC(seed=1, batch_size=4).fit(data, 20, evaluators={"it": interrupting}, **QUIET, eval_interval=10)
        return 0.0

    outer = BC(seed=0, batch_size=4)
    with pytest.raises(KeyboardInterrupt, match="interrupted after update 10"):
        outer.fit(small_dataset("continuous"), 20, evaluators={"inner": inner}, eval_interval=15, **QUIET)
    assert outer.grad_step == 15
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("make", [lambda: BC(**ONE), lambda: Population([BC(**ONE)])])
def test_ctrl_c_in_the_last_evaluation_ends_what_comes_after_the_run(make: Any) -> None:
    learner, data = make(), small_dataset("continuous")
    with pytest.raises(KeyboardInterrupt, match="the run is complete"):
        learner.fit(data, 5, evaluators={"it": interrupting}, **QUIET)
    assert (learner[0] if isinstance(learner, Population) else learner).grad_step == 5


@pytest.mark.parametrize("call", [1, 2])
def test_ctrl_c_while_evaluators_are_tried_before_the_first_update_is_raised(call: int) -> None:
    calls: list[int] = []

    def pressed(_algo: Any, _data: Any) -> float:
        calls.append(1)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return 0.0

    algo = BC(**ONE)
    with pytest.raises(KeyboardInterrupt):
        algo.fit(small_dataset("continuous"), 5, evaluators={"a": pressed, "b": pressed}, **QUIET)
    assert algo.grad_step == 0


SETTINGS = {
    "deterministic": (DETERMINISTIC, torch.are_deterministic_algorithms_enabled),
    "precision": (BFLOAT16_PRODUCTS, torch.get_float32_matmul_precision),
}


@pytest.mark.parametrize("name", list(SETTINGS))
@pytest.mark.parametrize("first", [0, 1])
def test_settings_come_back_whichever_thread_ends_first(name: str, first: int) -> None:
    setting, read = SETTINGS[name]
    before = read()
    entered, leave = threading.Barrier(3), [threading.Event(), threading.Event()]

    def hold(number: int) -> None:
        with setting.held():
            entered.wait()
            leave[number].wait()

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    entered.wait()
    assert read() != before
    for number in (first, 1 - first):
        assert read() != before
        leave[number].set()
        threads[number].join()
    assert read() == before


def test_networks_made_in_threads_are_those_made_alone() -> None:
    data = small_dataset("continuous")
    alone = [IQL(seed=i).build(data).impl.state_tensors() for i in range(4)]
    made: dict[int, Any] = {}
    for _ in range(3):
        threads = [
            threading.Thread(target=lambda i=i: made.update({i: IQL(seed=i).build(data)})) for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i, tensors in enumerate(alone):
            found = made[i].impl.state_tensors()
            assert all(torch.equal(tensors[key], found[key]) for key in tensors), i
