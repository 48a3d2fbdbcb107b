"""Figures: learning curves with their spread over runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.ground.hints import answers_guesses
from offlinekit.io import atomic_write
from offlinekit.metrics.reporting.curves import (
    Curve,
    Floats,
    Runs,
    dataset_name,
    read_curves,
    readable_runs,
    step_name,
)
from offlinekit.metrics.reporting.themes import Theme, get_theme, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (9, 3)))
AXIS_NAMES = {
    "time": "wall time",
    "eval/return_mean": "evaluation return",
    "eval/return_median": "evaluation return, median of episodes",
    "eval/score": "normalised score",
    "eval/length_mean": "episode length (steps)",
    "eval/value_start": "estimated value of the start state",
}
BANDS = {
    "standard_error": "± standard error",
    "interval": "95% interval of the mean (Student's t)",
    "range": "from the lowest to the highest",
}


@answers_guesses
def plot_learning_curves(
    runs: Runs,
    out_png: str | Path,
    x: str = "step",
    y: str = "eval/return_mean",
    baselines: Mapping[str, float] | None = None,
    *,
    band: str = "standard_error",
    title: str | None = None,
    theme: str = "screen",
) -> Path:
    """Draws the mean of each group of runs, one a seed, with a band, into one figure.

    Args:
        runs: Run folders, grouped by algorithm and dataset; or {label: metrics.csv files or run folders}.
        out_png: File to write; its suffix chooses the format (.png, .pdf, .svg).
        x: Column of the horizontal axis: "step", or "time" for wall time.
        y: Column of the vertical axis.
        baselines: {label: value}, each a horizontal line, such as {"behaviour": 63.1}.
        band: What the band around a mean of several runs shows: "standard_error" (of the mean, either side),
            "interval" (95% of the mean) or "range" (the lowest and highest run). The figure says which.
        title: Above the figure; None writes the dataset if all runs share it.
        theme: "screen"; "paper", one column wide, with line styles beside the colours; or "grey", that without colours.

    Returns:
        The path of the figure.

    Raises:
        ValueError: For no runs, or none that can be read (one among others is left out, with a warning), unknown
            columns, an unknown band or theme, or a suffix that matplotlib cannot write.
    """
    if band not in BANDS:
        raise ValueError(f"band must be one of {', '.join(map(repr, BANDS))}, got {band!r}")
    import matplotlib

    look, path = get_theme(theme), Path(out_png)
    runs, left_out = readable_runs(runs, x, y)
    for line in left_out:
        warnings.warn(line, stacklevel=2)
    curves = read_curves(runs, x, y)
    with matplotlib.rc_context(look.settings), atomic_write(path) as beside:
        name = dataset_name(runs) if title is None else title
        x_name = step_name(runs) if x == "step" else None
        figure = draw_curves(curves, x, y, baselines, band, look, name, x_name=x_name)
        figure.savefig(beside, dpi=200, format=path.suffix.removeprefix(".") or "png")
    return path


def draw_curves(
    curves: list[Curve],
    x: str,
    y: str,
    baselines: Mapping[str, float] | None,
    band: str | None,
    theme: Theme,
    title: str | None,
    order: Sequence[str] = (),
    x_name: str | None = None,
) -> Figure:
    """Returns the figure of `plot_learning_curves`, without bands for None; save it under the theme's settings.

    Labels in `order` have the colours of their place there, so that an algorithm has one colour in several figures.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=theme.size, layout="constrained")
    axes = figure.subplots()
    for index, curve in enumerate(curves):
        place = order.index(curve.label) if curve.label in order else index
        _draw(axes, curve, place, band, theme)
    for index, (label, value) in enumerate((baselines or {}).items()):
        dashes = BASELINES[index % len(BASELINES)]
        axes.axhline(
            value, color="0.35", linewidth=1.0, linestyle=dashes, label=f"{label} ({readable(value)})"
        )
    dress(axes, x_name or AXIS_NAMES.get(x, x), AXIS_NAMES.get(y, y), title or "")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if x == "time":
        _name_times(axes, max(float(curve.x[-1]) for curve in curves))
    spread = f"lines: mean over runs; bands: {BANDS[band]}" if band else "lines: mean over runs"
    add_legend(figure, theme, spread if any(len(curve.y) > 1 for curve in curves) else None)
    return figure


def readable(value: float) -> str:
    """Returns a number in four digits, or all of a larger one that a reader can still take in: 0.1235, 1,234,567."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:,.4g}"


def _draw(axes: Axes, curve: Curve, index: int, band: str | None, theme: Theme) -> None:
    """Draws one curve with its band."""
    style = theme.line(index)
    label = curve.label if len(curve.y) == 1 else f"{curve.label} ({len(curve.y)} runs)"
    every = 1 if len(curve.x) <= 25 else 0.08  # Of the diagonal, for runs measured at uneven times.
    axes.plot(
        curve.x,
        curve.y.mean(axis=0),
        **style,
        marker=marker(index),
        markevery=every,
        markersize=2.5 * theme.line_width,
        linewidth=theme.line_width,
        label=label,
    )
    if band and len(curve.y) > 1:
        low, high = _limits(curve.y, band)
        axes.fill_between(curve.x, low, high, color=style["color"], alpha=theme.band_alpha, linewidth=0)
        for edge in (low, high) if theme.band_edges else ():
            axes.plot(curve.x, edge, **style, linewidth=theme.line_width / 3)


def _limits(y: Floats, band: str) -> tuple[Floats, Floats]:
    """Returns the lower and upper edge [T] of the band of y [S, T]."""
    if band == "range":
        return y.min(axis=0), y.max(axis=0)
    error = y.std(axis=0, ddof=1) / np.sqrt(len(y))
    if band == "interval":
        from scipy import stats  # Here: its import adds to the filters of warnings.

        error = error * stats.t.ppf(0.975, len(y) - 1)
    return y.mean(axis=0) - error, y.mean(axis=0) + error


def dress(axes: Axes, x_name: str, y_name: str, title: str) -> None:
    """Names the axes and lightens the frame."""
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)
    axes.set_title(title)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)


def _name_times(axes: Axes, longest: float) -> None:
    """Writes seconds in the unit that suits the longest run."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    seconds, unit = next(
        (s, u) for s, u in ((3600, "hours"), (60, "minutes"), (1, "seconds")) if longest >= 2 * s or s == 1
    )
    step = next(
        (
            n
            for n in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
            if longest / seconds / n <= 7
        ),
        200,
    )
    axes.xaxis.set_major_locator(MultipleLocator(step * seconds))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / seconds:g}"))
    axes.set_xlabel(f"wall time ({unit})")


def add_legend(figure: Figure, theme: Theme, title: str | None = None) -> None:
    """Adds a legend below the axes, in as many columns as fit; a long one makes the figure higher."""
    labels = figure.axes[0].get_legend_handles_labels()[1]
    fitting = int(theme.size[0] / theme.font_size * 135 / (max(map(len, labels)) + 6))
    columns = max(1, min(3, fitting, len(labels)))
    rows = -(-len(labels) // columns)
    figure.set_figheight(theme.size[1] + max(0, rows - 2) * 1.45 * theme.font_size / 72)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6, title=title)
