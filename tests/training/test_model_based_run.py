"""Runs that learn inside a model: when rollouts come, where they begin, and what a run that goes on has of them."""

from __future__ import annotations

import signal
from time import monotonic
from typing import Any

import pytest
import torch
from table_networks import TABLE

from offlinekit.algos import MOPO, Population
from offlinekit.errors import Preempted
from offlinekit.testing import small_dataset
from offlinekit.training.model_based import model_phase
from offlinekit.training.model_based.dynamics_run import DynamicsRun
from offlinekit.training.setup.start import start_run

MODEL: dict[str, Any] = {"encoder": TABLE, "n_members": 2, "max_epochs": 1, "termination": "never"}
SMALL: dict[str, Any] = {
    "encoder": TABLE, "batch_size": 8, "n_rollouts": 12, "rollout_length": 2, "rollout_interval": 4,
    "retained_rounds": 2, "seed": 0, "device": "cpu", "dynamics": MODEL,
}  # fmt: skip


def rolled_at(monkeypatch: Any, algo: MOPO, n_steps: int, **settings: Any) -> list[int]:
    """Returns the updates before which a run rolled out."""
    at: list[int] = []
    rollouts = algo.impl_class.rollouts

    def counted(self: Any, starts: Any, length: int) -> Any:
        at.append(self.grad_step)
        assert len(starts.unique(dim=0)) > 6
        return rollouts(self, starts, length)

    monkeypatch.setattr(algo.impl_class, "rollouts", counted)
    algo.fit(small_dataset("continuous"), n_steps, **{"out": None, "progress": False, **settings})
    monkeypatch.undo()
    return at


def test_rollouts_come_before_every_interval(monkeypatch):
    algo = MOPO(**SMALL)
    assert rolled_at(monkeypatch, algo, 10) == [0, 4, 8]
    assert algo.sampler.memory.n_usable == 0  # A later run begins with rollouts of its own policy.
    assert algo.history[-1]["imagined_steps"] == 2.0
    assert rolled_at(monkeypatch, algo, 5) == [10, 14]
    assert rolled_at(monkeypatch, MOPO(**{**SMALL, "real_share": 1.0}), 5) == []


def test_a_run_that_goes_on_rolls_out_as_if_it_had_not_stopped(monkeypatch, tmp_path):
    data = small_dataset("continuous")
    settings: dict[str, Any] = {
        "out": tmp_path,
        "progress": False,
        "checkpoint_interval": 2,
        "log_interval": 2,
    }
    whole = MOPO(**SMALL).fit(data, 12, **settings)
    for stop in (4, 6):  # At an update with rollouts, and between two.
        broken = MOPO(**SMALL)
        for step, _ in broken.fitter(data, 12, **settings):
            if step == stop:
                break
        resumed = MOPO(**SMALL)
        later = [8] if stop == 6 else [4, 8]
        assert rolled_at(monkeypatch, resumed, 12, resume=broken.run_dir, **settings) == later
        for name, value in whole.impl.state_tensors().items():
            assert torch.equal(value, resumed.impl.state_tensors()[name]), name


def test_rollouts_that_no_update_followed_are_not_made_again(monkeypatch):
    algo = MOPO(**SMALL)
    run = start_run(algo, small_dataset("continuous"), 8, out=None, progress=False)
    rolled: list[int] = []
    rollouts = algo.impl_class.rollouts
    monkeypatch.setattr(
        algo.impl_class, "rollouts", lambda self, *a: (rolled.append(self.grad_step), rollouts(self, *a))[1]
    )
    run.open()
    assert run.take(4, lambda: bool(rolled)) == 0  # Interrupted as the rollouts are ready.
    assert run.take(4, lambda: False) == 4
    assert rolled == [0]
    assert run.take(4, lambda: True) == 0  # No rollouts of a run that is to stop.
    assert rolled == [0]
    run.close()


@pytest.mark.parametrize("several", [False, True])
def test_the_seconds_of_a_run_bound_its_model_too(tmp_path, several):
    def fit() -> MOPO:
        endless = {**MODEL, "max_epochs": 2_000, "patience": 10**9, "seed": 7}
        algo = MOPO(**{**SMALL, "dynamics": endless})
        data, how = small_dataset("continuous"), {"out": tmp_path, "progress": False, "max_seconds": 0.3}
        if several:
            return Population([algo]).fit(data, 4, **how).algos[0]
        return algo.fit(data, 4, resume="auto", **how)

    began = monotonic()
    first = fit()
    assert monotonic() - began < 10.0
    assert first.grad_step == 0
    assert not bool(first.impl.model_is_trained)
    assert [path.name for path in (first.run_dir / "checkpoints").iterdir()]
    assert not (first.run_dir / "policy.okt").exists()

    def model_updates() -> str:
        (folder,) = (tmp_path / "dynamics").glob("Dynamics_*")
        return max(path.name for path in (folder / "checkpoints").iterdir())

    before = model_updates()
    assert fit().run_dir == first.run_dir or several
    assert model_updates() > before  # The model goes on where it stood.


def interrupt_models(monkeypatch: Any, number: int, at: int) -> None:
    """Sends a signal as a model is about to take the updates behind `at`; forgets models of before."""
    take = DynamicsRun.take

    def interrupted(self: DynamicsRun, n_updates: int, stop: Any) -> int:
        if self.clock >= at:
            signal.raise_signal(number)
        return take(self, n_updates, stop)

    model_phase._RECENT.clear()
    monkeypatch.setattr(DynamicsRun, "take", interrupted)


