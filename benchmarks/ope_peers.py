"""Whether estimates agree with those of scope-rl (episodes) and obp (single steps) on the same data.

    python3.11 -m venv peers
    peers/bin/pip install numpy scipy scikit-learn pandas torch matplotlib seaborn tqdm pyyaml gym gymnasium \
        pytorch_revgrad dataclasses-json marshmallow
    peers/bin/pip install --no-deps --ignore-requires-python obp==0.5.7 scope-rl==0.2.1 d3rlpy==2.8.1
    python benchmarks/ope_peers.py --peer-python peers/bin/python

Both are installed without what they pin: obp names Python below 3.11 and a PyYAML that no longer builds, scope-rl an
older gym. Prints a row an estimator and an interval; writes benchmarks/results/ope_peers.csv.
"""

from __future__ import annotations

import csv
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope import Report, estimate, interval_of

RESULTS = Path(__file__).parent / "results" / "ope_peers.csv"
PEER = Path(__file__).parent / "peer_ope.py"
SWITCH = 2.0
INTERVALS = ("t", "hoeffding", "bernstein", "bootstrap")
Arrays = dict[str, Any]


def random_episodes(n: int, n_steps: int, n_actions: int, gamma: float, seed: int) -> Arrays:
    """Returns n episodes of equal length: rewards, actions, propensities, target policy and values of each row."""
    random = np.random.default_rng(seed)
    rows = n * n_steps
    behaviour, target = random.dirichlet(np.full(n_actions, 5.0), (2, rows))
    actions = (random.random((rows, 1)) > behaviour.cumsum(1)).sum(1).clip(0, n_actions - 1)
    return {
        "rewards": random.normal(size=rows), "actions": actions, "gamma": gamma, "n_steps": n_steps, "switch": SWITCH,
        "propensities": behaviour[np.arange(rows), actions], "target": target,
        "q": random.normal(size=(rows, n_actions)),
    }  # fmt: skip


def our_report(data: Arrays, names: list[str]) -> Report:
    """Returns our estimates; the state of a row is its number."""
    rows, n_steps = len(data["actions"]), data["n_steps"]
    dataset = MDPDataset(
        np.arange(rows, dtype=np.float32)[:, None], data["actions"], data["rewards"],
        np.arange(rows) % n_steps == n_steps - 1, behavior_log_probs=np.log(data["propensities"]),
        action_space=spaces.Discrete(data["q"].shape[1]),
    )  # fmt: skip
    return estimate(
        lambda o: data["target"][o[:, 0].astype(int)], dataset, names, gamma=data["gamma"],
        q_function=lambda o, a: data["q"][o[:, 0].astype(int), a], switch_threshold=data["switch"],
    )  # fmt: skip


def peer_answer(peer_python: str, data: Arrays, library: str) -> dict[str, Any]:
    """Returns the peer's estimates, and its intervals of the second estimator, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **data)
        command = [peer_python, "-W", "ignore", str(PEER), library, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{library} ended with an error: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compared(library: str, data: Arrays, answer: dict[str, Any]) -> list[Arrays]:
    """Returns a row for each estimate and interval."""
    report = our_report(data, list(answer["values"]))
    rows = [
        {"library": library, "what": name, "theirs": theirs, "ours": report[name].value,
         "difference": abs(theirs - report[name].value)}
        for name, theirs in answer["values"].items()
    ]  # fmt: skip
    for name, (low, high) in answer["intervals"].items():
        own = interval_of(report.contributions["pdis"], name)
        rows.append(
            {"library": library, "what": f"{name} of pdis", "theirs": f"{low:.2f} to {high:.2f}",
             "ours": f"{own[0]:.2f} to {own[1]:.2f}", "difference": ""}
        )  # fmt: skip
    return rows


@click.command()
@click.option("--peer-python", required=True, type=click.Path(exists=True), help="With obp and scope-rl.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(peer_python: str, out: Path) -> None:
    """Estimates by both, prints, writes."""
    problems = {
        "scope-rl": random_episodes(200, 5, 3, 0.95, seed=0),
        "obp": random_episodes(1_000, 1, 4, 1.0, seed=1),
    }
    rows = [
        row
        for library, data in problems.items()
        for row in compared(library, data, peer_answer(peer_python, data, library))
    ]
    click.echo("| library | what | theirs | ours | difference |\n|---|---|---|---|---|")
    for row in rows:
        cells = [f"{row[k]:.9f}" if isinstance(row[k], float) else row[k] for k in ("theirs", "ours")]
        apart = row["difference"] if row["difference"] == "" else f"{row['difference']:.0e}"
        click.echo(f"| {row['library']} | {row['what']} | {' | '.join(cells)} | {apart} |")
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
