"""Hyperparameters under the type checker, in our implementations and in a user's, and the number of Any."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import offlinekit

ROOT = Path(offlinekit.__file__).parent
MOST_ANY = 2.7
"""In 1,000 lines."""
"""Annotations of the package that may be Any: what passes through unseen, such as keywords for somebody else."""

SNIPPET = """
from typing import Annotated

import gymnasium
import numpy as np
from numpy.typing import NDArray

from offlinekit.algos import CQL
from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.hyperparameters import Positive
from offlinekit.metrics import evaluate


class Unparametrised(CQLImpl):
    def build(self) -> None:
        print(self.config.alpha, self.config.alhpa)  # 16


class Careful(CQL):
    caution: Annotated[Positive, "Of a user's own."] = 0.1
    alpha = 2.0


class CarefulImpl(CQLImpl):
    config: Careful

    def weight(self) -> float:
        return self.config.caution + self.config.alpha


algo = Careful(caution=0.2, batch_size=64)
algo.alpha = 1.0
algo.bach_size = 3  # 33
Careful(cautoin=0.2)  # 34
Careful(caution="much")  # 35


def left(observations: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.zeros(len(observations), np.int64)


env = gymnasium.make("CartPole-v1")
evaluate(left, env)
evaluate(algo, env)
evaluate("left", env)  # 45
"""


@pytest.mark.slow
def test_misspelt_hyperparameters_and_no_policies_fail_and_what_a_user_writes_passes(tmp_path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(tmp_path / "snippet.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(offlinekit.__file__).parents[1])
    found = [
        line.split(":", 2)[1] + line.rsplit(" ", 1)[1]
        for line in done.stdout.splitlines()
        if "error:" in line
    ]
    lines = SNIPPET.splitlines()
    marked = [number for number, line in enumerate(lines, 1) if line.rstrip()[-2:].isdigit()]
    wanted = ["[attr-defined]", "[attr-defined]", "[call-arg]", "[arg-type]", "[arg-type]"]
    assert found == [f"{number}{code}" for number, code in zip(marked, wanted, strict=True)], done.stdout


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
