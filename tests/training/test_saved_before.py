"""Work is saved before functions of the user are called, which may fail, crash or never end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from walk_env import Walk, recorded_walk

import offlinekit
from offlinekit.algos import SAC, MLPEncoder, Population
from offlinekit.training import run_folder

SETTINGS: dict[str, Any] = {
    "progress": False,
    "log_interval": 5,
    "eval_interval": 20,
    "checkpoint_interval": 1000,
}


def learner(seed: int = 0) -> SAC:
    return SAC(seed=seed, batch_size=4, encoder=MLPEncoder((4,)), device="cpu")


class Failing:
    """An evaluator, an environment or a logger that fails as soon as something was learned; notes what is on disk."""

    def __init__(self, out: Path) -> None:
        self.out, self.saved = out, {}

    def fail(self) -> None:
        runs = sorted(path for path in self.out.iterdir() if (path / "checkpoints").is_dir())
        saved = {run.name: run_folder.latest_checkpoint(run) for run in runs}
        self.saved = {name: path and offlinekit.load(path).grad_step for name, path in saved.items()}
        raise RuntimeError("the user's own mistake")

    def evaluator(self, algo: Any, _: Any) -> float:
        if algo.grad_step:
            self.fail()
        return 0.0

    def env(self) -> Walk:
        return Walk(fault=1, what=self.fail)


def expect(failing: Failing, call: Any, **settings: Any) -> list[int]:
    """Returns how many updates were in the newest checkpoint of each run when the function was called."""
    with pytest.raises(Exception, match="the user's own mistake"):
        call(out=failing.out, **{**SETTINGS, **settings})
    return list(failing.saved.values())


@pytest.mark.parametrize("what", ["evaluators", "eval_env"])
def test_of_a_fit(what: str, tmp_path: Path) -> None:
    failing = Failing(tmp_path)
    given = (
        {"evaluators": {"mine": failing.evaluator}} if what == "evaluators" else {"eval_env": failing.env()}
    )
    fit = lambda **settings: learner().fit(recorded_walk(), 40, **settings)  # noqa: E731  # The call.
    assert expect(failing, fit, **given) == [20]


@pytest.mark.parametrize("what", ["evaluators", "eval_env"])
def test_of_all_members_of_a_population(what: str, tmp_path: Path) -> None:
    failing = Failing(tmp_path)
    given = (
        {"evaluators": {"mine": failing.evaluator}} if what == "evaluators" else {"eval_env": failing.env()}
    )
    fit = lambda **settings: Population([learner(0), learner(1), learner(2)]).fit(  # noqa: E731  # The call.
        recorded_walk(), 40, **settings
    )
    assert expect(failing, fit, **given) == [20, 20, 20]


def test_of_an_online_run(tmp_path: Path) -> None:
    """Evaluated at the first end of an episode from step 20 on; before that no update is in a checkpoint."""
    failing = Failing(tmp_path)
    fit = lambda **settings: learner().fit_online(Walk(), 60, **settings)  # noqa: E731  # The call.
    (saved,) = expect(failing, fit, evaluators={"mine": failing.evaluator}, dataset=recorded_walk())
    assert saved >= 20


def test_a_logger_that_fails_takes_no_updates_with_it(tmp_path: Path) -> None:
    class Broken:
        def __init__(self, *_: Any) -> None:
            pass

        def log(self, row: Any) -> None:
            if row["step"] == 15:
                raise RuntimeError("the server is gone")

        def close(self) -> None:
            pass

    algo = learner()
    with pytest.raises(RuntimeError, match="the server is gone"):
        algo.fit(recorded_walk(), 40, out=tmp_path, loggers=[Broken], **SETTINGS)
    checkpoint = run_folder.latest_checkpoint(algo.run_dir)
    assert offlinekit.load(checkpoint).grad_step == 15
    again = learner().fit(recorded_walk(), 40, resume=algo.run_dir, **SETTINGS)
    assert [row["step"] for row in again.history] == list(range(5, 41, 5))
