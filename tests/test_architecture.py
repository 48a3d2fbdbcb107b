"""Who may import whom, how deep folders go, and how many places one addition touches."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import offlinekit
from offlinekit.algos import catalogue
from offlinekit.algos.torch.impl import Impl

ROOT = Path(offlinekit.__file__).parent
REPO = ROOT.parent

EVERYONE = {"types", "errors", "events"}
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "events": set(),
    "datasets": {"datasets"},
    "metrics": {"metrics", "datasets"},
    "training": {"training", "datasets"},
    "algos.torch": {"algos.torch"},
    "algos": {"algos", "algos.torch", "datasets", "metrics", "training", "deploy", ""},
    "deploy": set(),
    "sweeps": {"sweeps", "algos", "datasets", "metrics", "training"},
    "cli": {"cli", "sweeps", "algos", "algos.torch", "datasets", "metrics", "training", ""},
    "testing": {"algos", "algos.torch", "datasets", "metrics", ""},
    "": {"algos", ""},
    "__main__": {"cli"},
}


def room_of(module: str) -> str:
    parts = module.split(".")[1:]
    if parts[:2] == ["algos", "torch"]:
        return "algos.torch"
    return parts[0] if parts else ""


def imports(path: Path):
    """Yields the modules of offlinekit that a file imports when it runs; type checking does not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "offlinekit")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "offlinekit":
            yield node.module


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_they_may(path):
    module = ".".join(["offlinekit", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    room = room_of(module)
    for imported in imports(path):
        other = room_of(imported)
        assert other in EVERYONE | MAY_IMPORT[room], f"{module} ({room}) imports {imported} ({other})"


def test_a_front_imports_its_own_impl_alone():
    for name in catalogue():
        path = ROOT / "algos" / f"{name}.py"
        impls = [m for m in imports(path) if m.startswith("offlinekit.algos.torch.") and m.endswith("_impl")]
        assert impls == [f"offlinekit.algos.torch.{name}_impl"], f"{path} imports {impls}"


def test_folders_are_at_most_three_deep():
    assert max(len(path.relative_to(REPO).parts) - 1 for path in FILES) <= 3


def test_files_are_readable_in_one_go():
    long = {
        str(path.relative_to(ROOT)): n for path in FILES if (n := len(path.read_text().splitlines())) > 450
    }
    assert not long, f"too long to hold in the head: {long}"


def test_every_algorithm_has_front_impl_test_mutations_and_docs():
    for name, front in catalogue().items():
        if not front.__module__.startswith("offlinekit."):
            continue  # Defined by a test or an example.
        for part in (
            ROOT / "algos" / f"{name}.py",
            ROOT / "algos" / "torch" / f"{name}_impl.py",
            REPO / "tests" / "algos" / f"test_{name}.py",
            REPO / "tests" / "mutations" / f"{name}.json",
            REPO / "docs" / "algos" / f"{name}.md",
        ):
            assert part.is_file(), f"{front.__name__} lacks {part.relative_to(REPO)}"


def test_inheritance_of_impls_is_shallow():
    for impl in Impl.known.values():
        if impl.__module__.startswith("offlinekit."):
            depth = [base for base in impl.__mro__ if issubclass(base, Impl)]
            # A paper's "X is Y with one change" may add a class: Cal-QL is CQL with one bound.
            assert len(depth) <= 5, f"{impl.__name__} is {len(depth)} classes deep"


SIDE_EFFECTS = """
import logging, random, sys, warnings
import numpy as np, torch, structlog, gymnasium
def state():
    return (
        torch.random.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(),
        torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(), logging.getLogger().handlers[:], structlog.is_configured(),
        len(gymnasium.registry), warnings.filters[:],
    )
before = state()
import offlinekit, offlinekit.algos, offlinekit.datasets, offlinekit.metrics, offlinekit.training
import offlinekit.testing, offlinekit.cli.main, offlinekit.sweeps
after = state()
for i, (one, other) in enumerate(zip(before, after)):
    assert one == other, (i, one, other)
optional = {"gym", "d4rl", "minari", "pandas", "mujoco", "Box2D", "imageio", "tensorboard", "matplotlib.pyplot"}
optional |= {"cv2", "ale_py", "PIL", "pyarrow", "lz4", "isal", "wandb", "mlflow", "optuna", "ray", "submitit", "yaml"}
assert not optional & set(sys.modules), optional & set(sys.modules)
"""


def test_importing_has_no_side_effects():
    run = subprocess.run([sys.executable, "-c", SIDE_EFFECTS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_no_pickle_and_no_code_from_files():
    forbidden = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    for path in FILES:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not forbidden & {alias.name.split(".")[0] for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in forbidden, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"read_pickle", "unsafe_load", "Unpickler"}, f"{path}: {node.attr}"
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"eval", "exec", "compile", "torch.load", "torch.save", "__import__"}, (
                    f"{path}: {name}"
                )
                if name in {"np.load", "numpy.load"}:
                    flags = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    assert flags.get("allow_pickle") == "False", f"{path}: np.load without allow_pickle=False"
