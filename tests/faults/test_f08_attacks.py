"""F8: files that would run code, write or read outside, or fill the memory; nothing of it happens."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import offlinekit
from offlinekit.algos import BC
from offlinekit.cli.main import main
from offlinekit.datasets import get_dataset
from offlinekit.errors import OfflineKitError
from offlinekit.io import read_yaml
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pickled(folder: Path, canary: Path) -> Any:
    return offlinekit.load(written(folder / "x.okt", pickle.dumps(Payload(canary))))


def dilled(folder: Path, canary: Path) -> Any:
    opcodes = b"\x80\x04cdill._dill\n_create_function\n(c" + pickle.dumps(Payload(canary))
    return get_dataset(written(folder / "x.h5", opcodes))


def torch_zip(folder: Path, canary: Path) -> Any:
    torch.save(Payload(canary), folder / "x.okt")
    return offlinekit.load(folder / "x.okt")


def object_array(folder: Path, canary: Path) -> Any:
    columns = {name: np.zeros((2, 1)) for name in ("observations", "actions", "terminals")}
    np.savez(folder / "x.npz", **columns, rewards=np.array([Payload(canary)] * 2, object))
    return get_dataset(folder / "x.npz")


def object_column(folder: Path, canary: Path) -> Any:
    with h5py.File(folder / "x.h5", "w") as file:
        for name in ("observations", "actions", "terminals"):
            file[name] = np.zeros((2, 1))
        column = file.create_dataset("rewards", (2,), h5py.vlen_dtype(np.uint8))
        column[0] = np.frombuffer(pickle.dumps(Payload(canary)), np.uint8)
    return get_dataset(folder / "x.h5")


def env_spec(folder: Path, canary: Path) -> Any:
    spec = {"id": "X-v0", "entry_point": "os:system", "kwargs": {"command": f"touch {canary}"}}
    facts = {"total_episodes": 1, "env_spec": json.dumps(spec), "data_format": "hdf5"}
    box = {"type": "Box", "dtype": "float32", "shape": [1], "low": [-9.0], "high": [9.0]}
    facts |= {f"{kind}_space": json.dumps(box) for kind in ("observation", "action")}
    written(folder / "x" / "data" / "metadata.json", json.dumps(facts).encode())
    with h5py.File(folder / "x" / "data" / "main_data.hdf5", "w") as file:
        for name, n in {"observations": 3, "actions": 2, "rewards": 2}.items():
            file[f"episode_0/{name}"] = np.zeros((n, 1) if name != "rewards" else n, np.float32)
        file["episode_0/terminations"] = file["episode_0/truncations"] = np.array([0, 1])
    return get_dataset(folder / "x")


def env_module(folder: Path, canary: Path) -> Any:
    written(folder / "trap.py", f"open({str(canary)!r}, 'w')".encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        path = (
            small_dataset("continuous").with_options(metadata={"env_id": "trap:X-v0"}).save(folder / "x.h5")
        )
        with pytest.warns(UserWarning, match="a file has no module imported"):
            dataset, env = get_dataset(path)
    assert env is None
    return dataset


def yaml_tag(folder: Path, canary: Path) -> Any:
    text = f'!!python/object/apply:os.system ["touch {canary}"]'
    written(folder / "run" / "config.json", text.encode())
    result = CliRunner().invoke(main, ["train", "--resume", str(folder / "run")])
    assert result.exit_code != 0
    raise OfflineKitError(result.output.strip().splitlines()[-1])


def zip_slip(folder: Path, canary: Path) -> Any:
    with zipfile.ZipFile(folder / "x.zip", "w") as file:
        file.writestr(f"../{canary.name}", "{}")
        file.writestr(str(canary), "{}")
    return get_dataset(folder / "x.zip")


def tar_slip(folder: Path, canary: Path) -> Any:
    with tarfile.open(folder / "x.tar", "w") as file:
        entry = tarfile.TarInfo(f"../{canary.name}")
        file.addfile(entry, io.BytesIO(b""))
    return get_dataset(folder / "x.tar")


def symlink(folder: Path, canary: Path) -> Any:
    """A policy that is a link to a file of somebody else: writing replaces the link."""
    canary.parent.joinpath("secret").write_text("secret")
    (folder / "x.okt").symlink_to(canary.parent / "secret")
    BC(batch_size=4, encoder={"type": "mlp", "hidden_sizes": [4]}).fit(
        small_dataset("continuous"), 1, out=None, progress=False
    ).save(folder / "x.okt")
    assert canary.parent.joinpath("secret").read_text() == "secret"
    return offlinekit.load(folder / "x.okt")


def in_hdf5(put: Callable[[Any, Path], None]) -> Callable[[Path, Path], Any]:
    def read(folder: Path, canary: Path) -> Any:
        written(canary.parent / "secret", np.arange(2, dtype=np.float32).tobytes())
        with h5py.File(folder / "x.h5", "w") as file:
            for name in ("observations", "actions", "terminals"):
                file[name] = np.zeros((2, 1))
            put(file, canary.parent / "secret")
        return get_dataset(folder / "x.h5")

    return read


def virtual(file: Any, secret: Path) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", shape=(2,))
    file.create_virtual_dataset("rewards", layout)


def forged(**changes: Any) -> Callable[[Path, Path], Any]:
    """A policy whose hashes are right and whose words name code."""

    def load(folder: Path, canary: Path) -> Any:
        algo = BC(batch_size=4, encoder={"type": "mlp", "hidden_sizes": [4]})
        algo.fit(small_dataset("continuous"), 1, out=None, progress=False).save(folder / "x.okt")
        header, tensors = policy_file.read(folder / "x.okt", torch.device("cpu"))
        config = {**header["config"], **changes.pop("config", {})}
        header = {k: v for k, v in header.items() if k not in ("format", "sha256")}
        policy_file.write(folder / "x.okt", {**header, "config": config, **changes}, tensors)
        return offlinekit.load(folder / "x.okt")

    return load


def minari_outside(folder: Path, canary: Path) -> Any:
    """A sound dataset lies outside of Minari's folder, one step up."""
    facts = {"total_episodes": 1, "data_format": "hdf5", "observation_space": "{}", "action_space": "{}"}
    written(folder / "outside-v0" / "data" / "metadata.json", json.dumps(facts).encode())
    written(folder / "outside-v0" / "data" / "main_data.hdf5", b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "root"))
        return get_dataset("minari/../outside-v0")


