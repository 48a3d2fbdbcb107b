"""Figures: learning curves with their spread over runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.storage import written_beside
from offlinekit.metrics.curves import Curve, Floats, Runs, dataset_name, read_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette without its yellow: told apart by colour-blind readers, dark enough on paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (9, 3)))
AXIS_NAMES = {
    "step": "gradient steps",
    "time": "training time (s)",
    "eval/return_mean": "evaluation return",
    "eval/return_median": "evaluation return, median of episodes",
    "eval/score": "normalised score",
    "eval/length_mean": "episode length (steps)",
    "eval/value_start": "estimated value of the start state",
}
BANDS = {"standard_error": "± standard error", "range": "from the lowest to the highest"}


def plot_learning_curves(
    runs: Runs,
    out_png: str | Path,
    x: str = "step",
    y: str = "eval/return_mean",
    baselines: Mapping[str, float] | None = None,
    *,
    band: str = "standard_error",
    title: str | None = None,
) -> Path:
    """Draws the mean of each group of runs, one a seed, with a band, into one figure.

    Args:
        runs: Run folders, grouped by algorithm and dataset; or {label: metrics.csv files or run folders}.
        out_png: File to write; its suffix chooses the format (.png, .pdf, .svg).
        x: Column of the horizontal axis.
        y: Column of the vertical axis.
        baselines: {label: value}, each a horizontal line, such as {"behaviour": 63.1}.
        band: What the band around a mean of several runs shows: "standard_error" (of the mean, either side)
            or "range" (the lowest and highest run). The figure says which.
        title: Above the figure; None writes the dataset where all runs share it.

    Returns:
        The path of the figure.

    Raises:
        ValueError: For no runs, unknown columns, an unknown band or a suffix that matplotlib cannot write.
    """
    if band not in BANDS:
        raise ValueError(f"band must be one of {', '.join(map(repr, BANDS))}, got {band!r}")
    from matplotlib.figure import Figure

    curves = read_curves(runs, x, y)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for index, curve in enumerate(curves):
        _draw(axes, curve, index, band)
    for index, (label, value) in enumerate((baselines or {}).items()):
        dashes = DASHES[index % len(DASHES)]
        axes.axhline(value, color="0.35", linewidth=1.2, linestyle=dashes, label=f"{label} ({value:.4g})")
    _dress(axes, x, y, title if title is not None else dataset_name(runs) or "")
    _explain(figure, band if any(len(curve.y) > 1 for curve in curves) else None)
    path = Path(out_png)
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=200, format=path.suffix.removeprefix(".") or "png")
    return path


def _draw(axes: Axes, curve: Curve, index: int, band: str) -> None:
    """Draws one curve; colour and marker repeat after seven."""
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    label = curve.label if len(curve.y) == 1 else f"{curve.label} ({len(curve.y)} runs)"
    every = max(1, len(curve.x) // 12)
    axes.plot(
        curve.x,
        curve.y.mean(axis=0),
        color=colour,
        marker=marker,
        markevery=every,
        markersize=4.5,
        linewidth=1.8,
        label=label,
    )
    if len(curve.y) > 1:
        low, high = _limits(curve.y, band)
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.18, linewidth=0)


def _limits(y: Floats, band: str) -> tuple[Floats, Floats]:
    """Returns the lower and upper edge [T] of the band of y [S, T]."""
    if band == "range":
        return y.min(axis=0), y.max(axis=0)
    error = y.std(axis=0, ddof=1) / np.sqrt(len(y))
    return y.mean(axis=0) - error, y.mean(axis=0) + error


def _dress(axes: Axes, x: str, y: str, title: str) -> None:
    """Names the axes, lightens the frame and shortens thousands."""
    from matplotlib.ticker import EngFormatter

    axes.set_xlabel(AXIS_NAMES.get(x, x))
    axes.set_ylabel(AXIS_NAMES.get(y, y))
    axes.set_title(title, fontsize=11)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)


def _explain(figure: Figure, band: str | None) -> None:
    """Puts a legend below the axes, in as many columns as fit, and says what the bands are."""
    longest = max(len(str(label.get_label())) for label in figure.axes[0].get_legend_handles_labels()[0])
    figure.legend(
        loc="outside lower center",
        ncols=max(1, min(3, 78 // (longest + 6))),
        frameon=False,
        fontsize=9,
        title=None if band is None else f"lines: mean over runs; bands: {BANDS[band]}",
        title_fontsize=9,
    )
