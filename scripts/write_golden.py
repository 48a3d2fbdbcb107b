"""Writes one small file of each format as this version writes it; `tests/test_golden.py` holds them readable.

Run it once when a format gets a new version, with that version's folder: `python scripts/write_golden.py 2`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from offlinekit.algos import BC, SAC, DecisionTransformer, DiscreteCQL
from offlinekit.core.algo import Algo
from offlinekit.testing import small_dataset
from offlinekit.training import RunSettings

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
TINY: dict[str, Any] = {"encoder": {"type": "mlp", "hidden_sizes": [4]}, "batch_size": 4, "seed": 0}
QUIET: dict[str, Any] = {"progress": False, "out": None}


def policies() -> dict[str, Algo]:
    """Returns a trained policy of each kind."""
    continuous, discrete = small_dataset("continuous"), small_dataset("discrete")
    members = BC(**TINY).fit(continuous, 3, seeds=2, **QUIET)
    window = DecisionTransformer(
        context=3, batch_size=4, n_layers=1, n_heads=1, width=4, seed=0, max_timestep=25, target_return=1.0
    )
    return {
        "continuous": SAC(**TINY, observation_scaler="standard").fit(continuous, 3, **QUIET),
        "discrete": DiscreteCQL(**TINY).fit(discrete, 3, **QUIET),
        "sequence": window.fit(continuous, 3, **QUIET),
        "member": members[1],
    }


def facts(algo: Algo) -> dict[str, Any]:
    """Returns what a policy must still say and do."""
    observations = small_dataset(algo.action_kind).observations[:3]
    actor = algo.as_stateful()
    actor.reset()
    acts = [np.asarray(actor.predict(observation, 0.0)).tolist() for observation in observations]
    return {"algo": type(algo).__name__, "config": algo.config, "grad_step": algo.grad_step, "acts": acts}


@click.command()
@click.argument("version", type=int)
def main(version: int) -> None:
    """Writes the files of VERSION."""
    torch.set_num_threads(1)
    folder = GOLDEN / f"v{version}"
    if folder.exists():
        raise click.UsageError(f"{folder} exists; files of a released version are never written again")
    expected = {}
    for name, algo in policies().items():
        algo.save(folder / f"{name}.okt")
        expected[name] = facts(algo)
    data = small_dataset("continuous", n_episodes=2, length=4)
    data.save(folder / "dataset.h5")
    settings: RunSettings = {
        "out": folder,
        "progress": False,
        "log_interval": 2,
        "checkpoint_interval": 4,
        "eval_interval": 10,
    }
    algo = BC(**TINY)
    algo.fit(data, 6, **settings)
    (made,) = folder.glob("BC_*")
    shutil.move(made, folder / "run")
    (
        folder / "run" / "checkpoints" / "step_000000006.okt"
    ).unlink()  # Going on from the other gives it again.
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
