"""Who may import whom, how deep folders go, and how many places one addition touches."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import offlinekit
from offlinekit.algos import catalogue
from offlinekit.core.impl import Impl

ROOT = Path(offlinekit.__file__).parent
REPO = ROOT.parent

LINE = (
    *("ground", "envs", "datasets", "sampling", "nn", "training", "core"),
    *("algos", "metrics", "sweeps", "cli"),
)
"""The rooms; each may import those to its left. A file directly in the package is ground, but for `ABOVE`."""

ABOVE = {"__main__", "testing"}
CATALOGUES = {"algos", "algos/torch", "datasets/sources", "metrics/ope", "metrics/evaluators", "cli/commands"}


def room_of(module: str) -> str | None:
    """Returns the room of a module; the package itself opens the door to the algorithms."""
    first = module.split(".")[1] if "." in module else "algos"
    if first in ABOVE:
        return None
    return first if first in LINE else "ground"


def is_face(path: Path) -> bool:
    """Whether a file is an old import path, kept for one release."""
    return "import forward\n" in path.read_text() and path.name != "__init__.py"


def imports(path: Path, deferred: bool = True):
    """Yields the modules of offlinekit that a file imports; type checking does not count.

    Args:
        path: Of the file.
        deferred: Whether what functions import when they are called counts.
    """
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        or (not deferred and isinstance(node, ast.FunctionDef))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "offlinekit")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "offlinekit":
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if is_module(name) else node.module for name in full)


def is_module(name: str) -> bool:
    place = REPO.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or place.is_dir()


FACES = [path for path in sorted(ROOT.rglob("*.py")) if is_face(path)]
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path not in FACES]


def module_of(path: Path) -> str:
    parts = ("offlinekit", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_those_to_its_left(path):
    room = room_of(module_of(path))
    for imported in imports(path) if room else ():
        other = room_of(imported)
        assert other in LINE[: LINE.index(room) + 1], f"{module_of(path)} imports {imported}"
        assert MODULES.get(imported) not in FACES, f"{module_of(path)} imports the old path {imported}"


def test_no_module_imports_itself_by_way_of_others():
    circles, finished = [], set()

    def visit(module, path):
        if module in path:
            circles.append([*path[path.index(module) :], module])
        elif module in MODULES and module not in finished:
            for imported in imports(MODULES[module], deferred=False):
                visit(imported, [*path, module])
            finished.add(module)

    for module in MODULES:
        visit(module, [])
    assert not circles


def test_folders_hold_about_fifteen_files():
    for folder in {path.parent for path in FILES}:
        name = str(folder.relative_to(ROOT))
        n_files = sum(path.parent == folder and path.name != "__init__.py" for path in FILES)
        assert name in CATALOGUES or n_files <= 16, f"{name} holds {n_files} files"


def test_no_file_name_has_two_meanings():
    """A command may be named as what it calls, and a face as what it stands for."""
    places = {}
    for path in FILES:
        if path.name != "__init__.py" and path.parent.name != "commands":
            places.setdefault(path.name, []).append(path.relative_to(ROOT))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", FACES, ids=lambda path: str(path.relative_to(ROOT)))
def test_old_paths_resolve_with_a_warning(path):
    face = importlib.import_module(module_of(path))
    target = importlib.import_module(re.search(r'"(offlinekit\.[\w.]+)"', path.read_text())[1])
    own = [n for n, v in vars(target).items() if getattr(v, "__module__", "") == target.__name__]
    names = getattr(target, "__all__", own)
    assert names
    for name in names:
        with pytest.warns(DeprecationWarning, match=re.escape(target.__name__)):
            assert getattr(face, name) is getattr(target, name)


def test_a_front_imports_its_own_impl_alone():
    for name, front in catalogue().items():
        if not front.__module__.startswith("offlinekit."):
            continue  # Defined by a test or an example.
        path = ROOT / "algos" / f"{name}.py"
        impls = [m for m in imports(path) if m.startswith("offlinekit.algos.torch.") and m.endswith("_impl")]
        assert impls == [f"offlinekit.algos.torch.{name}_impl"], f"{path} imports {impls}"


def test_folders_are_at_most_three_deep():
    assert max(len(path.relative_to(REPO).parts) - 1 for path in FILES) <= 3


def test_files_are_readable_in_one_go():
    """`Algo` may be longer, so that one file has all that users call; its methods hand over in a line or two.

    So may `deploy.py`, so that one file is all that acts on a robot.
    """
    longest = {"core/algo.py": 580, "deploy.py": 580}
    long = {
        name: n
        for path in FILES
        if (n := len(path.read_text().splitlines())) > longest.get(name := str(path.relative_to(ROOT)), 450)
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
    """Impl, a family, an algorithm; a paper's "X is Y with one change" adds a class: Cal-QL is CQL with one bound."""
    for impl in Impl.known.values():
        if impl.__module__.startswith("offlinekit."):
            chain = [base for base in impl.__mro__ if issubclass(base, Impl)]
            algorithms = [base for base in chain if base.__module__.startswith("offlinekit.algos.")]
            assert len(algorithms) <= 3, f"{impl.__name__} changes {len(algorithms) - 1} algorithms"
            assert len(chain) - len(algorithms) <= 3, f"{impl.__name__} is of too many families"


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
optional |= {"cma", "huggingface_hub", "fastapi", "uvicorn", "transformers", "tokenizers"}
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
