"""Records the datasets of reproductions/benchmark.py, and compares them with what is known of the published ones.

    python reproductions/record.py maze2d-umaze maze2d-medium maze2d-large
    python reproductions/record.py hopper-medium --policy-file hopper_medium-v2.hdf5

What is recorded already is not recorded again. Figures of all go to reproductions/record.csv.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from benchmark import FOLDER, KEYS, add

from offlinekit.datasets import MDPDataset, record
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.datasets.recording.recipes import RECIPES, path_of

KEYS["record"] = ("task",)


def figures(dataset: MDPDataset) -> dict[str, Any]:
    """Returns what a recording holds beside D4RL's reference returns, which are of the published environment."""
    facts = dataset.metadata
    behaviour, chance = facts["behaviour_returns"], facts["random_returns"]
    return {
        **{"task": dataset.name, "stands_for": facts["stands_for"], "rows": len(dataset)},
        **{"episodes": dataset.n_episodes, "mean_length": f"{dataset.episode_lengths().mean():.1f}"},
        **{
            "mean_return": f"{dataset.episode_returns().mean():.2f}",
            "mean_reward": f"{dataset.rewards.mean():.5f}",
        },
        **{"behaviour": f"{behaviour['mean']:.1f}", "behaviour_error": f"{behaviour['standard_error']:.1f}"},
        **{"d4rl_maximum": facts.get("reference_max_score", "")},
        **{"random": f"{chance['mean']:.1f}", "random_error": f"{chance['standard_error']:.1f}"},
        **{"d4rl_minimum": facts.get("reference_min_score", ""), "seed": facts["recorded_seed"]},
        **{"mujoco": facts["versions"].get("mujoco", ""), "data": fingerprint(dataset)},
    }


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(RECIPES)))
@click.option("--policy-file", type=click.Path(path_type=Path), help="D4RL's file that carries a behaviour.")
@click.option("--steps", "n_steps", type=click.IntRange(min=1), help="Rows.  [default: as published]")
@click.option("--results", default=FOLDER, type=click.Path(path_type=Path), help="Folder of the CSV file.")
def main(names: tuple[str, ...], policy_file: Path | None, n_steps: int | None, results: Path) -> None:
    """Records what is not there yet, and writes the figures of each."""
    for name in names:
        if not path_of(name).exists():
            record(name, n_steps=n_steps, policy_file=policy_file)
        row = figures(MDPDataset.load(path_of(name)))
        add("record", results, [row])
        click.echo(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