def header_bomb(folder: Path, canary: Path) -> Any:
    save_file({"x": torch.zeros(1)}, str(folder / "x.okt"), metadata={"offlinekit": "[" * 100_000})
    return offlinekit.load(folder / "x.okt")


def tensors_header(**changes: Any) -> Callable[[Path, Path], Any]:
    """A safetensors file whose header says other things of its one tensor than are true."""

    def load(folder: Path, canary: Path) -> Any:
        facts = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}
        text = json.dumps({"__metadata__": {"offlinekit": "{}"}, "x": facts, "y": facts}).encode()
        return offlinekit.load(written(folder / "x.okt", len(text).to_bytes(8, "little") + text + bytes(4)))

    return load


def header_of_any_length(folder: Path, canary: Path) -> Any:
    return offlinekit.load(written(folder / "x.okt", (2**63 - 1).to_bytes(8, "little") + b"{}" + bytes(100)))


def yaml_aliases(folder: Path, canary: Path) -> Any:
    """Nine lists of ten of the one before: a billion words."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    return read_yaml(written(folder / "x.yaml", "\n".join(lines).encode()))


def policy_pipe(folder: Path, canary: Path) -> Any:
    os.mkfifo(folder / "x.okt")
    return offlinekit.load(folder / "x.okt")


ATTACKS: dict[str, tuple[Callable[[Path, Path], Any], str | None]] = {
    "a pickle for a policy": (pickled, "it is a pickle, which can run code and is never read"),
    "dill for a dataset": (dilled, "is not HDF5|no reader recognises"),
    "torch.save for a policy": (torch_zip, "those hold pickles, which are never read"),
    "objects in an NPZ": (object_array, "holds objects, which are never read"),
    "objects in HDF5": (object_column, "objects are never read|expected numbers"),
    "env_spec with entry_point os:system": (env_spec, "gymnasium cannot make 'X-v0'"),
    "env_id with a module": (env_module, None),
    "YAML tags for a config": (yaml_tag, "is not JSON"),
    "a zip with ../": (zip_slip, "."),
    "a tar with ../": (tar_slip, "no reader recognises"),
    "a link to a file of others": (symlink, None),
    "HDF5 external link": (
        in_hdf5(lambda file, secret: file.__setitem__("rewards", h5py.ExternalLink(str(secret), "/x"))),
        "as a ExternalLink, expected data in the file",
    ),
    "HDF5 soft link": (
        in_hdf5(lambda file, _: file.__setitem__("rewards", h5py.SoftLink("/terminals"))),
        "as a SoftLink",
    ),
    "HDF5 external storage": (
        in_hdf5(
            lambda file, secret: file.create_dataset("rewards", (2,), "f4", external=[(str(secret), 0, 8)])
        ),
        "lies in another file",
    ),
    "HDF5 virtual": (in_hdf5(virtual), "lies in another file"),
    "HDF5 bomb": (
        in_hdf5(lambda file, _: file.create_dataset("rewards", (10**12,), "f4", chunks=(64,))),
        "claims shape .* but its data were never written",
    ),
    "dataset id with ../": (minari_outside, "there is no (Minari )?dataset"),
    "impl os.system": (forged(impl="os.system"), "needs the impl_class 'os.system'"),
    "algorithm by a dotted path": (forged(algo="os.system"), "needs the algorithm 'os.system'"),
    "encoder by a dotted path": (forged(config={"encoder": {"type": "os.system"}}), "does not take"),
    "networks of 8 TB": (
        forged(config={"encoder": {"type": "mlp", "hidden_sizes": [10**6] * 2}}),
        "larger than the tensors it holds|can't allocate memory",
    ),
    "networks of 36 MB": (
        forged(config={"encoder": {"type": "mlp", "hidden_sizes": [3000] * 2}}),
        "larger than the tensors it holds",
    ),
    "a header of brackets": (header_bomb, "header is no JSON"),
    "words for a number of updates": (forged(grad_step="x"), "does not describe an algorithm"),
    "a negative end of schedules": (forged(horizon=-1), "does not describe an algorithm"),
    "a header of 2^63 bytes": (header_of_any_length, "is no policy file of offlinekit"),
    "a tensor of 2^62 numbers": (tensors_header(shape=[2**31, 2**31]), "is no policy file of offlinekit"),
    "a tensor before the file": (tensors_header(data_offsets=[-4, 0]), "is no policy file of offlinekit"),
    "a tensor behind the file": (
        tensors_header(data_offsets=[2**60, 2**60 + 4]),
        "is no policy file of offlinekit",
    ),
    "two tensors in one place": (tensors_header(), "is no policy file of offlinekit"),
    "a pipe for a policy": (policy_pipe, "there is no policy file"),
    "YAML aliases for a sweep": (yaml_aliases, r"has YAML aliases \(\*name\)"),
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_attack(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attack, message = ATTACKS[name]
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    said = "read as data; nothing was run"
    if message is None:
        attack(folder, outside / "pwned")
    else:
        with pytest.raises((OfflineKitError, FileNotFoundError, ValueError), match=message) as raised:
            attack(folder, outside / "pwned")
        said = f"{raised.type.__name__}: {raised.value}"
    print(f"\n| {name} | {' '.join(said.replace(str(tmp_path), '').split())[:220]} |")
    assert not (outside / "pwned").exists()
    assert {path.name for path in outside.iterdir()} <= {"secret"}
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "outside"}
