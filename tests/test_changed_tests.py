"""`make try` finds the tests of what git says has changed, and stops when its time is over."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
FILES = {
    "offlinekit/__init__.py": "",
    "offlinekit/nn/__init__.py": "",
    "offlinekit/nn/losses.py": "",
    "offlinekit/core/far.py": "def later():\n    from offlinekit.nn import losses\n",
    "offlinekit/algos/iql.py": "import offlinekit.core.far\n",
    "offlinekit/algos/torch/iql_impl.py": "",
    "offlinekit/algos/presets/iql.json": "{}",
    "tests/helpers.py": "",
    "tests/nn/test_losses.py": "",
    "tests/nn/test_direct.py": "from offlinekit.nn.losses import expectile_loss\n",
    "tests/core/test_presets.py": "",
    "tests/core/test_indirect.py": "from offlinekit.algos.iql import IQL\n",
    "tests/algos/test_iql.py": "from helpers import close\n",
    "tests/test_pages.py": 'PAGE = "docs/deploy.md"\n',
    "docs/deploy.md": "",
    "Makefile": "",
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import changed_tests

    return changed_tests


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of small files on main, and a branch at the same commit."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    git(tmp_path, "switch", "--quiet", "--create=work")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x")


def test_changed_is_what_was_committed_edited_and_made_since_the_branch_left(
    script: ModuleType, project: Path
) -> None:
    assert script.changed_files(project, "main") == []
    (project / "offlinekit/core/far.py").write_text("")
    commit(project)
    (project / "Makefile").write_text("help:\n")
    (project / "new file.py").write_text("")
    changed = ["Makefile", "new file.py", "offlinekit/core/far.py"]
    assert script.changed_files(project, "main") == changed
    git(project, "switch", "--quiet", "main", "--merge")  # What came to main meanwhile is no change of ours.
    (project / "offlinekit/algos/iql.py").write_text("")
    commit(project)
    git(project, "switch", "--quiet", "work")
    assert script.changed_files(project, "main") == ["offlinekit/core/far.py"]
    assert script.changed_files(project, "no-such-branch") == []


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("offlinekit/nn/losses.py", ["nn/test_losses", "nn/test_direct", "core/test_indirect"]),
        ("offlinekit/core/far.py", ["core/test_indirect"]),
        ("offlinekit/algos/torch/iql_impl.py", ["algos/test_iql"]),
        ("offlinekit/algos/iql.py", ["algos/test_iql", "core/test_indirect"]),
        ("offlinekit/algos/presets/iql.json", ["algos/test_iql", "core/test_presets"]),
        ("tests/helpers.py", ["algos/test_iql"]),
        ("tests/nn/test_direct.py", ["nn/test_direct"]),
        ("docs/deploy.md", ["test_pages"]),
        ("Makefile", []),
        ("offlinekit/gone.py", []),
    ],
)
def test_tests_are_found_by_name_then_by_imports(
    changed: str, tests: list[str], script: ModuleType, project: Path
) -> None:
    assert script.nearest_tests(project, [changed]) == [f"tests/{test}.py" for test in tests]


def test_the_rules_run_before_tests_of_other_names(script: ModuleType) -> None:
    """A new algorithm changes `algos/__init__.py`, which the tests of all others import."""
    changed = ["offlinekit/algos/__init__.py", "offlinekit/algos/iql.py", "docs/algos/iql.md"]
    tests = ["tests/algos/test_iql.py", "tests/algos/test_awac.py"]
    rules = [script.CONFORMANCE, script.ALWAYS]
    assert script.in_order(tests, changed, rules) == [tests[0], *rules, tests[1]]


def test_only_the_contracts_of_changed_algorithms_are_checked(script: ModuleType) -> None:
    ids = ("test_conformance.py::test_contract[check_shapes-", "test_iql.py::test_loss[")
    items = [
        SimpleNamespace(nodeid=f"tests/{place}{algo}-mean]", name=f"{place.split('::')[1]}{algo}-mean]")
        for place in ids
        for algo in ("iql", "discrete_iql", "bc")
    ]
    script.Budget(1.0, {"iql"}).pytest_collection_modifyitems(items)
    assert [item.nodeid[6:] for item in items] == [
        f"{ids[0]}iql-mean]",
        *(f"{ids[1]}{algo}-mean]" for algo in ("iql", "discrete_iql", "bc")),
    ]


def test_no_test_starts_when_the_time_is_over(script: ModuleType) -> None:
    assert script.Budget(60.0, set()).pytest_runtest_protocol() is None
    over = script.Budget(-1.0, set())
    assert over.pytest_runtest_protocol() is True
    assert over.n_left == 1


@pytest.mark.parametrize("changed", [["offlinekit/algos/iql.py"], []])
def test_what_runs_is_printed(
    changed: list[str], script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    monkeypatch.setattr(script, "changed_files", lambda root, base: changed)
    monkeypatch.setattr(pytest, "main", lambda arguments, plugins: runs.append(arguments) or 1)
    result = CliRunner().invoke(script.main, ["--most", "1"])
    if not changed:
        assert (result.exit_code, runs, result.output) == (0, [], "Nothing has changed since main.\n")
        return
    assert result.exit_code == 1
    tests = ["algos/test_iql.py", "test_conformance.py", "test_architecture.py"]
    assert runs == [["-m", "not slow", *(str(ROOT / "tests" / test) for test in tests)]]
    assert "Files changed since main: 1. Running:\n  tests/algos/test_iql.py\n" in result.output
    assert "left to `make fast`" in result.output
