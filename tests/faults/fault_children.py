"""Work of the suite's child processes; functions alone, so that a fork server can have them ready."""

from __future__ import annotations

import fcntl
import functools
import io
import json
import os
import signal
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import offlinekit.io
from offlinekit.algos import IQL, DecisionTransformer, DiscreteCQL, Population, TD3PlusBC
from offlinekit.cli.main import main as command_line
from offlinekit.core.populations import population  # noqa: F401  # Here, so that children need not.
from offlinekit.datasets import MDPDataset, download
from offlinekit.datasets.families.d3rlpy_export import export_d3rlpy
from offlinekit.datasets.families.minari_export import export_minari
from offlinekit.datasets.fingerprint import fingerprint as fingerprint_of
from offlinekit.datasets.formats import hdf5_writing
from offlinekit.testing import small_dataset
from offlinekit.training import interrupts, policy_file, run_folder
from offlinekit.training.setup.resuming import resume

torch.set_num_threads(1)

MLP = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 1}
ALGOS: dict[str, Callable[[], Any]] = {
    "td3_plus_bc": lambda: TD3PlusBC(**MLP),
    "iql": lambda: IQL(**MLP, observation_scaler="standard", lr_schedule="cosine"),
    "discrete_cql": lambda: DiscreteCQL(**MLP, n_step=3),
    "decision_transformer": lambda: DecisionTransformer(
        context=4, batch_size=8, n_layers=1, n_heads=1, width=8, max_timestep=25, warmup_steps=9, seed=1
    ),
    "population": lambda: Population([TD3PlusBC(**MLP), TD3PlusBC(**MLP | {"seed": 2}, alpha=1.0)]),
}


def train(name: str, out: Path, n_steps: int, **settings: Any) -> Any:
    """Trains, going on with what is there."""
    algo = ALGOS[name]()
    kind = getattr(algo, "action_kind", "continuous")
    settings = {"checkpoint_interval": 15, "log_interval": 10, "eval_interval": 10**6, **settings}
    return algo.fit(small_dataset(kind), n_steps, out=out, resume="auto", progress=False, **settings)


def train_and_exit(name: str, out: Path, n_steps: int) -> None:
    train(name, out, n_steps)


def fingerprint(out: Path) -> list[Any]:
    """Returns hash and history of the finished runs in a folder."""
    found = []
    for run in sorted(out.iterdir(), key=lambda run: run_folder.read_config(run)["seed"]):
        header, _ = policy_file.read(run_folder.latest_checkpoint(run), torch.device("cpu"))
        policy, _ = policy_file.read(run / "policy.okt", torch.device("cpu"))
        assert policy["sha256"] == header["sha256"]
        rows = [{k: v for k, v in row.items() if k != "time"} for row in header["run"]["history"]]
        found.append([header["sha256"], rows])
    return found


