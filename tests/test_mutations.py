"""The lists of mutations do not rot, and the scripts that run them tell caught from survived."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import forked_tests
import mutate
import pytest
from click.testing import CliRunner
from mutation import Mutation, MutationError, Package, load_mutations

from offlinekit.algos import catalogue

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "tests" / "mutations").glob("*.json"))


@pytest.fixture
def package() -> Package:
    return mutate.read_package(ROOT)


def test_every_algorithm_has_its_mutations() -> None:
    ours = {name for name, algo in catalogue().items() if algo.__module__.startswith("offlinekit.")}
    assert ours <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mutations_apply_to_the_code_as_it_is(path: Path, package: Package) -> None:
    mutations = load_mutations(path)
    assert len(mutations) >= 6
    for mutation in mutations:
        file, source = mutation.apply(package)
        compile(source, file, "exec")
        assert all((ROOT / tests).is_file() for tests in mutation.tests)
    assert len({m.what for m in mutations}) == len({(m.place, m.change, m.to, m.nth) for m in mutations})


CODE = '''
LIMIT = 2

class Impl(Base, Mixin):
    """A class."""

    rate: float = 0.5

    @no_grad()
    def loss(self, batch):
        # A comment, and a layout of its own.
        values, _ = self.q.values(
            batch.observations,
        )
        log("values")
        return -(values.mean(0) + values.sum(0)).mean(1)

def loss(batch):
    return a if batch else b
'''


def small_package(folder: Path, **modules: str) -> Package:
    for name, text in modules.items():
        (folder / "offlinekit").mkdir(exist_ok=True)
        (folder / "offlinekit" / f"{name}.py").write_text(text)
    return Package(folder)


def mutated(folder: Path, place: str, change: str, to: str, nth: int = 0) -> str:
    _, source = Mutation("x", "what", place, change, to, nth).apply(small_package(folder, one=CODE))
    (line,) = set(source.splitlines()) - set(ast.unparse(ast.parse(CODE)).splitlines())
    return line.strip()


@pytest.mark.parametrize(
    ("place", "change", "to", "line"),
    [
        ("LIMIT", "2", "3", "LIMIT = 3"),
        ("one:", "LIMIT = 2", "LIMIT = 3", "LIMIT = 3"),
        ("Impl.rate", "0.5", "1.0", "rate: float = 1.0"),
        ("Impl", "Mixin", "", "class Impl(Base):"),
        ("Impl.loss", "no_grad()", "grad()", "@grad()"),
        ("Impl.loss", 'log("values")', "pass", "pass"),
        ("Impl.loss", "batch.observations", "", "values, _ = self.q.values()"),
        ("Impl.loss", "values, _ = _1", "values = _1", "values = self.q.values(batch.observations)"),
        ("Impl.loss", "_.sum(0)", "_.amax(0)", "return -(values.mean(0) + values.amax(0)).mean(1)"),
        ("Impl.loss", "_1 + _2", "_2 - _1", "return -(values.sum(0) - values.mean(0)).mean(1)"),
        ("Impl.loss", "-_", "_", "return (values.mean(0) + values.sum(0)).mean(1)"),
        ("one:loss", "a if _ else b", "b if _ else a", "return b if batch else a"),
    ],
)
def test_a_mutation_changes_what_it_says(place: str, change: str, to: str, line: str, tmp_path: Path) -> None:
    assert mutated(tmp_path, place, change, to) == line


def test_nth_counts_in_the_order_of_the_source(tmp_path: Path) -> None:
    assert mutated(tmp_path, "Impl.loss", "_.mean", "_.sum", 1).endswith(
        "(values.mean(0) + values.sum(0)).sum(1)"
    )
    assert (
        mutated(tmp_path, "Impl.loss", "values", "other", 2)
        == "return -(values.mean(0) + other.sum(0)).mean(1)"
    )


@pytest.mark.parametrize(
    ("place", "change", "to", "nth", "message"),
    [
        ("loss", "a", "b", 0, r"loss is ambiguous: offlinekit\.one:loss, offlinekit\.two:loss"),
        ("three:loss", "a", "b", 0, r"no three:loss; nearest: offlinekit\.one:loss, offlinekit\.two:loss"),
        ("Imp.loss", "-_", "_", 0, r"no Imp\.loss; nearest: Impl\.loss, .*; found in .*:Impl\.loss"),
        ("Impl.loss", "values", "other", 0, r"'values' 2 times; say more of it, or nth"),
        ("Impl.loss", "values", "other", 3, r"'values' 2 times"),
        ("LIMIT", "2", "3", 1, r"'2' 1 times"),
        ("Impl.loss", "values.mean(1)", "0", 0, r"nearest in it: values\.mean\(0\); found nowhere"),
        ("Impl.loss", "a if batch else b", "a", 0, r"found in offlinekit\.one:loss"),
        ("Impl.loss", "-_", "", 0, "cannot be left out"),
        ("Impl.loss", "-_", "_1", 0, "_1 stands for nothing"),
        ("LIMIT", "2", "2 # Two.", 0, "'2' stays what it is"),
        ("LIMIT", "2", "2 +", 0, "is no Python"),
    ],
)
def test_what_cannot_be_made_is_explained(
    place: str, change: str, to: str, nth: int, message: str, tmp_path: Path
) -> None:
    package = small_package(tmp_path, one=CODE, two="def loss(batch):\n    return 0\n")
    with pytest.raises(MutationError, match=f"x: what: .*{message}"):
        Mutation("x", "what", place, change, to, nth).apply(package)


@pytest.mark.parametrize("change", [{"knew": ""}, {"to": ["a"], "new": "b"}])
def test_unknown_keys_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    row = {"what": "", "in": "f", "change": "a", "to": "b", **change}
    (tmp_path / "x.json").write_text(json.dumps([row]))
    with pytest.raises(MutationError, match=r"x\.json must list objects"):
        load_mutations(tmp_path / "x.json")


@pytest.fixture
def small_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two numbers and a test of one, which no fork has imported."""
    for path, text in {
        "offlinekit/__init__.py": "NUMBER = 1\nUNTESTED = 1\n",
        "tests/test_small.py": "import offlinekit\ndef test_number():\n    assert offlinekit.NUMBER == 1\n",
        "tests/test_endless.py": "import offlinekit, time\ndef test_number():\n    time.sleep(600)\n",
        "tests/test_elsewhere.py": "def test_nothing():\n    pass\n",
    }.items():
        (tmp_path / "base" / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "base" / path).write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "offlinekit"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "base"


