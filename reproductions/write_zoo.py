"""Writes the trained policies that come with the package, each with its card.

    python reproductions/write_zoo.py                          # those of the embedded data, in about two minutes
    python reproductions/write_zoo.py --runs runs/benchmark    # and the best of each recorded task

A recorded task's is that of the row with the highest score in benchmark.csv, once it earns more than the behaviour.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from benchmark import FOLDER, rows_of, run_folder
from embedded import SETTINGS

import offlinekit
from offlinekit.algos import get_algo
from offlinekit.core.sharing.card import write_card
from offlinekit.core.sharing.zoo import FOLDER as ZOO
from offlinekit.datasets import get_dataset
from offlinekit.metrics import evaluate

if TYPE_CHECKING:
    import gymnasium

BEST = {
    "cartpole-mixed": "DiscreteCQL",
    "lunarlander-mixed": "DiscreteBCQ",
    "pendulum-mixed": "TD3PlusBC",
}
"""Of embedded data, by embedded.csv."""
EPISODES = 100


def keep(task: str, run: Path, env: gymnasium.Env[Any, Any] | None, score: str) -> None:
    """Copies what a finished run has learned, with a config that makes its environment, and writes its card."""
    config = json.loads((run / "config.json").read_text())
    spec = env.spec if env else None
    assert spec is not None  # These data name their environment.
    config |= {"env_id": spec.id, "env_kwargs": dict(spec.kwargs)}
    algo = offlinekit.load(run)
    folder = ZOO / task / algo.catalogue_name()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(run / "policy.okt", folder / "policy.okt")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    use = f"To try offlinekit, and to compare with. {score} It is of a simulated task, and no more."
    write_card(folder / "policy.okt", algo, run=folder, intended_use=use)
    size = sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file())
    click.echo(f"zoo:{task}/{algo.catalogue_name()}: {score} All policies: {size / 1e6:.1f} MB.")


def embedded(task: str) -> None:
    """Trains and keeps the best algorithm of an embedded dataset."""
    dataset, env = get_dataset(task)
    (settings,) = [s for s in SETTINGS[task] if s[0] == BEST[task]]
    name, n_steps, hyperparameters = settings
    algo = get_algo(name)(seed=0, device="cpu", **hyperparameters)
    with TemporaryDirectory() as runs:
        algo.fit(dataset, n_steps, out=runs, progress=False)
        assert algo.run_dir is not None
        scored = evaluate(algo, env, EPISODES, seed=10_000)
        error = scored.returns.std(ddof=1) / EPISODES**0.5
        score = f"It returned {scored.mean:.1f} ± {error:.1f} over {EPISODES} episodes."
        keep(task, algo.run_dir, env, score)


def recorded(runs: Path) -> None:
    """Keeps the best policy of each recorded task that has rows."""
    behaviour = {row["task"]: row for row in rows_of("record", FOLDER)}
    rows = rows_of("benchmark", FOLDER)
    for task in sorted({row["task"] for row in rows}):
        best = max((row for row in rows if row["task"] == task), key=lambda row: float(row["score"]))
        dataset, env = get_dataset(f"recorded/{task}")
        earned = float(dataset.normalized_score(float(behaviour[task]["behaviour"])))
        if float(best["score"]) <= earned:
            click.echo(
                f"{task}: {best['algo']} scores {best['score']}, the behaviour {earned:.1f}; none is kept"
            )
            continue
        (run,) = run_folder(runs, task, best["algo"], int(best["seed"])).glob("*/policy.okt")
        keep(
            task,
            run.parent,
            env,
            f"It scored {best['score']} ± {best['standard_error']} over {best['episodes']} episodes, after "
            f"{int(best['n_steps']):,} updates on data recorded here.",
        )


@click.command()
@click.option("--runs", type=click.Path(exists=True, path_type=Path), help="Run folders of benchmark.py.")
def main(runs: Path | None) -> None:
    """Writes the policies below offlinekit/algos/zoo/."""
    for task in BEST:
        embedded(task)
    if runs is not None:
        recorded(runs)


if __name__ == "__main__":
    main()
