"""F7: run folders of strangers at every command that reads one: refused by name, and nothing beside them is read."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from fault_suite import FULL, Tally

from offlinekit.algos import BC
from offlinekit.cli.main import main
from offlinekit.errors import FileFormatError
from offlinekit.metrics.reporting.markup import csv_text
from offlinekit.testing import small_dataset
from offlinekit.training import manifest, policy_file, run_config, run_folder

JUNK: list[Any] = [None, True, -1, 2**70, 1.5, "", "=1+1", "<script>", [], {}, [[]], ["a", 1], {"name": 3}]
SECRET = "a secret that lies outside of the folder"
COMMANDS: dict[str, list[str]] = {
    "report": ["report", "RUN", "--out", "OUT"],
    "compare": ["compare", "RUN", "RUN"],
    "plot": ["plot", "RUN", "--y", "actor_loss", "--out", "OUT/x.png"],
    "evaluate": ["evaluate", "RUN", "--episodes", "1"],
    "record": ["record", "RUN", "--out", "OUT/x.mp4", "--episodes", "1"],
    "resume": ["train", "--resume", "RUN", "--quiet"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    algo = BC(seed=0, batch_size=4, encoder={"type": "mlp", "hidden_sizes": [4]})
    algo.fit(
        small_dataset("continuous"), 6, out=tmp_path_factory.mktemp("runs"), log_interval=3, progress=False
    )
    assert algo.run_dir is not None
    (algo.run_dir / "returns.csv").write_text("step,episode,seed,return\n6,0,0,1.0\n")
    return algo.run_dir


def called(folder: Path, out: Path) -> str:
    """Returns all that the commands print and write; none of them may raise but by itself."""
    printed = []
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for name, words in COMMANDS.items():
        given = [word.replace("RUN", str(folder)).replace("OUT", str(out)) for word in words]
        result = CliRunner().invoke(main, given)
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            f"{name}: {result.exception!r}"
        )
        written = [path.read_bytes().decode(errors="replace") for path in out.rglob("*") if path.is_file()]
        printed += [result.output, *written]
    return "\n".join(printed)


def changed(folder: Path, file: str, name: str, value: Any) -> None:
    found = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**found, name: value}))
    manifest.write(folder)


def cases() -> Iterator[tuple[str, str, Any]]:
    for number, value in enumerate(JUNK):
        for entry in list(run_config.CONFIG)[number % 3 :: 3]:
            yield "config.json", entry, value
        yield "system.json", "versions", value
    yield "config.json", "dataset", {"name": "x", "hash": 3}
    yield "config.json", "dataset", {"name": "<img src=x onerror=alert(1)>", "source": "../x"}
    yield "config.json", "algo", '=HYPERLINK("http://x")'


def test_entries_of_other_kinds(run: Path, tmp_path: Path, tally: Tally) -> None:
    n = 0
    for n, (file, name, value) in enumerate(cases(), 1):  # Told at the end.
        folder = tmp_path / str(n)
        shutil.copytree(run, folder)
        changed(folder, file, name, value)
        called(folder, tmp_path / "out")
        pages = [
            path.read_text() for path in (tmp_path / "out").rglob("*") if path.suffix in (".md", ".html")
        ]
        assert not any(tag in page.replace(r"\<", "") for tag in ("<img", "<script>") for page in pages), (
            value
        )
        for table in (tmp_path / "out").rglob("*.csv"):
            assert not any(line.startswith("=") or ",=" in line for line in table.read_text().splitlines())
    tally(n)


FILES: dict[str, Callable[[Path], Any]] = {
    "a table of NULs": lambda folder: (folder / "metrics.csv").write_bytes(b"step,time\n\0,\0\n"),
    "a table of one huge cell": lambda folder: (folder / "metrics.csv").write_text(
        "step,time\n" + "1" * 200_000
    ),
    "a table of other columns": lambda folder: (folder / "metrics.csv").write_text("a,b\n1,2\n"),
    "a table of words": lambda folder: (folder / "metrics.csv").write_text("step,time,actor_loss\nx,y,z\n"),
    "an empty table": lambda folder: (folder / "metrics.csv").write_text(""),
    "episodes of words": lambda folder: (folder / "returns.csv").write_text("step,return\nx,y\n"),
    "short episodes": lambda folder: (folder / "returns.csv").write_text("step,return\n1\n"),
    "a config of brackets": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "a config of bytes": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"),
    "a list as config": lambda folder: (folder / "config.json").write_text("[]"),
    "a folder as config": lambda folder: (
        (folder / "config.json").unlink(),
        (folder / "config.json").mkdir(),
    ),
    "a list as system": lambda folder: (folder / "system.json").write_text("[]"),
    "no JSON as system": lambda folder: (folder / "system.json").write_text("{"),
    "no policy": lambda folder: (folder / "policy.okt").unlink(),
    "a picture as policy": lambda folder: (folder / "policy.okt").write_bytes(b"GIF89a"),
    "a folder as film": lambda folder: (folder / "film.mp4").mkdir(),
    "a folder as table": lambda folder: in_place(folder, "metrics.csv", Path.mkdir),
    "a folder as manifest": lambda folder: in_place(folder, "manifest.json", Path.mkdir),
    "a link to itself": lambda folder: in_place(folder, "metrics.csv", lambda path: path.symlink_to(path)),
    "a table of 10 GB of nothing": lambda folder: os.truncate(folder / "metrics.csv", 10 << 30),
    "a manifest of 10 GB of nothing": lambda folder: os.truncate(folder / "manifest.json", 10 << 30),
    "an integer of many digits": lambda folder: (folder / "config.json").write_text(
        f'{{"seed": {"9" * 10_000}}}'
    ),
    "a manifest of names with ..": lambda folder: (folder / "manifest.json").write_text(
        json.dumps({"format": 1, "files": {"../secret": {"bytes": 9, "sha256": ""}, "/etc/passwd": {}}})
    ),
    **{
        f"a pipe as {name}": lambda folder, name=name: in_place(folder, name, os.mkfifo)  # type: ignore[misc]
        for name in (*manifest.COVERED, manifest.NAME, "returns.csv", "policy.okt", "film.mp4")[
            :: 1 if FULL else 2
        ]
    },
}


def in_place(folder: Path, name: str, make: Callable[[Path], Any]) -> None:
    (folder / name).unlink(missing_ok=True)
    make(folder / name)


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Fails a test that waits for a pipe, which has no end."""

    def late(*_: Any) -> None:
        raise TimeoutError("a command waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


UNLIKE_THEIR_MANIFEST = [(name, True) for name in FILES if FULL or "table" in name or "config" in name]


@pytest.mark.parametrize(("name", "is_listed"), [*((name, False) for name in FILES), *UNLIKE_THEIR_MANIFEST])
def test_other_files(run: Path, tmp_path: Path, name: str, is_listed: bool, tally: Tally) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "x"))
    FILES[name](folder)
    if not is_listed and (folder / "manifest.json").is_file():
        (folder / "manifest.json").unlink()
    called(folder, tmp_path / "out")
    tally(1)


