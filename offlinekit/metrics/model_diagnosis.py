"""How far learned dynamics can be trusted: errors of a step, calibration of the spread, errors against the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from offlinekit.datasets.episodes import recorded_next
from offlinekit.errors import DatasetError
from offlinekit.io import atomic_write
from offlinekit.metrics.statistics.aggregates import Floats
from offlinekit.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from offlinekit.algos.dynamics import Dynamics
    from offlinekit.datasets import MDPDataset

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SMALLEST = 1e-12
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.35"


@dataclass(frozen=True)
class ModelDiagnosis:
    """What dynamics get right on rows of a dataset; better those that they have not learned from.

    Attributes:
        names: Of D numbers of the observation and the reward.
        errors: [D + 1], root mean squared error of the members' mean, in the units of the data.
        explained: [D + 1], 1 - mean squared error / variance of the change (of the reward, of itself): 1 is perfect,
            0 no better than the mean.
        coverage: [len(LEVELS)], share of outcomes inside the central intervals of `LEVELS` that members state; below
            the level they are too sure of themselves.
        growth: [H], root mean squared error of observations 1 to H steps ahead by recorded actions, in deviations of
            the data, each member on its own.
        standing: [H], the same of a model in which nothing changes.
    """

    names: tuple[str, ...]
    errors: Floats
    explained: Floats
    coverage: Floats
    growth: Floats
    standing: Floats

    @property
    def calibration_error(self) -> float:
        """Mean distance of the coverage from its levels, in [0, 1]."""
        return float(np.abs(self.coverage - LEVELS).mean())

    def to_json(self) -> dict[str, Any]:
        """Returns all numbers as plain data."""
        return {
            "errors": dict(zip(self.names, self.errors.tolist(), strict=True)),
            "explained": dict(zip(self.names, self.explained.tolist(), strict=True)),
            "coverage": dict(zip(map(str, LEVELS), self.coverage.tolist(), strict=True)),
            "calibration_error": self.calibration_error,
            "growth": self.growth.tolist(),
            "standing": self.standing.tolist(),
        }

    def plot(self, path: str | Path) -> Path:
        """Draws all into one figure.

        Args:
            path: File to write; its suffix chooses the format (.png, .pdf, .svg).

        Raises:
            ValueError: For a suffix that matplotlib cannot write.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13, 4), layout="constrained")
        for axes, draw in zip(figure.subplots(1, 3), (_explained, _coverage, _growth), strict=True):
            draw(axes, self)
            axes.spines[["top", "right"]].set_visible(False)
        path = Path(path)
        with atomic_write(path) as beside:
            figure.savefig(beside, dpi=130, format=path.suffix.removeprefix(".") or "png")
        return path


def diagnose_model(
    model: Dynamics, dataset: MDPDataset, *, n_rows: int = 10_000, horizon: int = 20, seed: int = 0
) -> ModelDiagnosis:
    """Compares what dynamics expect with what was recorded.

    Args:
        model: Such as `algo.model`.
        dataset: What to compare with.
        n_rows: Rows, and starts of longer stretches, that are drawn at most.
        horizon: The most steps ahead; shorter if no episode is longer.
        seed: Of the draw.

    Raises:
        ValueError: For numbers below 1.
        DatasetError: If no row has a recorded next observation.
    """
    if n_rows < 1 or horizon < 1:
        raise ValueError(f"n_rows and horizon must be at least 1, got {n_rows} and {horizon}")
    model.check(dataset)
    rng = np.random.default_rng(seed)
    after, known = next_observations(dataset)
    if not known.any():
        raise DatasetError(
            "no row of the dataset has a recorded next observation, so no step can be compared"
        )
    rows = rng.permutation(np.flatnonzero(known))[:n_rows]
    seen = np.asarray(dataset.observations)
    outcomes = np.concatenate([after[rows], dataset.rewards[rows, None]], 1)
    means, stds = model.predict_steps(seen[rows], dataset.actions[rows])
    squares = np.square(means.mean(0) - outcomes).mean(0)
    changes = np.concatenate([after[rows] - seen[rows], dataset.rewards[rows, None]], 1)
    variances = changes.var(0).clip(SMALLEST)
    growth, standing = _errors_ahead(model, dataset, after, known, rng, n_rows, horizon)
    return ModelDiagnosis(
        (*(f"observation {i}" for i in range(seen.shape[1])), "reward"),
        np.sqrt(squares),
        1.0 - squares / variances,
        coverage_of(means, stds, outcomes),
        growth,
        standing,
    )


