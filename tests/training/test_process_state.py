"""What belongs to the process is as it was before, whatever a call did and however it ended."""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from walk_env import Walk, recorded_walk

from offlinekit.algos import MOPO, SAC, MLPEncoder, Population, TD3PlusBC
from offlinekit.cli.main import main
from offlinekit.datasets import collect, get_dataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.envs.evaluation import evaluate
from offlinekit.metrics import plot_learning_curves, record_video
from offlinekit.metrics.ope import estimate
from offlinekit.metrics.ope.selection import select
from offlinekit.sweeps import Evolution, Plan, Sweep

QUIET: dict[str, Any] = {"progress": False, "log_interval": 2}
FOR_FILMS = ("MUJOCO_GL", "SDL_VIDEODRIVER")
"""Environment variables that a film chooses where there is no display, as renderers read them later."""


def state() -> dict[str, Any]:
    """Returns what other code of the process sees, in a form that can be compared."""
    return {
        "handlers": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, sys.gettrace()),
        "warnings": list(warnings.filters),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "environment": {k: v for k, v in os.environ.items() if k not in ("PYTEST_CURRENT_TEST", *FOR_FILMS)},
        "process": (
            os.getcwd(),
            os.umask(os.umask(0o22)),
            locale.setlocale(locale.LC_ALL),
            sys.getrecursionlimit(),
        ),
        "collector": (gc.isenabled(), gc.get_threshold()),
        "path": list(sys.path),
        "numpy": (np.geterr(), np.get_printoptions()),
        "generators": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),  # noqa: NPY002  # It is looked at.
        "threads": torch.get_num_threads(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "precision": (torch.get_float32_matmul_precision(), torch.get_default_dtype()),
        "gradients": (torch.is_grad_enabled(), torch.is_anomaly_enabled(), torch.is_inference_mode_enabled()),
        "matplotlib": (matplotlib.get_backend(), dict(matplotlib.rcParams)),
    }


def learner(seed: int = 0) -> SAC:
    return SAC(seed=seed, batch_size=4, encoder=MLPEncoder((4,)), device="cpu")


def begun(out: Path, **settings: Any) -> Any:
    run = learner().fitter(recorded_walk(), 8, out=out, preemptible=True, **QUIET, **settings)
    next(run)
    return run


def online(out: Path, ending: Callable[[Any], Any]) -> None:
    run = learner().fitter_online(
        Walk(), 12, out=out, eval_env=Walk(), eval_episodes=1, preemptible=True, **QUIET
    )
    next(run)
    ending(run)


def failing(out: Path) -> None:
    def evaluator(algo: Any, _: Any) -> float:
        if algo.grad_step:
            raise RuntimeError("the user's own mistake")
        return 0.0

    settings = {"deterministic": True, "precision": "bfloat16", "preemptible": True, **QUIET}
    with pytest.raises(RuntimeError):
        learner().fit(recorded_walk(), 4, out=out, evaluators={"mine": evaluator}, **settings)


def interleaved(out: Path) -> None:
    """Two runs of other settings, of which the first to begin ends first, and one that is online."""
    first, second = begun(out, deterministic=True), begun(out)
    third = learner().fitter_online(Walk(), 12, out=out, eval_env=Walk(), eval_episodes=1, **QUIET)
    next(third)
    list(first)
    third.close()
    list(second)


def report(out: Path) -> None:
    for seed in range(2):
        learner(seed).fit(recorded_walk(), 4, out=out / "runs", eval_env=Walk(), eval_episodes=1, **QUIET)
    runs = sorted((out / "runs").iterdir())
    both = [str(out / "runs")] * 2
    for words in (["report", both[0], "--out", str(out / "page")], ["compare", *both]):
        assert CliRunner().invoke(main, words).exit_code == 0
    plot_learning_curves(runs, out / "x.svg")


