"""Whether warnings of off-policy estimates mean something: nineteen problems whose exact values are known.

    python benchmarks/ope_battery.py --draws 60 --icu ../shared/data/icu_sepsis/dynamics.npz

Draws the episodes of each problem so many times, estimates by every estimator that has an answer, and looks whether
the 95% interval holds the exact value of what the estimate aims at, and whether a warning stands beside it. Prints a
row a problem and the totals; writes the counts of each estimator to benchmarks/results/ope_battery.csv.
"""

from __future__ import annotations

import csv
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope import estimate

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
RESULTS = Path(__file__).parent / "results" / "ope_battery.csv"
TABULAR = [
    *("is", "pdis", "wis", "wpdis", "direct", "dr", "wdr", "magic", "switch"),
    *("retrace", "tree_backup", "q_lambda", "marginalised", "dual_dice", "best_dice"),
]
WEIGHTED = ["is", "pdis", "wis", "wpdis"]
CUT = "to the cut"


@dataclass(frozen=True)
class Drawn:
    """One draw: data, the policy to evaluate, and the exact value of each estimand."""

    dataset: MDPDataset
    policy: Any
    truths: Mapping[str, float]


@dataclass(frozen=True)
class Problem:
    """A kind of problem.

    Attributes:
        name: Of the row.
        draw: Seed to a draw.
        estimators: By name.
        gamma: Discount factor.
        is_easy: Whether warnings would be false alarms.
        settings: Further arguments of `estimate`.
    """

    name: str
    draw: Callable[[int], Drawn]
    estimators: list[str]
    gamma: float
    is_easy: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A finite problem: moves [S, A, S] (what a row lacks to 1 ends the episode), rewards [S, A], starts [S]."""

    moves: Floats
    rewards: Floats
    starts: Floats

    @classmethod
    def random(cls, n_states: int, n_actions: int, end: float, seed: int = 7) -> Table:
        """Returns a random one, whose every step may end the episode."""
        random = np.random.default_rng(seed)
        moves = random.dirichlet(np.full(n_states, 0.5), (n_states, n_actions)) * (1 - end)
        return cls(moves, random.normal(size=(n_states, n_actions)), np.full(n_states, 1 / n_states))

    def softened(self, sharpness: float, floor: float = 0.02) -> Floats:
        """Returns a policy [S, A] that prefers high rewards."""
        weights = np.exp(sharpness * (self.rewards - self.rewards.max(1, keepdims=True)))
        return (1 - floor) * weights / weights.sum(1, keepdims=True) + floor / self.rewards.shape[1]

    def value(self, policy: Floats, gamma: float, n_steps: int | None = None) -> float:
        """Returns the exact discounted value, over so many steps if given."""
        earned, moves = (policy * self.rewards).sum(1), np.einsum("ij,ijk->ik", policy, self.moves)
        if n_steps is None:
            return float(self.starts @ np.linalg.solve(np.eye(len(earned)) - gamma * moves, earned))
        values = np.zeros(len(earned))
        for _ in range(n_steps):
            values = earned + gamma * moves @ values
        return float(self.starts @ values)

    def record(
        self,
        behaviour: Floats,
        n: int,
        n_steps: int,
        seed: int,
        noise: Callable[..., Floats] | None = None,
        *,
        one_hot: bool = False,
    ) -> MDPDataset:
        """Returns n episodes with their propensities, states by number or one-hot; longer ones are cut off."""
        random = np.random.default_rng(seed)
        state, alive, steps = random.choice(len(self.starts), n, p=self.starts), np.ones(n, np.bool_), []
        thresholds, arrivals = behaviour.cumsum(1), self.moves.cumsum(2)
        for _ in range(n_steps):
            action = (random.random((n, 1)) >= thresholds[state]).sum(1).clip(0, behaviour.shape[1] - 1)
            after = (random.random((n, 1)) >= arrivals[state, action]).sum(1)
            ended = after >= len(self.starts)
            spread = random.normal(size=n) if noise is None else noise(random, n)
            reward = self.rewards[state, action] + spread
            after = np.where(ended, 0, after)
            steps.append((state, action, reward, ended, alive, after))
            state, alive = after, alive & ~ended
            if not alive.any():
                break
        states, actions, rewards, ends, mask, nexts = (np.stack(c, 1) for c in zip(*steps, strict=True))
        rows, last = np.arange(n), mask.sum(1) - 1
        cut = np.zeros_like(mask)
        cut[rows, last] = ~ends[rows, last]
        seen = np.eye(len(self.starts), dtype=np.float32) if one_hot else np.arange(len(self.starts))[:, None]
        return MDPDataset(
            seen[states[mask]].astype(np.float32),
            actions[mask],
            rewards[mask],
            ends[mask],
            timeouts=cut[mask],
            behavior_log_probs=np.log(behaviour[states[mask], actions[mask]]),
            action_space=spaces.Discrete(behaviour.shape[1]),
            final_observations=seen[nexts[rows, last]].astype(np.float32),
            final_known=~ends[rows, last],
        )


def by_table(policy: Floats) -> Callable[[Any], Floats]:
    """Returns a policy of states that are whole numbers."""
    return lambda observations: policy[np.asarray(observations).reshape(-1).astype(int)]


def tabular(
    name: str,
    table: Table,
    behaviour: Floats,
    target: Floats,
    *,
    n: int = 300,
    n_steps: int = 400,
    gamma: float = 0.95,
    noise: Callable[..., Floats] | None = None,
    estimators: list[str] = TABULAR,
    is_easy: bool = False,
    settings: dict[str, Any] | None = None,
) -> Problem:
    """Returns a finite problem; its estimates to the cut aim at n_steps, the others at all."""
    whole = table.value(target, gamma)
    truths = {CUT: table.value(target, gamma, n_steps), "whole episodes": whole, "beyond the cut": whole}

    def draw(seed: int) -> Drawn:
        return Drawn(table.record(behaviour, n, n_steps, seed, noise), by_table(target), truths)

    return Problem(name, draw, estimators, gamma, is_easy, settings or {})


class Gaussian:
    """Actions around gain * state, with their density."""

    def __init__(self, gain: float, width: float) -> None:
        self.gain, self.width, self.random = gain, width, np.random.default_rng(0)

    def predict(self, observations: Floats) -> Floats:
        """Returns drawn actions [B, 1]."""
        means = self.gain * observations[:, :1]
        return np.asarray(means + self.width * self.random.normal(size=means.shape), np.float32)

    def log_prob(self, observations: Floats, actions: Floats) -> Floats:
        """Returns log-densities [B]."""
        errors = (actions[:, 0] - self.gain * observations[:, 0]) / self.width
        return np.asarray(-0.5 * errors**2 - np.log(self.width * np.sqrt(2 * np.pi)))


def continuous(name: str, target: Gaussian, is_easy: bool, behaviour: Any = None, n: int = 400) -> Problem:
    """Returns four steps of s' = 0.8 s + 0.4 a + noise with reward -s^2 - 0.1 a^2, whose moments are exact."""
    recorder, gamma, n_steps = Gaussian(0.0, 0.6), 0.9, 4
    truth, spread = 0.0, 1.0
    for step in range(n_steps):
        truth -= gamma**step * (spread * (1 + 0.1 * target.gain**2) + 0.1 * target.width**2)
        spread = (0.8 + 0.4 * target.gain) ** 2 * spread + (0.4 * target.width) ** 2 + 0.3**2

    def draw(seed: int) -> Drawn:
        random = np.random.default_rng(seed)
        state, steps = random.normal(size=(n, 1)), []
        for _ in range(n_steps):
            action = recorder.gain * state + recorder.width * random.normal(size=(n, 1))
            steps.append((state, action, -(state**2) - 0.1 * action**2))
            state = 0.8 * state + 0.4 * action + 0.3 * random.normal(size=(n, 1))
        states, actions, rewards = (np.stack(c, 1).reshape(-1, 1) for c in zip(*steps, strict=True))
        dataset = MDPDataset(
            states.astype(np.float32), actions.astype(np.float32), rewards[:, 0],
            np.arange(n * n_steps) % n_steps == n_steps - 1,
            behavior_log_probs=recorder.log_prob(states, actions),
            action_space=spaces.Box(-np.inf, np.inf, (1,)),
        )  # fmt: skip
        return Drawn(dataset, target, {"whole episodes": truth})

    return Problem(name, draw, WEIGHTED, gamma, is_easy, {"behaviour": behaviour})