def next_observations(dataset: MDPDataset) -> tuple[Array, Array]:
    """Returns what follows each row [N, D], and whether it was recorded, bool [N]."""
    return np.asarray(dataset.next_observations_at(np.arange(len(dataset)))), recorded_next(dataset)


def coverage_of(means: Array, stds: Array, outcomes: Array) -> Floats:
    """Returns the share of outcomes inside the central intervals of `LEVELS` of the members' equal mixture.

    Args:
        means: [K, B, D].
        stds: [K, B, D].
        outcomes: [B, D].
    """
    scores = (outcomes - means) / np.maximum(stds, SMALLEST)
    below = special.ndtr(scores).mean(0)  # Uniform in [0, 1] if they are right.
    central = np.abs(2.0 * below - 1.0).ravel()
    return np.array([(central <= level).mean() for level in LEVELS])


def _errors_ahead(
    model: Dynamics,
    dataset: MDPDataset,
    after: Array,
    known: Array,
    rng: np.random.Generator,
    n: int,
    horizon: int,
) -> tuple[Floats, Floats]:
    """Returns the errors after 1 to H steps by recorded actions, of the members and of standing still."""
    ends = np.repeat(dataset.episode_ends, dataset.episode_lengths())
    left = ends - np.arange(len(dataset))  # Rows to the end of the episode, this one with it.
    steps = min(horizon, int(left.max()) if dataset.next_observations is None else 1)
    starts = rng.permutation(np.flatnonzero(left >= steps))[:n]
    seen = np.asarray(dataset.observations, np.float64)
    deviations = seen.std(0).clip(SMALLEST)
    k = int(model.n_simulated)
    states = np.tile(seen[starts], (k, 1, 1))
    growth, standing = [], []
    for step in range(steps):
        actions = dataset.actions[starts + step]
        means, _ = model.predict_steps(states, np.stack([actions] * k))
        compared = known[starts + step]
        if not compared.any():
            break
        states, reached = means[..., :-1], after[starts + step][compared]
        growth.append(_size((states[:, compared] - reached) / deviations))
        standing.append(_size((seen[starts][compared] - reached) / deviations))
    return np.array(growth), np.array(standing)


def _size(errors: Array) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def _explained(axes: Axes, diagnosis: ModelDiagnosis) -> None:
    places = np.arange(len(diagnosis.names))
    colors = [BLUE] * (len(places) - 1) + [ORANGE]
    axes.barh(places, diagnosis.explained.clip(0.0, 1.0), color=colors)
    for place, share in enumerate(diagnosis.explained.tolist()):
        axes.text(0.02, place, f"{share:.4f}", color="white" if share > 0.2 else GREY, va="center")
    axes.set_yticks(places, [name.replace("observation ", "") for name in diagnosis.names])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="explained share of the change", ylabel="observation", title="one step")


def _coverage(axes: Axes, diagnosis: ModelDiagnosis) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="calibrated")
    axes.plot(LEVELS, diagnosis.coverage, color=BLUE, marker="o", label="members")
    title = f"calibration error {diagnosis.calibration_error:.3f}"
    axes.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="stated probability", ylabel="share of outcomes inside", title=title
    )
    axes.legend(frameon=False)


def _growth(axes: Axes, diagnosis: ModelDiagnosis) -> None:
    steps = np.arange(1, len(diagnosis.growth) + 1)
    axes.plot(steps, diagnosis.growth, color=BLUE, marker="o", label="members")
    axes.plot(steps, diagnosis.standing, color=GREY, linestyle="--", label="nothing changes")
    axes.set(
        xlabel="steps ahead",
        ylabel="error (deviations of the data)",
        title="recorded actions",
        ylim=(0, None),
    )
    axes.legend(frameon=False)