SMALL: dict[str, Any] = {"encoder": MLPEncoder((4,)), "batch_size": 4, "device": "cpu"}
DYNAMICS: dict[str, Any] = {"encoder": MLPEncoder((4,)), "n_members": 2, "n_elites": 1, "max_epochs": 1}

CALLS: dict[str, Callable[[Path], Any]] = {
    "fit": lambda out: learner().fit(recorded_walk(), 4, out=out, eval_env=Walk(), eval_episodes=1, **QUIET),
    "fit, deterministic": lambda out: learner().fit(recorded_walk(), 4, out=out, deterministic=True, **QUIET),
    "fit, bfloat16": lambda out: learner().fit(recorded_walk(), 4, out=out, precision="bfloat16", **QUIET),
    "fit that fails": failing,
    "fitter to its end": lambda out: list(begun(out)),
    "fitter closed": lambda out: begun(out, deterministic=True).close(),
    "fitter dropped": lambda out: begun(out, precision="bfloat16") and gc.collect(),
    "population": lambda out: Population([learner(0), learner(1)]).fit(recorded_walk(), 4, out=out, **QUIET),
    "online to its end": lambda out: online(out, list),
    "online closed": lambda out: online(out, lambda run: run.close()),
    "runs side by side": interleaved,
    "evaluate and collect": lambda out: (evaluate(learner().build(recorded_walk()), Walk(), 2),
                                         collect(learner().build(recorded_walk()), Walk(), 9, progress=False)),
    "select": lambda out: select({"a": learner().build(recorded_walk())}, recorded_walk(), n_steps=2, n_resamples=2),
    "report, compare and plot": report,
    "film": lambda out: record_video(learner().build(get_dataset("pendulum-mixed")[0]), "Pendulum-v1",
                                     out / "x.gif", max_steps=2),
    "evolution": lambda out: Evolution(search={"alpha": [0.5, 1.0]}).fit(
        Population([TD3PlusBC(**SMALL, alpha=alpha) for alpha in (0.5, 1.0)]), recorded_walk(), generations=2,
        steps=2, fitness="action_difference", out=out, progress=False),
    "sweep": lambda out: Sweep.create(out, Plan("td3+bc", {"alpha": [0.5, 1.0]}, set=SMALL, steps=2,
                                                metric="td_error"), recorded_walk(), progress=False).run(),
    "inside a model": lambda out: MOPO(**SMALL, dynamics=DYNAMICS, n_rollouts=4).fit(recorded_walk(), 2, **QUIET),
    "off-policy evaluation": lambda out: estimate(learner().build(recorded_walk()), recorded_walk(), n_folds=2),
    "exports": lambda out: (learner().build(recorded_walk()).export(out / "x.safetensors"),
                            learner().build(recorded_walk()).export(out / "x.pt"),
                            NumpyPolicy.load(out / "x.safetensors").predict(recorded_walk().observations[:2])),
    "untrusted": lambda out: get_dataset(str(recorded_walk().save(out / "x.h5")), untrusted=True),
}  # fmt: skip


@pytest.mark.parametrize("call", list(CALLS))
def test_the_process_is_as_before(call: str, tmp_path: Path) -> None:
    if call == "film":
        pytest.importorskip("imageio_ffmpeg")
        pytest.importorskip("pygame")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scipy.stats  # noqa: F401  # These set filters of warnings and variables when they are imported.
        import sklearn  # noqa: F401
        import torch._inductor.config  # noqa: F401

        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # Set at the first deterministic run.
        before = state()
        CALLS[call](tmp_path)
        after = state()
    assert [name for name in before if before[name] != after[name]] == []


def test_the_comparison_sees_what_is_left_behind() -> None:
    before = state()
    with np.errstate(over="ignore"), matplotlib.rc_context({"lines.linewidth": 9.0}):
        torch.use_deterministic_algorithms(True)
        try:
            changed = state()
        finally:
            torch.use_deterministic_algorithms(False)
    assert [name for name in before if before[name] != changed[name]] == [
        "numpy",
        "deterministic",
        "matplotlib",
    ]
