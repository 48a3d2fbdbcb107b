"""Double DQN against discrete BCQ on 100, 1,000 and 10,000 transitions of LunarLander: return beside value estimate.

    python reproductions/lunarlander_divergence.py                      # all six runs, about a quarter of an hour
    python reproductions/lunarlander_divergence.py --updates 20000 --bcq-updates 20000 --transitions 1000
    python reproductions/lunarlander_divergence.py --plot-only

The recorder is a discrete CQL that learns from `lunarlander-mixed`; it acts greedily. Writes a line an evaluation
to reproductions/lunarlander_divergence.csv and draws docs/images/lunarlander_divergence.png. A dotted line is
the first evaluation at which the value alarm of `fit` had rung.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click

from offlinekit.algos import DiscreteBCQ, DiscreteCQL, DoubleDQN, MLPEncoder
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.editing.thinning import first_rows
from offlinekit.datasets.recording.collecting import collect
from offlinekit.io import atomic_write
from offlinekit.metrics import evaluate
from offlinekit.training import RunSettings

RESULTS = Path(__file__).with_suffix(".csv")
FIGURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "lunarlander_divergence.png"
COLUMNS = ("algo", "transitions", "step", "return_mean", "return_std", "value_start", "value", "diverged")
SIZES = (100, 1_000, 10_000)
COMMON: dict[str, Any] = {
    "batch_size": 64,
    "learning_rate": 1e-4,
    "gamma": 0.99,
    "target_update_interval": 100,
    "td_loss": "mse",
    "encoder": MLPEncoder((128,)),
}
LEARNERS: dict[str, tuple[type[Algo], dict[str, Any]]] = {
    "double_dqn": (DoubleDQN, {}),
    "discrete_bcq": (DiscreteBCQ, {"threshold": 0.3, "logits_penalty": 0.0}),
}
RECORDER: dict[str, Any] = {
    "learning_rate": 1e-3,
    "lr_schedule": "cosine",
    "n_step": 3,
    "target_update_interval": 1,
    "tau": 0.01,
    "alpha": 0.5,
}
LINES = (
    ("return_mean", "return of the policy", "#0072B2", "o"),
    ("value_start", "its estimate of the start state's value", "#D55E00", "s"),
)
TITLES = {"double_dqn": "double DQN", "discrete_bcq": "discrete BCQ"}


def record(folder: Path, n_updates: int, seed: int) -> MDPDataset:
    """Trains the recorder and records the largest dataset with it, or reads what an earlier call recorded."""
    path = folder / f"lunarlander-recorded-{n_updates}-{seed}.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        mixed, env = get_dataset("lunarlander-mixed")
        recorder = DiscreteCQL(seed=seed, **RECORDER).fit(mixed, n_updates, out=None)
        result = evaluate(recorder, env, 50, seed=10_000)
        click.echo(f"recorder: return {result.mean:.0f} +- {result.standard_error:.0f}")
        collect(recorder, env, max(SIZES), out=path, seed=20_000, name="lunarlander-recorded")
    return MDPDataset.load(path)


def learn(
    name: str, dataset: MDPDataset, env: Any, n_updates: int, interval: int, episodes: int
) -> list[Any]:
    """Trains one algorithm and returns a row an evaluation."""
    front, own = LEARNERS[name]
    algo = front(seed=0, **COMMON, **own)
    settings: RunSettings = {
        "eval_env": env,
        "eval_interval": interval,
        "eval_episodes": episodes,
        "log_interval": min(interval, 1_000),
        "out": None,
    }
    rows = []
    for step, metrics in algo.fitter(dataset, n_updates, **settings):
        if "eval/return_mean" not in metrics:
            continue
        rows.append(
            {
                "algo": name,
                "transitions": len(dataset),
                "step": step,
                "return_mean": metrics["eval/return_mean"],
                "return_std": metrics["eval/return_std"],
                "value_start": metrics["eval/value_start"],
                "value": metrics.get("value_estimate"),
                "diverged": metrics.get("value_diverged"),
            }
        )
        click.echo(
            f"{name} {len(dataset)} {step}: {rows[-1]['return_mean']:.0f}, {rows[-1]['value_start']:.0f}"
        )
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws return and value estimate against updates: a row of panels an algorithm, a panel a dataset size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    names = [name for name in LEARNERS if any(row["algo"] == name for row in rows)]
    sizes = sorted({int(row["transitions"]) for row in rows})
    figure = Figure(figsize=(3.2 * len(sizes), 2.9 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(sizes), squeeze=False, sharey="row")
    for (i, name), (j, size) in ((a, b) for a in enumerate(names) for b in enumerate(sizes)):
        axes = panels[i][j]
        found = [row for row in rows if row["algo"] == name and int(row["transitions"]) == size]
        steps = [int(row["step"]) for row in found]
        for column, label, colour, marker in LINES:
            axes.plot(
                steps, [float(r[column]) for r in found], color=colour, marker=marker, ms=3.5, label=label
            )
        rang = [int(row["step"]) for row in found if float(row["diverged"] or 0)]
        if rang:
            axes.axvline(rang[0], color="0.35", linestyle=":", label="value alarm")
        if max(float(row["value_start"]) for row in rows if row["algo"] == name) > 1_000:
            axes.set_yscale("symlog", linthresh=300)
            axes.set_ylim(top=100_000)
            axes.set_yticks([-1_000, 0, 1_000, 10_000, 100_000])
        axes.set_title(f"{TITLES[name]}, {size:,} transitions", fontsize=9)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("updates" if i == len(names) - 1 else "")
        axes.set_ylabel("" if j else "return, value")
    handles = {
        label: h for axes in panels.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    with atomic_write(path) as beside:
        figure.savefig(beside, dpi=150, format="png")


@click.command()
@click.option("--updates", default=200_000, show_default=True, help="Of double DQN.")
@click.option("--bcq-updates", default=100_000, show_default=True, help="Of discrete BCQ.")
@click.option("--interval", default=10_000, show_default=True, help="Updates between evaluations.")
@click.option("--episodes", default=10, show_default=True, help="Of an evaluation.")
@click.option("--transitions", "sizes", multiple=True, type=int, default=SIZES, show_default=True)
@click.option(
    "--recorder-updates", default=15_000, show_default=True, help="Of the discrete CQL that records."
)
@click.option("--recorder-seed", default=2, show_default=True)
@click.option(
    "--work",
    default=Path("runs"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Of the recording.",
)
@click.option("--out", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="CSV file.")
@click.option("--figure", default=FIGURE, show_default=True, type=click.Path(path_type=Path))
@click.option("--plot-only", is_flag=True, help="Draw what the CSV file holds.")
def main(
    updates: int,
    bcq_updates: int,
    interval: int,
    episodes: int,
    sizes: tuple[int, ...],
    recorder_updates: int,
    recorder_seed: int,
    work: Path,
    out: Path,
    figure: Path,
    plot_only: bool,
) -> None:
    """Records, trains, keeps the results as CSV and draws them."""
    if not plot_only:
        recorded = record(work, recorder_updates, recorder_seed)
        env = get_dataset("lunarlander-mixed")[1]
        rows = []
        for name, n_updates in (("double_dqn", updates), ("discrete_bcq", bcq_updates)):
            for size in sizes:
                rows += learn(name, first_rows(recorded, size), env, n_updates, interval, episodes)
        with out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    draw(list(csv.DictReader(out.read_text().splitlines())), figure)


if __name__ == "__main__":
    main()
