"""The lists of mutations do not rot, and the script that runs them tells caught from survived."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from offlinekit.algos import catalogue

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "tests" / "mutations").glob("*.json"))


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts" / "mutate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module
    spec.loader.exec_module(module)
    return module


def test_every_algorithm_has_its_mutations() -> None:
    ours = {name for name, algo in catalogue().items() if algo.__module__.startswith("offlinekit.")}
    assert ours <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mutations_apply_to_the_code_as_it_is(path: Path, mutate: ModuleType) -> None:
    mutations = mutate.load_mutations(path)
    assert len(mutations) >= 6
    assert len({m.what for m in mutations}) == len({(m.file, m.old, m.new) for m in mutations})
    for mutation in mutations:
        text = (ROOT / mutation.file).read_text()
        assert text.count(mutation.old) == 1, mutation.what
        assert mutation.old != mutation.new, mutation.what
        compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")
        assert all((ROOT / tests).is_file() for tests in mutation.tests)


@pytest.mark.parametrize(("old", "new"), [("a", "b"), ("z", "b"), ("b", "b")])
def test_ambiguous_mutations_are_refused(old: str, new: str, mutate: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = a + b\n")
    with pytest.raises(mutate.MutationError, match="must occur once"):
        mutate.Mutation("x", "what", "code.py", old, new).apply(tmp_path)
    assert (tmp_path / "code.py").read_text() == "a = a + b\n"


def test_unknown_keys_are_refused(mutate: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([{"what": "", "file": "", "old": "", "knew": ""}]))
    with pytest.raises(mutate.MutationError, match=r"x\.json must list objects"):
        mutate.load_mutations(tmp_path / "x.json")


def small_project(folder: Path, mutate: ModuleType, package: str = "offlinekit") -> None:
    """Makes a package of one number and a test of it, in the place where the copy would be."""
    for path, text in {
        f"{package}/__init__.py": "NUMBER = 1\nUNTESTED = 1\n",
        "tests/test_small.py": "import offlinekit\ndef test_number():\n    assert offlinekit.NUMBER == 1\n",
        "mutation_guard.py": mutate.GUARD,
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)


def test_caught_and_survived_are_told_apart(mutate: ModuleType, tmp_path: Path) -> None:
    small_project(tmp_path, mutate)
    tests = ["tests/test_small.py"]
    caught = mutate.Mutation("x", "what", "offlinekit/__init__.py", "NUMBER = 1", "NUMBER = 2", tests)
    missed = mutate.Mutation("x", "what", "offlinekit/__init__.py", "UNTESTED = 1", "UNTESTED = 2", tests)
    broken = mutate.Mutation("x", "what", "offlinekit/__init__.py", "NUMBER = 1", "NUMBER = ", tests)
    assert mutate.caught_by(tmp_path, caught) == "test_small.py::test_number"
    assert mutate.caught_by(tmp_path, missed) is None
    with pytest.raises(mutate.MutationError, match="could not be imported"):
        mutate.caught_by(tmp_path, broken)
    assert (tmp_path / "offlinekit" / "__init__.py").read_text() == "NUMBER = 1\nUNTESTED = 1\n"


def test_a_baseline_that_fails_stops_the_run(
    mutate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation = mutate.Mutation("x", "what", "a.py", "a", "b", ["tests/a.py"])
    monkeypatch.setattr(mutate, "run_tests", lambda folder, tests: None)
    mutate.check_baseline(tmp_path, [mutation])
    monkeypatch.setattr(mutate, "run_tests", lambda folder, tests: "a.py::test_a")
    with pytest.raises(mutate.MutationError, match="test_a fails without any mutation"):
        mutate.check_baseline(tmp_path, [mutation])


@pytest.mark.parametrize(("survived", "code"), [(0, 0), (1, 1)])
def test_exit_code_tells_whether_one_survived(
    survived: int, code: int, mutate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutate, "run_all", lambda mutations: survived)
    assert CliRunner().invoke(mutate.main, ["--algo", "dqn"]).exit_code == code


def test_a_run_against_another_package_shows_nothing(mutate: ModuleType, tmp_path: Path) -> None:
    small_project(tmp_path, mutate, package="elsewhere")
    (tmp_path / "tests" / "test_small.py").write_text("import offlinekit\ndef test_nothing():\n    pass\n")
    with pytest.raises(mutate.MutationError, match="the copy was not imported"):
        mutate.run_tests(tmp_path, "tests/test_small.py")
