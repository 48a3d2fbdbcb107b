"""One page of figures about a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.inspection import coverage
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.io import atomic_write
from offlinekit.types import Array, leaves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.35"
BANDS = "dimension (line: all, bar: middle 90 %, dot: median)"
MOST_POINTS = 20_000
MOST_DIMENSIONS = 40


def draw_sheet(dataset: MDPDataset, path: str | Path) -> Path:
    """Draws returns, lengths, rewards, actions and observations of a dataset into one figure.

    Args:
        dataset: Its subject.
        path: File to write; its suffix chooses the format (.png, .pdf, .svg).

    Raises:
        ValueError: For a suffix that matplotlib cannot write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.4), layout="constrained")
    axes = figure.subplots(2, 4)
    figure.suptitle(_title(dataset), fontsize=12)
    for panel, draw in zip(axes.flat, PANELS, strict=True):
        draw(panel, dataset)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    path = Path(path)
    with atomic_write(path) as beside:
        figure.savefig(beside, dpi=130, format=path.suffix.removeprefix(".") or "png")
    return path


def _title(dataset: MDPDataset) -> str:
    ends = f"{int(dataset.terminals.sum()):,} terminal, {int(dataset.timeouts.sum()):,} timeout"
    return f"{dataset.name}: {len(dataset):,} rows, {dataset.n_episodes:,} episodes ({ends})"