@pytest.mark.parametrize(
    ("change", "to", "outcome"),
    [
        ("NUMBER = 1", "NUMBER = 2", "test_small.py::test_number"),
        ("UNTESTED = 1", "UNTESTED = 2", "SURVIVED"),
        (
            "UNTESTED = 1",
            "UNTESTED = 1 / 0",
            "UNANSWERED tests/test_small.py: the tests could not be imported",
        ),
    ],
)
def test_caught_and_survived_are_told_apart(change: str, to: str, outcome: str, small_project: Path) -> None:
    mutation = Mutation("x", "what", "offlinekit:", change, to, tests=["tests/test_small.py"])
    found = mutate.judge(small_project, {"tests/test_small.py": 60.0}, mutation)
    assert str(found).splitlines()[0].removesuffix(":") == outcome
    (copy,) = small_project.parent.glob("copy-*")
    assert (copy / "offlinekit" / "__init__.py").read_text() == "NUMBER = 1\nUNTESTED = 1\n"


def test_tests_without_an_end_are_stopped(small_project: Path) -> None:
    assert "no end after 3 s" in str(forked_tests.run_tests(small_project, "tests/test_endless.py", 3.0))


def test_a_run_against_another_package_shows_nothing(small_project: Path) -> None:
    with pytest.raises(MutationError, match="the copy was not imported"):
        forked_tests.run_tests(small_project, "tests/test_elsewhere.py")


def test_tests_that_fail_without_a_mutation_show_nothing(small_project: Path) -> None:
    tests = "tests/test_small.py"
    assert float(mutate.limit_of(small_project, tests)) > 60.0
    (small_project / "offlinekit" / "__init__.py").write_text("NUMBER = 2\n")
    limit = mutate.limit_of(small_project, tests)
    assert limit == "test_small.py::test_number fails without any mutation; mend it first"
    mutation = Mutation("x", "what", "offlinekit:", "NUMBER = 2", "NUMBER = 3", tests=[tests])
    mutate.read_package.cache_clear()
    assert mutate.judge(small_project, {tests: limit}, mutation) == mutate.Outcome("unanswered", limit)


@pytest.mark.parametrize(
    ("verdicts", "code"), [("caught caught", 0), ("caught survived", 1), ("unanswered caught", 1)]
)
def test_exit_code_tells_whether_all_were_caught(
    verdicts: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutate, "run_all", lambda mutations, jobs: map(mutate.Outcome, verdicts.split()))
    assert CliRunner().invoke(mutate.main, ["--algo", "dqn", "--sample", "2"]).exit_code == code


def test_check_lists_all_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"what": what, "in": "Nowhere", "change": "a", "to": "b"} for what in ("one", "two")]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    monkeypatch.setattr(mutate, "MUTATIONS", tmp_path)
    result = CliRunner().invoke(mutate.main, ["--check"])
    assert result.exit_code == 1
    assert "2 of 2 mutations cannot be made" in result.output
    assert "x: one: no Nowhere" in result.output
    assert "x: two: no Nowhere" in result.output
