"""Datasets from one kind of file to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from offlinekit.datasets import hdf5, source, storage
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.registry import get_dataset
from offlinekit.errors import FileFormatError, UnsupportedError, did_you_mean
from offlinekit.types import leaves

Writer: TypeAlias = Callable[[MDPDataset, Path], Any]
NATIVE_SUFFIXES = (".h5", ".hdf5")


def convert(
    name: str | Path, out: str | Path, *, format: str | None = None, compress: bool = True, **options: Any
) -> MDPDataset:
    """Writes a dataset, by name or by path, in another format.

    HDF5 is read and written block by block: what is converted may be larger than memory.

    Args:
        name: What `get_dataset` takes.
        out: File, or folder where the format is one of folders.
        format: Name of a format that can be written; None decides by the suffix of `out`.
        compress: Whether our own format is compressed, or plain, for `MDPDataset.open` to map.
        **options: Of the reader.

    Returns:
        The dataset as it was read; its columns may lie in files.

    Raises:
        ValueError: For an unknown format, or a suffix that names none.
        FileExistsError: Where `out` exists.
        OfflineKitError: For data that are wrong, or that the format cannot hold.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} is there already; remove it, or write to another file")
    writer = writer_of(out, format, compress)
    with hdf5.spooled():
        dataset = open_mapped(name, **options)
        writer(dataset, out)
    return dataset


def open_mapped(name: str | Path, **options: Any) -> MDPDataset:
    """Returns a dataset as `get_dataset` does; one of our plain files stays in its file."""
    path = Path(name).expanduser()
    if not options and path.is_file() and hdf5.is_hdf5(path) and storage.is_ours(path):
        try:
            return MDPDataset.open(path)
        except FileFormatError:
            pass  # Compressed, or damaged, which the reader finds again.
    return get_dataset(name, **options)[0]


def writers(compress: bool = True) -> dict[str, Writer]:
    """Returns what writes each format, by the name of the format."""
    found: dict[str, Writer] = {"native": lambda dataset, path: dataset.save(path, compress=compress)}
    found["npz"] = write_npz
    for name, each in source.all_sources().items():
        write = getattr(each, "write", None)
        if write is not None:
            found[name] = write
    return found


def writer_of(out: Path, format: str | None = None, compress: bool = True) -> Writer:
    """Returns what writes a path in a format, or in the one that its suffix names.

    Raises:
        ValueError: Where there is none.
    """
    known = writers(compress)
    if format is not None:
        if format not in known:
            raise ValueError(
                f"format {format!r} cannot be written{did_you_mean(format, known)}; known: {', '.join(known)}"
            )
        return known[format]
    if out.suffix.lower() in NATIVE_SUFFIXES:
        return known["native"]
    by_suffix = [
        name
        for name, each in source.all_sources().items()
        if out.name.lower().endswith(each.suffixes or ("\0",))
    ]
    found = next((known[name] for name in by_suffix if name in known), None)
    if found is None:
        raise ValueError(
            f"the suffix of {out} names no format that can be written; end it in .h5 or .npz, or give "
            f"format=, one of {', '.join(known)}"
        )
    return found


def write_npz(dataset: MDPDataset, path: Path) -> Path:
    """Writes a dataset as a compressed NPZ file of flat columns, which `get_dataset` reads.

    It holds `next_observations` where each is known. Metadata, spaces and masks are left out.

    Raises:
        UnsupportedError: For observations that are trees, or final observations of which only some are known.
    """
    if len(leaves(dataset.observations)) > 1 or isinstance(dataset.observations, dict | tuple):
        raise UnsupportedError("NPZ files hold one array of observations, got a dict or tuple; write .h5")
    columns = {
        name: getattr(dataset, name)
        for name in ("observations", "actions", "rewards", "terminals", "timeouts", "behavior_log_probs")
        if getattr(dataset, name) is not None
    }
    known = dataset.final_known | dataset.terminals[dataset.episode_ends - 1]
    if dataset.final_known.any() and not known.all():
        raise UnsupportedError(
            f"NPZ files hold every next observation or none, got {int(known.sum())} of {len(known)} "
            "episodes whose end was observed; write .h5, which says which"
        )
    if dataset.final_known.any():
        columns["next_observations"] = dataset.next_observations_at(np.arange(len(dataset)))
    with storage.written_beside(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **columns)
    return path
