"""Shortens a recorded graph: what vmap and autograd write down beyond the arithmetic."""

from __future__ import annotations

from torch import fx


def simplify(graph: fx.Graph) -> None:
    """Removes operations of a graph that change nothing."""
    graph.eliminate_dead_code()
