"""Patterns of syntax trees: Python in which a name `_`, `_1`, `_2`... stands for any expression."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

HOLE = re.compile(r"_\d*")
Holes = dict[str, ast.expr]


class PatternError(Exception):
    """A pattern that cannot be read, or cannot be replaced as asked."""


def parse(change: str, to: str) -> tuple[list[ast.AST], list[ast.AST]]:
    """Parses a pattern and what replaces it, as expressions if both are, otherwise as statements.

    Raises:
        PatternError: Where one is no Python, or both are the same.
    """
    sides: list[list[ast.AST]]
    try:
        sides = [[ast.parse(side, mode="eval").body] if side else [] for side in (change, to)]
    except SyntaxError:
        try:
            sides = [[*ast.parse(side).body] for side in (change, to)]
        except SyntaxError as error:
            raise PatternError(f"{change!r} or {to!r} is no Python: {error.msg}") from None
    old, new = sides
    if [*map(ast.dump, old)] == [*map(ast.dump, new)]:
        raise PatternError(f"{change!r} stays what it is")
    return old, new


def is_hole(node: Any) -> bool:
    """Tells whether a node stands for any expression; a name that is assigned does not."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and bool(HOLE.fullmatch(node.id))


def matches(pattern: Any, found: Any, holes: Holes) -> bool:
    """Compares trees, lists of them or plain values, and fills the holes of the pattern."""
    if is_hole(pattern) and isinstance(found, ast.expr):
        return ast.dump(holes.setdefault(pattern.id, found)) == ast.dump(found)
    if type(pattern) is not type(found):
        return False
    if isinstance(pattern, list):
        pairs = zip(pattern, found, strict=False)
        return len(pattern) == len(found) and all(matches(one, other, holes) for one, other in pairs)
    if isinstance(pattern, ast.AST):
        return all(matches(getattr(pattern, name), getattr(found, name), holes) for name in pattern._fields)
    return bool(pattern == found)


@dataclass(frozen=True)
class Site:
    """Where a pattern occurs.

    Attributes:
        parent: The node that holds what matched.
        field: In which of its fields.
        span: Where in the field, if that is a list.
        holes: What the holes of the pattern stand for.
        position: Line and column.
    """

    parent: ast.AST
    field: str
    span: slice
    holes: Holes
    position: tuple[int, int]

    def source(self, new: list[ast.AST], tree: ast.Module) -> str:
        """Returns the source of the module with other nodes here; the tree stays as it was.

        Raises:
            PatternError: Where nothing shall replace what cannot be left out.
        """
        old = getattr(self.parent, self.field)
        filled = [_Filler(self.holes).visit(node) for node in new]
        if isinstance(old, list):
            filled = [*old[: self.span.start], *filled, *old[self.span.stop :]]
        elif not filled:
            raise PatternError(f"{ast.unparse(old)!r} cannot be left out")
        setattr(self.parent, self.field, filled if isinstance(old, list) else filled[0])
        try:
            return ast.unparse(tree)
        finally:
            setattr(self.parent, self.field, old)


def sites(pattern: list[ast.AST], roots: Iterable[ast.AST]) -> list[Site]:
    """Returns where a pattern occurs below nodes, in the order of the source."""
    found = []
    for parent in (node for root in roots for node in ast.walk(root)):
        for name, value in ast.iter_fields(parent):
            nodes = value if isinstance(value, list) else [value]
            for start in range(len(nodes) - len(pattern) + 1):
                span, holes = slice(start, start + len(pattern)), Holes()
                if matches(pattern, nodes[span], holes):
                    position = nodes[start].lineno, nodes[start].col_offset
                    found.append(Site(parent, name, span, holes, position))
    return sorted(found, key=lambda site: site.position)


def words(roots: Iterable[ast.AST]) -> set[str]:
    """Returns the names of variables and attributes below nodes, without holes."""
    nodes = [node for root in roots for node in ast.walk(root) if not is_hole(node)]
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in nodes
        if isinstance(node, ast.Name | ast.Attribute)
    }


class _Filler(ast.NodeTransformer):
    """Fills holes."""

    def __init__(self, holes: Holes) -> None:
        self.holes = holes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Returns what a hole stands for; any other name as it is.

        Raises:
            PatternError: For a hole that the pattern lacks.
        """
        if not is_hole(node):
            return node
        if node.id not in self.holes:
            raise PatternError(f"{node.id} stands for nothing")
        return self.holes[node.id]