def _returns(axes: Axes, dataset: MDPDataset) -> None:
    returns = dataset.episode_returns()
    axes.hist(returns, bins=min(40, max(5, len(returns) // 4)), color=BLUE)
    axes.locator_params(axis="x", nbins=6)
    label = f"mean {returns.mean():,.4g}"
    if dataset.reference_scores is not None and not dataset.metadata.get("clipped_rewards"):
        label += f", score {dataset.normalized_score(returns.mean()):.1f}"
    axes.axvline(returns.mean(), color=ORANGE, label=label)
    _name(axes, "returns", "return", "episodes")
    axes.legend(frameon=False, fontsize=8)


def _lengths(axes: Axes, dataset: MDPDataset) -> None:
    lengths = dataset.episode_lengths()
    terminal = dataset.terminals[dataset.episode_ends - 1]
    kinds = [(lengths[terminal], "terminal", BLUE), (lengths[~terminal], "timeout", ORANGE)]
    kinds = [kind for kind in kinds if len(kind[0])]
    values, labels, colours = zip(*kinds, strict=True)
    n_bins = min(40, max(5, int(np.ptp(lengths))))
    edges = np.histogram_bin_edges(lengths, n_bins, (lengths.min() - 2.5, lengths.max() + 2.5))
    axes.hist(values, bins=edges.tolist(), stacked=True, color=colours, label=labels)
    _name(axes, "episode lengths", "rows", "episodes")
    axes.legend(frameon=False, fontsize=8, title="ends by", title_fontsize=8)


def _rewards(axes: Axes, dataset: MDPDataset) -> None:
    counts, edges = coverage.histogram(dataset.rewards)
    if len(np.unique(edges)) < len(edges):  # One bin a value.
        _bars(axes, counts, [f"{value:g}" for value in edges[:-1]])
    else:
        axes.hist(dataset.rewards, bins=50, color=BLUE)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    _name(axes, "rewards", "reward", "rows")


def _order(axes: Axes, dataset: MDPDataset) -> None:
    from matplotlib.ticker import EngFormatter

    returns = dataset.episode_returns()
    step = -(-len(returns) // MOST_POINTS)
    axes.plot(dataset.episode_starts[::step], returns[::step], ".", color=BLUE, markersize=3, alpha=0.5)
    window = len(returns) // 30
    if window > 1:
        smooth = np.convolve(returns, np.full(window, 1 / window), "valid")
        middle = dataset.episode_starts[window // 2 : window // 2 + len(smooth)]
        axes.plot(middle, smooth, color=ORANGE, linewidth=1.5, label=f"mean of {window} episodes")
        axes.legend(frameon=False, fontsize=8)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _name(axes, "returns in recorded order", "row", "return")


def _actions(axes: Axes, dataset: MDPDataset) -> None:
    taken = coverage.action_counts(dataset)
    if taken is not None:
        _bars(axes, taken / taken.sum(), coverage.output_names(dataset))
        _name(axes, "actions", "action", "share of rows")
        return
    spreads = coverage.action_spreads(dataset)
    _bands(axes, spreads)
    shares = [spread.at_bounds for spread in spreads if spread.at_bounds is not None]
    note = f", {np.mean(shares):.0%} at bounds" if shares else ""
    _name(axes, f"actions{note}", BANDS, "value")


def _observations(axes: Axes, dataset: MDPDataset) -> None:
    images = [leaf for leaf in leaves(dataset.observations) if leaf.dtype == np.uint8 and leaf.ndim >= 3]
    if images:
        _frames(axes, images[0])
        return
    spreads = coverage.observation_spreads(dataset)
    _bands(axes, spreads)
    axes.set_yscale("symlog", linthresh=1.0)
    more = f", first {MOST_DIMENSIONS} of {len(spreads)}" if len(spreads) > MOST_DIMENSIONS else ""
    _name(axes, f"observations{more}", BANDS, "value")


def _bands(axes: Axes, spreads: list[coverage.Spread]) -> None:
    """Draws a line from the lowest to the highest value, a bar over the middle 90 %, a dot at the median."""
    shown = spreads[:MOST_DIMENSIONS]
    place = np.arange(len(shown))
    _, _, low, five, median, most, high = (np.array(column) for column in zip(*shown, strict=True))
    axes.vlines(place, low, high, color=GREY, linewidth=0.8)
    axes.bar(place, most - five, bottom=five, width=0.6, color=BLUE, alpha=0.55)
    axes.plot(place, median, "o", color=ORANGE, markersize=3.5)
    _whole(axes, len(shown))


def _bars(axes: Axes, heights: Array, labels: list[str]) -> None:
    axes.bar(range(len(heights)), heights, width=0.6, color=BLUE)
    _whole(axes, len(heights))
    if len(labels) <= 12:
        axes.set_xticks(range(len(labels)), labels)


def _whole(axes: Axes, n: int) -> None:
    """Marks whole numbers below n alone, and keeps few bars from filling the panel."""
    axes.set_xticks(range(0, n, -(-n // 12)))
    room = max(0.6, (5 - n) / 2)
    axes.set_xlim(-room, n - 1 + room)


def _frames(axes: Axes, leaf: Array) -> None:
    """Shows four images of [N, (C,) H, W], evenly chosen."""
    chosen = leaf[np.linspace(0, len(leaf) - 1, 4).astype(int)]
    frames = [frame if frame.ndim == 2 else frame[-1] for frame in chosen]
    axes.imshow(np.block([[frames[0], frames[1]], [frames[2], frames[3]]]), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title("observations", fontsize=10)


def _plane(axes: Axes, dataset: MDPDataset) -> None:
    """Draws the observations in the plane of their two largest principal components."""
    floats = [leaf for leaf in leaves(dataset.observations) if leaf.dtype != np.uint8]
    step = -(-len(dataset) // MOST_POINTS)
    if not floats or sum(leaf[0].size for leaf in floats) < 2:
        axes.set_axis_off()
        return
    flat = np.concatenate([leaf[::step].reshape(len(leaf[::step]), -1) for leaf in floats], axis=1)
    points, shares = principal_plane(flat.astype(np.float64))
    axes.hexbin(*points.T, gridsize=45, bins="log", cmap="Blues", mincnt=1, linewidths=0)
    starts = np.flatnonzero(np.isin(np.arange(0, len(dataset), step), dataset.episode_starts))[:500]
    axes.plot(*points[starts].T, ".", color=ORANGE, markersize=2, label="episode starts")
    if len(starts):
        axes.legend(frameon=False, fontsize=8, markerscale=4)
    first, second = (f"component {i + 1} ({share:.0%})" for i, share in enumerate(shares))
    _name(axes, "observations, principal components", first, second)


def principal_plane(rows: Array) -> tuple[Array, Array]:
    """Returns standardised rows [n, D] in the plane of their two largest components, and its shares of variance.

    Returns:
        [n, 2] and [2].
    """
    deviation = rows.std(axis=0)
    scaled = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    variances, directions = np.linalg.eigh(scaled.T @ scaled)
    shares = variances[::-1][:2] / max(float(variances.sum()), 1e-12)
    return scaled @ directions[:, ::-1][:, :2], shares


def _return_by_length(axes: Axes, dataset: MDPDataset) -> None:
    lengths, returns = dataset.episode_lengths(), dataset.episode_returns()
    step = -(-len(returns) // MOST_POINTS)
    axes.plot(lengths[::step], returns[::step], ".", color=BLUE, markersize=3, alpha=0.5)
    _name(axes, "return and length", "rows", "return")


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)


PANELS: tuple[Any, ...] = (
    _returns,
    _lengths,
    _return_by_length,
    _order,
    _rewards,
    _actions,
    _observations,
    _plane,
)