def confounded() -> Problem:
    """Returns a problem whose behaviour saw what the data do not: fitted propensities are wrong."""
    gamma, n, n_steps = 1.0, 400, 6

    def draw(seed: int) -> Drawn:
        random = np.random.default_rng(seed)
        hidden = np.repeat(random.integers(0, 2, n), n_steps)
        seen = random.normal(size=(n * n_steps, 1))
        action = (random.random(n * n_steps) < np.where(hidden == 1, 0.8, 0.2)).astype(int)
        reward = action * (1.0 - 2.0 * hidden) + 0.1 * random.normal(size=n * n_steps)
        dataset = MDPDataset(
            seen.astype(np.float32), action, reward, np.arange(n * n_steps) % n_steps == n_steps - 1,
            action_space=spaces.Discrete(2),
        )  # fmt: skip
        # Action 1 with 0.7 whatever is hidden: 0.7 * (1 - 2 * 0.5) = 0 a step.
        return Drawn(dataset, lambda o: np.tile([0.3, 0.7], (len(o), 1)), {"whole episodes": 0.0})

    return Problem("fitted behaviour, confounded", draw, WEIGHTED, gamma, settings={"behaviour": "fit"})


def icu(path: Path) -> Iterator[Problem]:
    """Yields ICU-Sepsis: deterministic targets on the clinicians' episodes, one with support and one without."""
    with np.load(path, allow_pickle=False) as file:
        moves, by_next, starts, clinicians = (file[k] for k in ("tx_mat", "r_mat", "d_0", "expert_policy"))
    rewards = np.einsum("ijk,ijk->ij", moves, by_next)
    ends = [713, 714, 715]
    moves, rewards = moves.copy(), rewards.copy()
    moves[ends], moves[:, :, ends], rewards[ends] = 0.0, 0.0, 0.0
    table = Table(moves, rewards, starts)
    clinicians = clinicians / np.maximum(clinicians.sum(1, keepdims=True), 1e-12)
    clinicians[ends] = 1 / clinicians.shape[1]
    names = ["wis", "wpdis", "direct", "dr", "wdr", "retrace", "marginalised"]
    likeliest = np.eye(clinicians.shape[1])[clinicians.argmax(1)]
    rarest = np.eye(clinicians.shape[1])[np.where(clinicians > 0, 1.0, 2.0).argmax(1)]
    options: dict[str, Any] = {"gamma": 0.99, "estimators": names, "n": 500, "n_steps": 100, "noise": _still}
    yield tabular("ICU-Sepsis, likeliest treatment", table, clinicians, likeliest, **options)
    yield tabular("ICU-Sepsis, treatment never given", table, clinicians, rarest, **options)


