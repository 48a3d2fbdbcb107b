"""F7: folders of sweeps and evolutions of strangers are refused or gone on with, and nothing beside them is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fault_suite import FULL, Tally

from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset
from offlinekit.testing import small_dataset

JUNK: list[Any] = [None, True, -1, 2**70, 1.5, "", "=1+1", [], {}, [[]], {"name": 3}, "../../x"]
COMMON = ["--algo", "bc", "--steps", "3", "--set", 'encoder={"type": "mlp", "hidden_sizes": [4]}', "--quiet"]
MAKE = {
    "sweep": ["sweep", "--vary", "learning_rate=[0.001,0.01]", "--metric", "action_difference"],
    "evolve": [
        "evolve", "--search", "learning_rate=[0.0003,0.01]", "--fitness", "action_difference", "--population", "2",
        "--generations", "1",
    ],
}  # fmt: skip
RESUME = {
    "sweep": [["sweep", "--resume", "FOLDER", "--quiet"]],
    "evolve": [["evolve", "--resume", "FOLDER", "--quiet"], ["report", "FOLDER", "--out", "OUT"]],
}


def run(words: list[str]) -> Result:
    result = CliRunner().invoke(main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset: MDPDataset = small_dataset("continuous", 8, 5)
    return dataset.save(tmp_path_factory.mktemp("data") / "small.h5")


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind, words in MAKE.items():
        out = tmp_path_factory.mktemp(kind)
        assert run([*words, *COMMON, "--dataset", str(data), "--out", str(out)]).exit_code == 0
        (folders[kind],) = out.iterdir()
    return folders


def gone_on(kind: str, folder: Path, out: Path) -> list[Result]:
    return [
        run([w.replace("FOLDER", str(folder)).replace("OUT", str(out)) for w in words])
        for words in RESUME[kind]
    ]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields where the values of plain data lie, its parts after the whole."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from leaves(part, (*path, name))


def put(file: Path, path: tuple[Any, ...], value: Any) -> None:
    found = json.loads(file.read_text())
    *owners, name = ("root", *path)
    root = target = {"root": found}
    for owner in owners:
        target = target[owner]
    target[name] = value
    file.write_text(json.dumps(root["root"]))


FILES = [
    ("sweep", "plan.json"),
    ("sweep", "trials/000001.json"),
    ("evolve", "command.json"),
    ("evolve", "evolution.json"),
    ("evolve", "result.json"),
]


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_entries_of_other_kinds(
    kind: str, name: str, made: dict[str, Path], tmp_path: Path, tally: Tally
) -> None:
    places = list(leaves(json.loads((made[kind] / name).read_text())))
    cases = [(place, value) for place in places for value in JUNK]
    cases = cases if FULL else cases[:: len(cases) // 5]
    for number, (place, value) in enumerate(cases):
        folder = Path(shutil.copytree(made[kind], tmp_path / str(number)))
        put(folder / name, place, value)
        gone_on(kind, folder, tmp_path / "out")
    tally(len(cases))


OTHER_FILES: dict[str, Callable[[Path], Any]] = {
    "brackets": lambda path: path.write_text("[" * 100_000),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "10 GB of nothing": lambda path: os.truncate(path, 10 << 30),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize(("kind", "name"), [*FILES, ("evolve", "lineage.csv")])
@pytest.mark.parametrize("other", list(OTHER_FILES))
def test_other_files(
    kind: str, name: str, other: str, made: dict[str, Path], tmp_path: Path, tally: Tally
) -> None:
    folder = Path(shutil.copytree(made[kind], tmp_path / "x"))
    OTHER_FILES[other](folder / name)
    gone_on(kind, folder, tmp_path / "out")
    tally(1)


def test_a_trial_names_no_folder_elsewhere(made: dict[str, Path], tmp_path: Path) -> None:
    """A run that is gone on with is written to."""
    folder = Path(shutil.copytree(made["sweep"], tmp_path / "x"))
    mine = Path(shutil.copytree(next((folder / "runs").iterdir()), tmp_path / "mine"))
    before = {path: path.stat().st_mtime_ns for path in mine.rglob("*")}
    for place in (str(mine), "../mine", "runs/../../mine"):
        put(folder / "trials/000001.json", ("state",), "running")
        put(folder / "trials/000001.json", ("runs", 0, "run"), place)
        (result,) = gone_on("sweep", folder, tmp_path / "out")
        assert (
            "000001.json describes no trial of this sweep; remove it to run the trial again" in result.output
        )
    assert {path: path.stat().st_mtime_ns for path in mine.rglob("*")} == before
    shutil.copyfile(folder / "trials/000000.json", folder / "trials/000001.json")
    assert "describes no trial of this sweep" in gone_on("sweep", folder, tmp_path / "out")[0].output
    (folder / "trials/000001.json").unlink()
    assert gone_on("sweep", folder, tmp_path / "out")[0].exit_code == 0


@pytest.mark.parametrize("members", [1, 9_000, 10**12])
def test_a_file_asks_for_no_other_number_of_members(
    members: int, made: dict[str, Path], tmp_path: Path
) -> None:
    """Each takes memory, and each is made before a generation is read."""
    folder = Path(shutil.copytree(made["evolve"], tmp_path / "x"))
    put(folder / "command.json", ("population",), members)
    put(folder / "command.json", ("generations",), 2)
    result = gone_on("evolve", folder, tmp_path / "out")[0]
    assert f"asks for {members} members, and the run has 2" in result.output


def test_what_a_trial_says_is_no_formula(made: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made["sweep"], tmp_path / "x"))
    put(folder / "trials/000001.json", ("runs", 0, "error"), '=HYPERLINK("x")')
    gone_on("sweep", folder, tmp_path / "out")
    assert "'=HYPERLINK" in (folder / "results.csv").read_text()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("sweep", {"plan.json": {"metric": "eval/return_mean"}}),
        ("evolve", {"command.json": {"fitness": "return"}}),
        ("sweep", "{algo: bc, vary: {learning_rate: [0.1]}, metric: eval/return_mean, eval_env: 'trap:X-v0', "),
        ("evolve", "{algo: bc, search: {learning_rate: [0.0003, 0.1]}, fitness: return, eval_env: 'trap:X-v0', "),
    ],
)  # fmt: skip
def test_no_module_is_imported_for_an_environment(
    kind: str, given: Any, made: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    if isinstance(given, str):
        (tmp_path / "x.yaml").write_text(f"{given}dataset: {data}, steps: 3}}")
        result = run([kind, "--config", str(tmp_path / "x.yaml"), "--out", str(tmp_path)])
    else:
        folder = Path(shutil.copytree(made[kind], tmp_path / "x"))
        for name, entries in given.items():
            for entry, value in {**entries, "eval_env": "trap:X-v0"}.items():
                put(folder / name, (entry,), value)
        result = gone_on(kind, folder, tmp_path / "out")[0]
    assert "a file has no module imported" in result.output
    assert not (tmp_path / "pwned").exists()
