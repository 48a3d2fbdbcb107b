"""How well `select` ranks twenty policies of graded quality, on pendulum and lunarlander data.

    python benchmarks/selection.py

Two algorithms are trained for ten numbers of updates each; every policy is judged by `select` on the data, and by 50
episodes in the environment. Prints how well fitted values and the lower bounds rank, and what `select` chooses; writes
benchmarks/results/selection.csv, where rows of other datasets stay.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click
import numpy as np

from offlinekit.algos import MLPEncoder, get_algo
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.metrics import evaluate
from offlinekit.metrics.ope.selection import select
from offlinekit.metrics.statistics.rankings import rank_correlation, regret_at_k

RESULTS = Path(__file__).parent / "results" / "selection.csv"
SMALL = MLPEncoder((64, 64))
UPDATES = (0, 50, 100, 200, 400, 800, 1_500, 3_000, 6_000, 10_000)
RATES = {"learning_rate": 1e-3, "n_step": 3, "target_update_interval": 1, "tau": 0.01}
PAIRS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "pendulum-mixed": (
        ("td3_plus_bc", {"alpha": 10.0, "reward_scaler": "standard", "critic_encoder": SMALL}),
        ("iql", {"reward_scaler": "standard", "critic_encoder": SMALL}),
    ),
    "lunarlander-mixed": (("discrete_cql", {**RATES, "alpha": 0.5}), ("discrete_bcq", RATES)),
}
COLUMNS = (
    *("dataset", "policy", "value", "standard_error", "gain", "lower_bound", "return"),
    *("weighted_gain", "effective_sample", "held_back"),
)
FITS: dict[str, dict[str, Any]] = {
    "pendulum-mixed": {"reward_scaler": "standard"},
    "lunarlander-mixed": {"reward_scaler": {"type": "multiply", "multiplier": 0.1}},
}


def graded(name: str, dataset: MDPDataset, options: dict[str, Any]) -> dict[str, Any]:
    """Returns a policy for each number of updates, by name."""
    algo = get_algo(name)(seed=0, encoder=SMALL, **options).build(dataset)
    policies, path = {}, Path("/tmp") / f"selection-{name}.okt"
    for n_steps in UPDATES:
        if n_steps > algo.grad_step:
            algo.fit(dataset, n_steps - algo.grad_step, out=None, progress=False)
        policies[f"{name} {n_steps}"] = type(algo).load(algo.save(path))
    path.unlink()
    return policies


@click.command()
@click.option("--dataset", "names", multiple=True, type=click.Choice(list(PAIRS)), help="Default: all.")
@click.option("--steps", type=int, help="Updates of each fit. Default: until values have settled.")
@click.option("--resamples", default=8, show_default=True, help="Bootstraps of each fit.")
def main(names: tuple[str, ...], steps: int | None, resamples: int) -> None:
    """Trains, judges, prints."""
    names = names or tuple(PAIRS)
    with RESULTS.open(newline="") as file:
        rows: list[list[Any]] = [row for row in list(csv.reader(file))[1:] if row[0] not in names]
    click.echo("| dataset | by | rank corr. | regret@1 | @3 | @5 | chosen | its return | best | behaviour |")
    click.echo("|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        dataset, env = get_dataset(name)
        policies = {k: v for algo, o in PAIRS[name] for k, v in graded(algo, dataset, o).items()}
        found = select(policies, dataset, n_steps=steps, n_resamples=resamples, **FITS[name])
        truths = {k: evaluate(policy, env, 50, seed=10_000).mean for k, policy in policies.items()}
        for c in found.candidates:
            judged = [c.value, c.standard_error, c.gain, c.lower_bound]
            second = [c.weighted_gain, c.effective_sample, c.held_back]
            rows.append([name, c.name, *judged, truths[c.name], *second])
        values, bounds, true = np.array(
            [[c.value, c.lower_bound, truths[c.name]] for c in found.candidates]
        ).T
        for line in (*found.warnings, found.reason):
            click.echo(line, err=True)
        chosen = f"{found.chosen} | {truths[found.chosen]:.0f}" if found.chosen else "none | "
        behaviour = dataset.episode_returns().mean()
        for by, estimates in (("values", values), ("lower bounds", bounds)):
            regrets = " | ".join(f"{regret_at_k(estimates, true, k):.2f}" for k in (1, 3, 5))
            click.echo(
                f"| {name} | {by} | {rank_correlation(estimates, true):.2f} | {regrets} | {chosen} | "
                f"{true.max():.0f} | {behaviour:.0f} |"
            )
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
