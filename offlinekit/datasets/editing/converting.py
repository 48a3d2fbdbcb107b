"""Datasets from one kind of file to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from offlinekit.datasets import source, storage
from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.registry import get_dataset
from offlinekit.errors import FileFormatError, did_you_mean

Writer: TypeAlias = Callable[[MDPDataset, Path], Any]
NATIVE_SUFFIXES = (".h5", ".hdf5")


def convert(
    name: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    compress: bool = True,
    reader_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> MDPDataset:
    """Writes a dataset, by name or by path, in another format.

    HDF5 is read and written block by block: what is converted may be larger than memory.

    Args:
        name: What `get_dataset` takes.
        out: File, or folder if the format is one of folders.
        format: Name of a format that can be written; None decides by the suffix of `out`.
        compress: Whether our own format is compressed, or plain, for `MDPDataset.open` to map.
        reader_options: Of the reader, such as its own `format`.
        **options: Of the reader, too.

    Returns:
        The dataset as it was read; its columns may lie in files.

    Raises:
        ValueError: For an unknown format, or a suffix that names none.
        FileExistsError: If `out` exists.
        OfflineKitError: For data that are wrong, or that the format cannot hold.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} is there already; remove it, or write to another file")
    writer = writer_of(out, format, compress)
    with hdf5.spooled():
        dataset = open_mapped(name, **{**(reader_options or {}), **options})
        writer(dataset, out)
    return dataset


def open_mapped(name: str | Path, /, **options: Any) -> MDPDataset:
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
    own: dict[str, Writer] = {"native": lambda dataset, path: dataset.save(path, compress=compress)}
    others = {name: each.write for name, each in source.all_sources().items() if name not in own}
    return own | {name: write for name, write in others.items() if write is not None}


def writer_of(out: Path, format: str | None = None, compress: bool = True) -> Writer:
    """Returns what writes a path in a format, or in the one that its suffix names.

    Raises:
        ValueError: If there is none.
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
    writer = next((known[name] for name in by_suffix if name in known), None)
    if writer is None:
        raise ValueError(
            f"the suffix of {out} names no format that can be written; end it in .h5 or .npz, or give "
            f"format=, one of {', '.join(known)}"
        )
    return writer
