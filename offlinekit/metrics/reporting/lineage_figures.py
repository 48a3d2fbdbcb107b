"""Pictures of a lineage: the tree of members, fitness, and hyperparameters over generations."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offlinekit.io import atomic_write
from offlinekit.metrics.reporting.lineage import Lineage, LineageRow, average_of
from offlinekit.metrics.reporting.plots import dress
from offlinekit.metrics.reporting.themes import get_theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"wider": "^", "deeper": "D", "narrower": "v", "noise": "*", "begun": "P"}
"""First word of a move to its mark; moves of hyperparameters are squares, none is a dot."""
QUIET, STRONG = "0.75", "#1f77b4"


def write_lineage_figure(lineage: Lineage, path: Path, winner: int | None = None) -> Path:
    """Draws a lineage into a file; its suffix chooses the format, and `winner` is as in `draw_lineage`."""
    import matplotlib

    settings = {**get_theme("screen").settings, "svg.hashsalt": "offlinekit"}
    with matplotlib.rc_context(settings), atomic_write(path) as beside:
        kind = path.suffix.removeprefix(".") or "png"
        draw_lineage(lineage, winner).savefig(
            beside, format=kind, metadata={"Date": None} if kind == "svg" else {}
        )
    return path


def lineage_svg(folder: Path, winner: int | None = None) -> str:
    """Returns the picture of an evolution's folder as SVG; equal lineages give equal text.

    Without a winner the line of the best of the last generation is drawn strong, as the run ranks it.
    """
    import matplotlib

    settings: Any = {**get_theme("screen").settings, "svg.hashsalt": "offlinekit"}
    with matplotlib.rc_context(settings):
        file = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        lineage = Lineage.read(folder)
        if winner is None and lineage.rows:
            winner = lineage.ranking(average_of(folder))[0]
        draw_lineage(lineage, winner).savefig(file, format="svg", metadata=metadata)
    return file.getvalue()[file.getvalue().index("<svg") :]


def draw_lineage(lineage: Lineage, winner: int | None = None) -> Figure:
    """Returns the tree, the fitness and each numeric hyperparameter over generations, one panel each.

    The line of the winner, by default the fittest of the last generation, is drawn strong. A mark says what was done to
    a member before it trained: triangles for wider and narrower networks, a diamond for a deeper one, a star for noise,
    a square for a hyperparameter, a dot for nothing.
    """
    from matplotlib.figure import Figure

    names = _numeric(lineage)
    figure = Figure(figsize=(8.0, 2.2 * (2 + len(names))), layout="constrained")
    panels = figure.subplots(2 + len(names), 1, sharex=True, squeeze=False)[:, 0]
    best = lineage.ranking(1)[0] if winner is None and lineage.rows else winner
    winners = [] if best is None else lineage.line(best)
    _tree(panels[0], lineage, winners)
    _over_generations(panels[1], lineage, winners, "fitness")
    for axes, name in zip(panels[2:], names, strict=True):
        _over_generations(axes, lineage, winners, name)
    for axes in panels[:-1]:
        axes.set_xlabel("")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _tree(axes: Axes, lineage: Lineage, winners: Sequence[LineageRow]) -> None:
    for row in lineage.rows:
        if row.parent is not None:
            axes.plot(
                [row.generation - 1, row.generation],
                [row.parent, row.member],
                **_stroke(row in winners),
            )
    for row in lineage.rows:
        colour = "tab:red" if row.held_back else STRONG if row in winners else "0.4"
        axes.plot(row.generation, row.member, _mark(row.move), color=colour, markersize=5, zorder=4)
    dress(axes, "generation", "member", "")
    axes.set_yticks(sorted({row.member for row in lineage.rows}))


def _over_generations(axes: Axes, lineage: Lineage, winners: Sequence[LineageRow], name: str) -> None:
    """Draws a number of all members, from parent to child."""
    numbers = {(row.generation, row.member): _number(row, name) for row in lineage.rows}
    for row in lineage.rows:
        here = numbers[row.generation, row.member]
        before = math.nan if row.parent is None else numbers.get((row.generation - 1, row.parent), math.nan)
        colour = STRONG if row in winners else QUIET
        if math.isfinite(here) and math.isfinite(before):
            axes.plot(
                [row.generation - 1, row.generation],
                [before, here],
                **_stroke(row in winners),
            )
        axes.plot(row.generation, here, ".", color=colour, markersize=5, zorder=4)
    finite = [number for number in numbers.values() if math.isfinite(number) and number > 0]
    if name != "fitness" and finite and max(finite) > 20 * min(finite):
        axes.set_yscale("log")
    dress(axes, "generation", name, "")


def _stroke(is_winners: bool) -> dict[str, Any]:
    """Returns the style of a line from parent to child."""
    return {"color": STRONG if is_winners else QUIET, "linewidth": 1.2, "zorder": 2 + is_winners}


def _numeric(lineage: Lineage) -> list[str]:
    """Returns the hyperparameters that are numbers."""
    values = {name: value for row in lineage.rows for name, value in row.values.items()}
    return [n for n, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)]


def _number(row: LineageRow, name: str) -> float:
    value = row.fitness if name == "fitness" else row.values.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def _mark(move: str) -> str:
    if not move or move.startswith(("refused", "no ")):
        return "o"
    return KINDS.get(move.split(" ")[0].rstrip(":"), "s")
