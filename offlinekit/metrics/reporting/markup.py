"""Text that other formats would take for commands, made harmless."""

from __future__ import annotations

import re

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


def latex_text(text: str) -> str:
    """Returns a text that LaTeX shows as it is."""
    return "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
