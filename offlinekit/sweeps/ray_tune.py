"""Sweeps by Ray Tune: each of its trials is a pack of settings, trained as one stacked population."""

from __future__ import annotations

from dataclasses import asdict
from types import ModuleType
from typing import TYPE_CHECKING, Any

from offlinekit.errors import require
from offlinekit.sweeps.pack import Trial, train
from offlinekit.sweeps.space import Range
from offlinekit.sweeps.sweep import packs
from offlinekit.sweeps.sweep_files import claimed, write_trial

if TYPE_CHECKING:
    from offlinekit.sweeps.sweep import Sweep

PACK = "pack"


def tune(sweep: Sweep, **settings: Any) -> object:
    """Runs a sweep by Ray Tune (extra `ray`) and returns its ResultGrid; the sweep's folder has all results.

    A grid becomes a Ray trial for each pack of settings that share an architecture; of a search each setting is
    one, with all its seeds.

    Args:
        sweep: What to run; it is sent to Ray's processes, and its folder must be seen by them.
        settings: Of `ray.tune.TuneConfig`, such as `search_alg` or `max_concurrent_trials`.
    """
    ray: ModuleType = require("ray.tune", "ray")
    plan = sweep.plan
    sweep.folder = sweep.folder.resolve()  # Ray's processes work in folders of their own.
    if plan.trials is None:
        space = {PACK: ray.grid_search(list(range(len(packs(plan)))))}
    else:
        space = {name: _domain(ray, values) for name, values in plan.space.items()}
    mode = "max" if plan.maximize else "min"
    config = ray.TuneConfig(metric="value", mode=mode, num_samples=plan.trials or 1, **settings)
    tuner = ray.Tuner(ray.with_parameters(train_one, sweep=sweep), param_space=space, tune_config=config)
    results = tuner.fit()
    sweep.write_results()
    return results


def train_one(config: dict[str, Any], sweep: Sweep) -> dict[str, Any]:
    """Trains what one trial of Ray Tune stands for, and returns its best value."""
    if PACK in config:
        settings = packs(sweep.plan)[config[PACK]]
    else:
        with claimed(sweep.folder / "locks" / "ask", wait=True):
            number = len(sweep.trials())
            write_trial(sweep.folder, asdict(Trial(number, dict(config))))
        settings = {number: config}
    trials = train(sweep, settings)
    if cut := [trial.number for trial in trials if trial.state == "running"]:
        raise RuntimeError(
            f"settings {sorted(cut)} are out of time before the plan's steps={sweep.plan.steps}; call tune again to go "
            "on with a grid, or give max_seconds= that a run of a search can end in"
        )
    values = [trial.value for trial in trials if trial.value is not None]
    if not values:
        raise RuntimeError(
            f"no run of {list(settings)} could go on to its end; {sweep.folder}/trials says why"
        )
    return {"value": max(values) if sweep.plan.maximize else min(values), "trials": list(settings)}


def _domain(ray: ModuleType, values: list[Any] | Range) -> object:
    """Returns what Ray Tune draws values from; its whole numbers leave out the upper end."""
    if not isinstance(values, Range):
        return ray.choice(values)
    if values.integer:
        return (ray.lograndint if values.log else ray.randint)(int(values.low), int(values.high) + 1)
    return (ray.loguniform if values.log else ray.uniform)(values.low, values.high)
