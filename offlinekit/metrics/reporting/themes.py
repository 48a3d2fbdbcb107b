"""Looks of figures: on a screen, in a column of a paper, and on a printer without colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from offlinekit.errors import did_you_mean

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette without its yellow: distinct to colour-blind readers, dark enough on paper."""
GREYS = ("0.0", "0.45", "0.2", "0.6", "0.3", "0.5", "0.1")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SOLID: tuple[Any, ...] = ("-",)
DASHED: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (5, 2, 1, 2)),
    (0, (9, 3)),
    (0, (3, 1, 1, 1, 1, 1)),
)


@dataclass(frozen=True)
class Theme:
    """One look.

    Attributes:
        size: Of the figure, in inches.
        font_size: Of the axes, in points.
        line_width: Of a curve, in points.
        colours, dashes: Of the curves in turn.
        band_alpha: How dark the bands are, in [0, 1].
        band_edges: Whether a band has thin edges in the style of its curve, so that overlapping bands stay apart.
        rc: Further settings of matplotlib.
    """

    size: tuple[float, float] = (6.4, 4.2)
    font_size: float = 10.0
    line_width: float = 1.8
    colours: tuple[str, ...] = COLOURS
    dashes: tuple[Any, ...] = SOLID
    band_alpha: float = 0.18
    band_edges: bool = False
    rc: dict[str, Any] = field(default_factory=dict)

    def line(self, index: int) -> dict[str, Any]:
        """Returns colour and dashes of the curve of that number; dashes change if colours begin anew."""
        again = index // len(self.colours)
        dashes = (
            DASHED[again % len(DASHED)] if self.dashes == SOLID else self.dashes[index % len(self.dashes)]
        )
        return {"color": self.colours[index % len(self.colours)], "linestyle": dashes}

    @property
    def settings(self) -> Any:
        """The settings of matplotlib for this look; text stays text in a PDF."""
        return {
            "font.size": self.font_size,
            "axes.titlesize": self.font_size + 1,
            "legend.fontsize": self.font_size - 1,
            "legend.title_fontsize": self.font_size - 1,
            "pdf.fonttype": 42,
            "svg.fonttype": "path",
            **self.rc,
        }


def marker(index: int) -> str:
    """Returns the marker of the curve of that number; no colour meets its marker again within 49 curves."""
    return MARKERS[(index + index // len(MARKERS)) % len(MARKERS)]


PAPER = {"font.family": "serif", "mathtext.fontset": "dejavuserif", "axes.linewidth": 0.6}
THEMES = {
    "screen": Theme(),
    "paper": Theme((3.4, 2.7), 8.0, 1.2, dashes=DASHED, rc=PAPER),
    "grey": Theme((3.4, 2.7), 8.0, 1.2, GREYS, DASHED, band_alpha=0.12, band_edges=True, rc=PAPER),
}


def get_theme(name: str) -> Theme:
    """Returns a look by its name.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in THEMES:
        raise ValueError(
            f"theme must be one of {', '.join(map(repr, THEMES))}, got {name!r}{did_you_mean(name, THEMES)}"
        )
    return THEMES[name]