# F2: a process that dies at a named point of saving.


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def half_written(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        os.fsync(file.fileno())
    die()


def once_done(owner: Any, name: str) -> None:
    """Dies after the first call of a function."""
    whole = getattr(owner, name)

    def wrapped(*arguments: Any, **given: Any) -> Any:
        whole(*arguments, **given)
        die()

    setattr(owner, name, wrapped)


POINTS: dict[str, Callable[[], None]] = {
    "before the temporary file": lambda: setattr(offlinekit.io.tempfile, "mkstemp", die),
    "temporary file empty": lambda: setattr(Path, "write_bytes", die),
    "half of the bytes written": lambda: setattr(Path, "write_bytes", half_written),
    "all bytes written, not synced": lambda: once_done(Path, "write_bytes"),
    "synced, without its name": lambda: setattr(Path, "replace", die),
    "named, the folder not synced": lambda: setattr(offlinekit.io, "sync_folder", die),
    "durable, nothing pruned": lambda: setattr(run_folder, "prune", die),
    "half pruned": lambda: once_done(Path, "unlink"),
}


def new_run() -> dict[str, Any]:
    """Returns the state of a run that has taken no update."""
    return {"start": 0, "elapsed": 0.0, "history": [], "engine": {}}


def crash_while_saving(run: Path, point: str, step: int) -> None:
    """Takes a run on to `step` and dies at a point of saving its checkpoint."""
    algo, state = ALGOS["iql"](), new_run()
    if run_folder.checkpoints(run):
        resume(algo, run)
    algo.build(small_dataset("continuous"))
    algo.impl.grad_step = step
    if point == "half pruned":  # Saving itself removes its temporary file, so the trap is set after it.
        algo.save(run_folder.checkpoint_path(run, step), run=state)
        POINTS[point]()
    else:
        POINTS[point]()
        algo.save(run_folder.checkpoint_path(run, step), run=state)
    run_folder.prune(run, 2, step)


def save_checkpoints(run: Path, steps: list[int]) -> None:
    algo = ALGOS["iql"]()
    (run / "checkpoints").mkdir(parents=True)
    for step in steps:
        algo.build(small_dataset("continuous")).impl.grad_step = step
        algo.save(run_folder.checkpoint_path(run, step), run=new_run())


# F3: the command line, which notes at which update a signal came.


def command(arguments: list[str], notes: Path | None = None, output: Path | None = None) -> None:
    """Runs the command line; writes to `notes` the update at which each signal came."""
    if notes is not None:
        note = interrupts._note

        def noted(number: int, frame: Any) -> None:
            notes.write_text(str(interrupts._WAITING[number][0].algo.grad_step))
            note(number, frame)

        interrupts._note = noted
    with (output or Path(os.devnull)).open("w") as file:
        os.dup2(file.fileno(), 2)
        os.dup2(file.fileno(), 1)
        command_line(arguments, prog_name="offlinekit")


# F4, F5, F7, F8: calls whose outcome is told as JSON.


def outcome_of(call: Callable[[], Any]) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception as error:
            named = [kind.__name__ for kind in type(error).__mro__]
            return {"error": type(error).__name__, "of": named, "message": str(error)}
    return {"error": None}


WRITERS: dict[str, Callable[[Path], Any]] = {
    "policy": lambda folder: offlinekit.load(folder / "policy.okt").save(folder / "policy.okt"),
    "dataset": lambda folder: small_dataset("continuous", 40, 100).save(folder / "dataset.h5"),
    "plain dataset": lambda folder: small_dataset("continuous", 40, 100).save(
        folder / "dataset.h5", compress=False
    ),
    "run": lambda folder: train("iql", folder, 20),
    "d3rlpy": lambda folder: export_d3rlpy(small_dataset("continuous", 40, 100), folder / "d3rlpy.h5"),
    "minari": lambda folder: export_minari(small_dataset("continuous", 40, 100), folder / "minari-v0"),
}


def try_to_write(told: Path, writer: str, folder: Path, limit: int | None = None) -> None:
    """Writes and tells what came of it; with a limit the system refuses files of more bytes."""
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    found = outcome_of(lambda: WRITERS[writer](folder))
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    told.write_text(json.dumps(found))


def make_policy(path: Path) -> None:
    TD3PlusBC(**MLP).fit(small_dataset("continuous"), 3, out=None, progress=False).save(path)


SHUT_DOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: from then on the filesystem answers everything with EIO.


def break_while_writing(told: Path, writer: str, folder: Path, offset: int) -> None:
    """Writes to an ext4 that breaks once so many bytes of the file are written."""
    handle, before = os.open(folder, os.O_RDONLY), 0

    def write(file: Any, data: Any, whole: Callable[..., int]) -> int:
        nonlocal before
        rest = memoryview(data).cast("B")
        if before <= offset < before + len(rest):
            whole(file, rest[: offset - before])
            fcntl.ioctl(handle, SHUT_DOWN, struct.pack("I", 2))
            before = 1 << 40
            return whole(file, rest)
        before += len(rest)
        return whole(file, rest)

    def write_bytes(path: Path, content: bytes) -> None:
        with io.FileIO(path, "w") as file:
            write(file, content, io.FileIO.write)

    sink_write = hdf5_writing._Sink.write
    hdf5_writing._Sink.write = lambda file, data: write(file, data, sink_write)  # type: ignore[method-assign]
    Path.write_bytes = write_bytes  # type: ignore[method-assign,assignment]
    found = outcome_of(lambda: WRITERS[writer](folder))
    with told.open("w") as file:
        json.dump(found, file)


# F10: many at once.


def make_runs(told: Path, root: Path, n: int, moment: float) -> None:
    import time

    time.sleep(max(0.0, moment - time.time()))
    names = [run_folder.create(root, "IQL", "small").name for _ in range(n)]
    told.write_text(json.dumps(names))


def fetch(told: Path, url: str, path: Path, **options: Any) -> None:
    os.environ["no_proxy"] = "127.0.0.1"
    found = outcome_of(lambda: download.download(url, path, pause=0.01, timeout=5.0, **options))
    told.write_text(json.dumps(found))


def read_again_and_again(told: Path, path: Path, n: int) -> None:
    """Reads a dataset n times; tells what each reading gave."""
    found: list[str] = []
    once = functools.partial(_note_reading, path, found)
    found += [error for _ in range(n) if (error := outcome_of(once)["error"])]
    told.write_text(json.dumps(found))


def _note_reading(path: Path, found: list[str]) -> None:
    found.append(fingerprint_of(MDPDataset.load(path)))
