"""The figures of a report, as SVG."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.metrics.reporting.curves import read_curves, step_name
from offlinekit.metrics.reporting.plots import add_legend, draw_curves, dress
from offlinekit.metrics.reporting.results import RunResult, by_group, score_matrix
from offlinekit.metrics.reporting.themes import THEMES, marker
from offlinekit.metrics.statistics.aggregates import Floats, run_score_profile
from offlinekit.metrics.statistics.deployment import expected_online_performance
from offlinekit.metrics.statistics.stratified import stratified_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOK = replace(THEMES["screen"], size=(5.4, 3.7))
Groups = dict[str, list[RunResult]]
MOST_BANDS = 8
"""Of more curves the bands are left out."""
FEWEST_RUNS = 5
"""Runs x tasks that a profile needs for a band."""


def figures_of(runs: list[RunResult], kind: str) -> list[tuple[str, str, str]]:
    """Returns (title, SVG, caption) of each figure of a report; no SVG if the caption says why there is none.

    Args:
        runs: Of any algorithms and datasets.
        kind: Of the score, "final" or "best-over-training".
    """
    judged = [run for run in runs if run.is_evaluated]
    groups, figures = by_group(judged), []
    for dataset in dict.fromkeys(dataset for dataset, _ in groups):
        mine = {key[1]: group for key, group in groups.items() if key[0] == dataset}
        figures += [
            (f"{dataset}: {name}", _drawn(draw) if draw else "", caption)
            for name, draw, caption in _of_dataset(mine, kind)
        ]
    if len({dataset for dataset, _ in groups}) > 1:
        matrices = {algo: score_matrix(groups, algo, kind) for algo in sorted({algo for _, algo in groups})}
        scores = {algo: matrix for algo, matrix in matrices.items() if matrix is not None}
        if scores:
            draw = partial(_profile, scores, f"{kind} normalised score")
            figures.append(("All tasks: performance profile", _drawn(draw), _profile_caption(scores)))
    return figures


def _of_dataset(groups: Groups, kind: str) -> Iterator[tuple[str, Callable[[], Figure] | None, str]]:
    """Yields (name, what draws it, caption) of the figures of one dataset; nothing draws what only a word can say."""
    online = {algo: group for algo, group in groups.items() if group[0].is_online}
    offline = {algo: group for algo, group in groups.items() if algo not in online}
    if went := {algo: group for algo, group in online.items() if _overlap(group)}:
        yield "going online", partial(_going_online, went, list(groups)), ONLINE
    if offline:
        yield from _learning_curves(offline, list(groups))
    if max(map(len, groups.values())) > 1:
        returns = {algo: np.array([[run.score(kind)] for run in group]) for algo, group in groups.items()}
        yield "performance profile", partial(_profile, returns, f"{kind} return"), _profile_caption(returns)
    if any(np.isfinite(run.start_values).any() for group in groups.values() for run in group):
        yield "value against return", partial(_values, groups), VALUE
    if max(map(len, groups.values())) > 1:
        yield "the best of k policies", partial(_best_of, groups, kind), BEST


def _learning_curves(
    groups: Groups, order: list[str]
) -> Iterator[tuple[str, Callable[[], Figure] | None, str]]:
    """Yields the figures of runs on data: curves by updates and by wall time, or why there are none."""
    lines = {algo: group for algo, group in groups.items() if _overlap(group)}
    caption = _learning_caption(groups, lines)
    if lines:
        yield "learning curves by updates", partial(_learning, lines, "step", order), caption
        yield (
            "learning curves by wall time",
            partial(_learning, lines, "time", order),
            f"{caption} {WALL_TIME}",
        )
    else:
        yield "learning curves", None, caption


WALL_TIME = "Each evaluation stands at the mean time at which the runs came to it."
ONLINE = (
    "Mean return of evaluations from before the first environment step on; the dashed line of the same colour is the "
    "score before. What lies below it is the dip, and where the curve crosses it again the policy has recovered."
)
VALUE = (
    "Each mark is an evaluation: what the policy expected of its start states (discounted, of the scaled reward) "
    "against the return it then got (undiscounted). If values grow while returns do not, the policy overestimates."
)
BEST = (
    "Expected return of the best of k runs drawn at random: what trying k policies online and keeping the best is "
    "worth."
)


def _overlap(group: list[RunResult]) -> bool:
    """Returns whether the runs have a stretch of steps in common, on which a curve can be drawn."""
    return bool(max(run.steps[0] for run in group) < min(run.steps[-1] for run in group))


def _learning_caption(groups: Groups, lines: Groups) -> str:
    counts = {run.config.get("eval_episodes") for group in groups.values() for run in group}
    of = f" of {counts.pop()} episodes" if len(counts) == 1 and None not in counts else ""
    parts = (
        [f"Each mark is the mean return of an evaluation{of}, averaged over training seeds."] if lines else []
    )
    if any(len({run.steps[-1] for run in group}) > 1 for group in lines.values()):
        parts.append("Runs of unequal length are drawn as far as all of an algorithm's went.")
    if len(lines) > MOST_BANDS:
        parts.append("Without bands, which would cover each other; the table has the intervals.")
    if left := [algo for algo in groups if algo not in lines]:
        parts.append(f"No curve for {', '.join(left)}: evaluated once, or at no common stretch of updates.")
    return " ".join(parts)


def _profile_caption(scores: dict[str, Floats]) -> str:
    text = "Share of runs above a return; further right and up is better."
    if _has_bands(scores):
        return f"{text} Band: 95% stratified bootstrap, point by point."
    if len(scores) > MOST_BANDS:
        return f"{text} Without bands, which would cover each other."
    return f"{text} Without bands: with fewer than {FEWEST_RUNS} runs they would span nearly everything."


def _has_bands(scores: dict[str, Floats]) -> bool:
    return len(scores) <= MOST_BANDS and min(matrix.size for matrix in scores.values()) >= FEWEST_RUNS


def _learning(groups: Groups, x: str, order: list[str]) -> Figure:
    folders = {algo: [run.folder for run in group] for algo, group in groups.items()}
    known = {run.config.get("behaviour_return") for group in groups.values() for run in group}
    behaviour = known.pop() if len(known) == 1 else None
    lines = {} if behaviour is None else {"return of the data": behaviour}
    band = "interval" if len(groups) <= MOST_BANDS else None
    x_name = step_name(folders) if x == "step" else None
    return draw_curves(
        read_curves(folders, x), x, "eval/return_mean", lines, band, LOOK, "", order, x_name=x_name
    )


def _going_online(groups: Groups, order: list[str]) -> Figure:
    """Returns the curves of scores over environment steps, each with a line at its score before the first."""
    figure = _learning(groups, "step", order)
    for algo, group in groups.items():
        before = float(np.mean([run.returns[0] for run in group]))
        colour = LOOK.line(order.index(algo))["color"]
        figure.axes[0].axhline(before, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
    return figure


def _profile(scores: dict[str, Floats], name: str) -> Figure:
    low, high = (float(f([f(matrix) for matrix in scores.values()])) for f in (np.min, np.max))
    margin = 0.05 * (high - low) or 1.0
    thresholds = np.linspace(low - margin, high + margin, 101)
    figure, axes = _blank()
    for index, (algo, matrix) in enumerate(scores.items()):
        style = LOOK.line(index)
        axes.step(thresholds, run_score_profile(matrix, thresholds), **style, where="post", label=algo)
        if _has_bands(scores):
            edges = stratified_band(lambda s: run_score_profile(s, thresholds), matrix, n_resamples=1_000)
            axes.fill_between(
                thresholds, *edges, color=style["color"], alpha=LOOK.band_alpha, linewidth=0, step="post"
            )
    _finish(figure, axes, name, "share of runs above")
    return figure


def _values(groups: Groups) -> Figure:
    figure, axes = _blank()
    for index, (algo, group) in enumerate(groups.items()):
        x = np.concatenate([run.start_values for run in group])
        if not np.isfinite(x).any():
            continue
        y = np.concatenate([run.returns for run in group])
        colour = LOOK.line(index)["color"]
        axes.scatter(x, y, s=32, color=colour, marker=marker(index), alpha=0.7, linewidths=0, label=algo)
    _finish(figure, axes, "estimated value of the start states", "evaluation return")
    return figure


def _best_of(groups: Groups, kind: str) -> Figure:
    figure, axes = _blank()
    for index, (algo, group) in enumerate(groups.items()):
        expected = expected_online_performance([run.score(kind) for run in group])
        axes.plot(range(1, len(group) + 1), expected, **LOOK.line(index), marker=marker(index), label=algo)
    _finish(figure, axes, "policies tried online", f"expected {kind} return of the best")
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    return figure


def _blank() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=LOOK.size, layout="constrained")
    return figure, figure.subplots()


def _finish(figure: Figure, axes: Axes, x_name: str, y_name: str) -> None:
    dress(axes, x_name, y_name, "")
    add_legend(figure, LOOK)


def _drawn(draw: Callable[[], Figure]) -> str:
    """Returns a figure as SVG in the report's look; without a date, so that equal runs give equal text."""
    import matplotlib

    settings: Any = {**LOOK.settings, "svg.hashsalt": "offlinekit"}
    with matplotlib.rc_context(settings):
        file = io.StringIO()
        draw().savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return file.getvalue()[file.getvalue().index("<svg") :]
