"""Text that other formats would take for commands, made harmless."""

from __future__ import annotations

import re

NEGATIVE = re.compile(r"-(\d|$)")
LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def markdown_text(text: str) -> str:
    """Returns a text of one line that Markdown shows as it is: no cells, tags, links, code or emphasis."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*<>|]|(?<!\w)_|_(?!\w)|\[(?=[^\]]*\]\()|^#)", r"\\\1", line)


def csv_text(text: str) -> str:
    """Returns a cell of CSV that no spreadsheet takes for a formula; numbers stay as they are."""
    is_formula = text.startswith(("=", "+", "@", "\t", "\r")) or (
        text.startswith("-") and not NEGATIVE.match(text)
    )
    return f"'{text}" if is_formula else text


def latex_text(text: str) -> str:
    """Returns a text that LaTeX shows as it is."""
    return "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