@pytest.mark.parametrize(
    "name", ["config.json", "system.json", "metrics.csv", "returns.csv", "policy.okt", "film.mp4"]
)
def test_links_out_of_the_folder(run: Path, tmp_path: Path, name: str, tally: Tally) -> None:
    import base64

    folder, secret = Path(shutil.copytree(run, tmp_path / "x")), tmp_path / "secret"
    secret.write_text(SECRET)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    (folder / "manifest.json").unlink()
    text = called(folder, tmp_path / "out")
    assert SECRET not in text
    assert base64.b64encode(SECRET.encode()).decode()[:40] not in text
    assert "is a link out of" in text
    tally(1)


def test_a_folder_that_is_a_link_and_links_inside_it_are_read(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "x"))
    (folder / "first.json").write_bytes((folder / "config.json").read_bytes())
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("first.json")
    (tmp_path / "link").symlink_to(folder)
    assert run_folder.read_config(tmp_path / "link")["algo"] == "BC"


def test_no_module_is_imported_for_an_environment(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for entry in ("env_id", "eval_env"):
        folder = Path(shutil.copytree(run, tmp_path / entry))
        changed(folder, "config.json", entry, "trap:X-v0")
        assert "a file has no module imported" in called(folder, tmp_path / "out")
        assert not (tmp_path / "pwned").exists()
        changed(folder, "config.json", entry, "any:CartPole-v1")
        assert run_folder.read_config(folder)[entry] == "CartPole-v1"


@pytest.mark.parametrize(
    "state", [None, [], {}, {"history": [1]}, {"history": [{"step": "x"}]}, {"engine": [], "start": ""}]
)
def test_states_of_runs_of_other_kinds(run: Path, tmp_path: Path, state: Any, tally: Tally) -> None:
    """Checkpoints whose hashes are right."""
    folder = Path(shutil.copytree(run, tmp_path / "x"))
    checkpoint = run_folder.latest_checkpoint(folder)
    header, tensors = policy_file.read(checkpoint, torch.device("cpu"))
    facts = {key: value for key, value in header.items() if key not in ("format", "sha256")}
    given = {**header["run"], **state} if state else state
    policy_file.write(checkpoint, {**facts, "run": given}, tensors)
    algo = BC(seed=0, batch_size=4, encoder={"type": "mlp", "hidden_sizes": [4]})
    with pytest.raises(FileFormatError, match="its header does not describe an algorithm"):
        algo.fit(small_dataset("continuous"), 9, resume=folder, progress=False)
    tally(1)


def test_formulas() -> None:
    assert [csv_text(text) for text in ("=1+1", "+1", "@x", "\tx", "-x", "-2.5", "-", "x=1")] == [
        "'=1+1", "'+1", "'@x", "'\tx", "'-x", "-2.5", "-", "x=1",
    ]  # fmt: skip
