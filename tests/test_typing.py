"""The number of annotations that are Any."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import offlinekit

ROOT = Path(offlinekit.__file__).parent
MOST_ANY = 2.7
"""Annotations in 1,000 lines of the package that may be Any: of what passes through unseen, such as keywords."""


def annotations(tree):
    """Yields the annotations of variables, parameters and results."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.AnnAssign, ast.arg)) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
            yield node.returns


def is_any(annotation, names):
    """Whether an annotation is Any by one of its names, also in quotes, beside None, and under Annotated."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return is_any(ast.parse(annotation.value, mode="eval").body, names)
        except SyntaxError:  # A text that is no annotation, added to another.
            return False
    if isinstance(annotation, ast.BinOp):
        return is_any(annotation.left, names) or is_any(annotation.right, names)
    if isinstance(annotation, ast.Subscript):
        name = ast.unparse(annotation.value).rpartition(".")[2]
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        parts = {"Annotated": inner[:1], "Optional": inner, "Union": inner, "Final": inner}.get(name, [])
        return any(is_any(part, names) for part in parts)
    return ast.unparse(annotation).removeprefix("typing.") in names


def names_of_any(trees):
    """Returns the names that stand for Any: its own, and aliases of it."""
    names, before = {"Any"}, set()
    while names != before:
        before = set(names)
        for node in (node for tree in trees for node in ast.walk(tree)):
            if isinstance(node, ast.ImportFrom):
                names |= {alias.asname for alias in node.names if alias.asname and alias.name in before}
            is_alias = isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).endswith("TypeAlias")
            if (is_alias or isinstance(node, ast.Assign)) and node.value and is_any(node.value, before):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def count_any(trees):
    names = names_of_any(trees)
    return sum(is_any(annotation, names) for tree in trees for annotation in annotations(tree))


def test_few_annotations_are_any():
    trees = [ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))]
    lines = sum(len(path.read_text().splitlines()) for path in ROOT.rglob("*.py"))
    rate = 1_000 * count_any(trees) / lines
    assert rate <= MOST_ANY, (
        f"{rate:.2f} annotations are Any in 1,000 lines; name a protocol of interfaces.py"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x: Any, *y: Any, z: int = 0, **k: Any) -> Any: ...", 4),
        ("x: Any = 1\nclass C:\n    y: 'Any'", 2),
        ("x: Any | None\ny: Optional[Any]\nz: Annotated[Any, 'Of a user.']", 3),
        ("import typing\nx: typing.Any", 1),
        ("Thing: TypeAlias = 'Any'\nOther = Thing\nx: Other\ny: Thing | None", 2),
        ("from typing import Any as Whatever\nx: Whatever", 1),
        ("x: dict[str, Any]\ny: list[Any]\nz: Callable[..., Any]\na: Annotated[int, Any]\nb: object", 0),
    ],
)
def test_any_is_counted_by_all_its_names(text, expected):
    assert count_any([ast.parse(text)]) == expected