@pytest.mark.parametrize(("number", "at"), [(signal.SIGINT, 0), (signal.SIGTERM, 1)])
@pytest.mark.parametrize("how", ["message", "auto"])
def test_a_run_whose_model_was_interrupted_goes_on(monkeypatch, tmp_path, number, at, how):
    data, model = small_dataset("continuous"), {**MODEL, "max_epochs": 3, "batch_size": 16, "seed": 11}
    settings: dict[str, Any] = {"out": tmp_path, "progress": False, "preemptible": True}
    whole = MOPO(**{**SMALL, "dynamics": model}).fit(data, 6, **{**settings, "out": None})
    interrupt_models(monkeypatch, number, at)
    broken = MOPO(**{**SMALL, "dynamics": model})
    kind = Preempted if number == signal.SIGTERM else KeyboardInterrupt
    with pytest.raises(kind, match=r"while the model learned: saved; go on with resume='(.*)'") as raised:
        broken.fit(data, 6, **settings)
    monkeypatch.undo()
    named = str(raised.value).split("'")[1]
    assert named == str(broken.run_dir)
    resumed = MOPO(**{**SMALL, "dynamics": model})
    resumed.fit(data, 6, resume=named if how == "message" else "auto", **settings)
    assert resumed.run_dir == broken.run_dir
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, resumed.impl.state_tensors()[name]), name
    assert len([*tmp_path.glob("MOPO_*")]) == len([*(tmp_path / "dynamics").glob("Dynamics_*")]) == 1


def test_a_population_whose_model_was_interrupted_goes_on(monkeypatch, tmp_path):
    def pair() -> Population:
        return Population([MOPO(**{**SMALL, "seed": seed}) for seed in range(2)])

    data, settings = small_dataset("continuous"), {"out": tmp_path, "progress": False}
    interrupt_models(monkeypatch, signal.SIGINT, 0)
    broken = pair()
    with pytest.raises(
        KeyboardInterrupt, match="before the first update: saved; go on with resume="
    ) as raised:
        broken.fit(data, 6, **settings)
    monkeypatch.undo()
    assert str(broken.run_dirs[1]) in str(raised.value)
    resumed = pair().fit(data, 6, resume=broken.run_dirs, **settings)
    whole = pair().fit(data, 6, out=None, progress=False)
    for one, other in zip(whole, resumed, strict=True):
        for name, value in one.impl.state_tensors().items():
            assert torch.equal(value, other.impl.state_tensors()[name]), name


def test_a_member_that_came_to_its_end_has_no_rows_when_others_go_on(tmp_path):
    def pair() -> Population:
        return Population([MOPO(**{**SMALL, "seed": seed}) for seed in range(2)])

    def stop(algo: MOPO, row: dict[str, Any]) -> None:
        if algo.seed == 0 and row["step"] == 6:
            signal.raise_signal(signal.SIGTERM)

    data, settings = small_dataset("continuous"), {"out": tmp_path, "progress": False, "preemptible": True}
    broken = pair()
    with pytest.raises(Preempted):
        broken.fit(data, 6, callbacks=[stop], log_interval=3, **settings)
    assert [algo.grad_step == 6 for algo in broken] == [True, False]
    resumed = pair().fit(data, 6, resume=broken.run_dirs, log_interval=3, **settings)
    assert [algo.grad_step for algo in resumed] == [6, 6]
    assert [algo.sampler.memory.n_usable for algo in resumed] == [0, 0]


@pytest.mark.parametrize("change", [{"n_rollouts": 3}, {"retained_rounds": 1}, {"rollout_length": 1}])
def test_a_smaller_ring_begins_anew(change):
    data, quiet = small_dataset("continuous"), {"out": None, "progress": False}
    algo = MOPO(**SMALL)
    for step, _ in algo.fitter(data, 40, log_interval=6, **quiet):
        if step == 6:
            break
    assert algo.sampler.memory.n_usable == 48
    for name, value in change.items():
        setattr(algo, name, value)
    with pytest.warns(UserWarning, match="drawn anew.*a ring of another size"):
        algo.fit(data, 6, **quiet)
    assert algo.grad_step == 12


def test_rows_that_are_gone_are_made_again_at_once():
    algo = MOPO(**SMALL)
    run = start_run(algo, small_dataset("continuous"), 8, out=None, progress=False)
    run.open()
    run.take(4, lambda: False)
    run.rolled["at"] = run.clock  # As of a checkpoint behind rollouts whose rows do not fit.
    algo.sampler.memory.clear()
    assert run.take(4, lambda: False) == 4
    run.close()


def test_the_ring_is_in_checkpoints_and_not_in_policies(tmp_path):
    big = {**SMALL, "n_rollouts": 2_000}
    algo = MOPO(**big).fit(small_dataset("continuous"), 4, out=tmp_path, progress=False)
    checkpoint = max((algo.run_dir / "checkpoints").glob("*.okt"))
    # 4,000 rows in pairs of 8 numbers.
    assert checkpoint.stat().st_size - (algo.run_dir / "policy.okt").stat().st_size > 4_000 * 2 * 8 * 4 * 0.9