def _still(random: np.random.Generator, n: int) -> Floats:
    return np.zeros(n)


def pareto_noise(random: np.random.Generator, n: int) -> Floats:
    """Draws of mean 0 whose variance is infinite."""
    return np.asarray(3 * (random.pareto(1.5, n) - 2.0))


def problems() -> list[Problem]:
    """Returns the battery but for ICU-Sepsis."""
    small, long_, wide = Table.random(5, 3, 0.2), Table.random(5, 3, 0.01), Table.random(5, 25, 0.2)
    endless = Table.random(5, 3, 0.0)
    mild = small.softened(0.5)
    unseen, leaving = mild.copy(), mild.copy()
    unseen[0], leaving[0] = [1, 0, 0], [0, 0.5, 0.5]
    two = Table.random(8, 2, 0.1, seed=3)
    shy = np.tile([0.9, 0.1], (8, 1))
    greedy = np.eye(3)[small.rewards.argmax(1)]
    return [
        tabular("easy", small, mild, small.softened(0.8), is_easy=True),
        tabular("easy, its own behaviour", small, mild, mild, is_easy=True),
        tabular("easy, 8 states", two, two.softened(0.0), two.softened(0.3), is_easy=True),
        tabular(
            "easy, fitted behaviour",
            small,
            mild,
            small.softened(0.8),
            is_easy=True,
            settings={"behaviour": "fit"},
        ),
        continuous("easy, continuous", Gaussian(-0.1, 0.55), True),
        tabular("timeouts at step 8", endless, endless.softened(0.5), endless.softened(0.8), n_steps=8),
        tabular("heavy weights", two, shy, np.tile([0.5, 0.5], (8, 1))),
        tabular("heavy rewards", small, mild, small.softened(0.8), noise=pareto_noise),
        tabular("long", long_, long_.softened(0.3), long_.softened(1.0), gamma=0.99),
        tabular("many actions", wide, wide.softened(0.0), wide.softened(2.0)),
        tabular("little overlap", small, small.softened(-2.0, 0.02), small.softened(4.0, 0.02)),
        tabular("violated support", small, unseen, leaving),
        tabular("deterministic target", small, mild, greedy),
        tabular("fifteen episodes", small, mild, small.softened(0.8), n=15),
        continuous("continuous, far", Gaussian(-1.2, 0.3), False),
        continuous("continuous, fitted behaviour", Gaussian(-0.2, 0.5), False, "fit"),
        confounded(),
    ]


def estimates_of(problem: Problem, seed: int) -> Iterator[Row]:
    """Yields whether each estimator's interval holds the truth on one draw, and whether it warns."""
    drawn = problem.draw(zlib.crc32(problem.name.encode()) + seed)  # Problems share no draw.
    report = estimate(
        drawn.policy, drawn.dataset, problem.estimators, gamma=problem.gamma, seed=seed, **problem.settings
    )
    for name, found in report.estimates.items():
        aim = getattr(found, "estimand", CUT)
        truth = drawn.truths.get(aim, drawn.truths.get(CUT, drawn.truths["whole episodes"]))
        low, high = found.interval
        yield {
            "problem": problem.name, "easy": problem.is_easy, "estimator": name, "seed": seed, "estimand": aim,
            "truth": truth, "value": found.value, "low": low, "high": high, "holds": bool(low <= truth <= high),
            "warned": bool(found.warnings), "warnings": "; ".join(found.warnings),
        }  # fmt: skip


def share(rows: list[Row], of: Callable[[Row], bool], where: Callable[[Row], bool]) -> str:
    """Returns "97% of 300" for the rows of a kind that have a property; "-" without any."""
    chosen = [row for row in rows if where(row)]
    return f"{sum(map(of, chosen)) / len(chosen):.1%} of {len(chosen)}" if chosen else "-"


def summary(rows: list[Row]) -> tuple[str, str, str, str]:
    """Returns coverage, coverage without a warning, misses that are warned of, and estimates that are."""
    return (
        share(rows, lambda r: r["holds"], lambda _: True),
        share(rows, lambda r: r["holds"], lambda r: not r["warned"]),
        share(rows, lambda r: r["warned"], lambda r: not r["holds"]),
        share(rows, lambda r: r["warned"], lambda _: True),
    )


def counted(rows: list[Row]) -> Iterator[Row]:
    """Yields for each problem and estimator how many intervals hold the truth, and how many carry a warning."""
    for problem, name in dict.fromkeys((row["problem"], row["estimator"]) for row in rows):
        own = [row for row in rows if (row["problem"], row["estimator"]) == (problem, name)]
        yield {
            "problem": problem, "easy": own[0]["easy"], "estimator": name, "draws": len(own),
            "holds": sum(row["holds"] for row in own), "warned": sum(row["warned"] for row in own),
            "misses_warned": sum(row["warned"] and not row["holds"] for row in own),
            "misses_silent": sum(not row["warned"] and not row["holds"] for row in own),
        }  # fmt: skip


@click.command()
@click.option("--draws", default=60, show_default=True, help="Of each problem.")
@click.option("--icu", "icu_path", type=click.Path(exists=True, path_type=Path), help="Tables of ICU-Sepsis.")
@click.option("--only", default="", help="Part of a problem's name.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(draws: int, icu_path: Path | None, only: str, out: Path) -> None:
    """Draws, estimates, prints."""
    rows: list[Row] = []
    click.echo("| problem | coverage | where no warning stands | misses with a warning | warned | seconds |")
    click.echo("|---|---|---|---|---|---|")
    battery = [*problems(), *(icu(icu_path) if icu_path else ())]
    for problem in battery:
        if only not in problem.name:
            continue
        begun = time.perf_counter()
        found = [row for seed in range(draws) for row in estimates_of(problem, seed)]
        rows += found
        seconds = (time.perf_counter() - begun) / draws
        click.echo(f"| {problem.name} | {' | '.join(summary(found))} | {seconds:.2f} |")
    click.echo(f"| all | {' | '.join(summary(rows))} | |")
    easy = share(rows, lambda r: r["warned"], lambda r: r["easy"])
    click.echo(f"\nFalse alarms on easy problems: {easy}.")
    with out.open("w", newline="") as file:
        counts = list(counted(rows))
        writer = csv.DictWriter(file, list(counts[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(counts)


if __name__ == "__main__":
    main()
