"""The dataset file of offlinekit: HDF5, versioned, compressed, with checksums.

Layout of version 1: attributes `format`, `version` and `header` (JSON: name, metadata, spaces) on the root;
arrays `actions, rewards, terminals, timeouts, final_known` and, if there are any, `behavior_log_probs` and
`masks`; trees `observations, final_observations` and `next_observations`, each an array, or a group with the attribute
`kind` "dict" or "tuple" whose members are its branches (of a tuple "0", "1", ...); `extras` and
`episode_extras`, if there are any, are such tuples, whose names the header lists. Arrays lie in compressed chunks
with checksums, or plain and whole, so that they can be mapped; a plain one has its hash in the attribute `sha256`,
which `load` checks. HDF5 itself has checksums of all else but texts, so `header_sha256` is there for the header.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets import schema, spaces, validation
from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.formats.hdf5_writing import write_checked, write_text, written_hdf5
from offlinekit.errors import DatasetError, FileFormatError
from offlinekit.ground.progress import Progress
from offlinekit.io import atomic_write
from offlinekit.tables.table_schema import TABLE_SCHEMA, TableSchema
from offlinekit.types import Array, leaves

if TYPE_CHECKING:
    import h5py

    from offlinekit.datasets.mdp_dataset import MDPDataset
    from offlinekit.types import ArrayTree

FORMAT = "offlinekit.mdp_dataset"
VERSION = 1
NAMED = schema.names(kind="named")
STORED = tuple(name for name in schema.names(is_kept=True) if name not in NAMED)
NEEDED = (*schema.REQUIRED, "timeouts", "final_known")


def save(dataset: MDPDataset, path: Path, compress: bool = True) -> Path:
    """Writes an MDPDataset to a file and returns its path; equal datasets give equal bytes.

    Args:
        dataset: What to write.
        path: Of the file.
        compress: Whether columns are compressed in chunks with checksums, or plain, to be mapped.

    Raises:
        OSError: If the file cannot be written; a file that was there stays as it was.
    """
    header = {
        "name": dataset.name,
        "metadata": dataset.metadata,
        "action_space": spaces.space_to_json(dataset.action_space),
        "observation_space": spaces.space_to_json(dataset.observation_space),
    }
    header |= {name: list(getattr(dataset, name)) for name in NAMED if getattr(dataset, name)}
    columns: dict[str, ArrayTree] = {
        **{name: getattr(dataset, name) for name in STORED if getattr(dataset, name) is not None},
        **{name: tuple(getattr(dataset, name).values()) for name in NAMED if getattr(dataset, name)},
    }
    size = sum(leaf.nbytes for tree in columns.values() for leaf in leaves(tree))
    bar = Progress(f"writing {path.name}", size / 1e6, unit="megabyte")
    with atomic_write(path) as beside, bar, written_hdf5(beside) as file:
        text = json.dumps(header, sort_keys=True)
        file.attrs["version"] = VERSION
        write_text(file, "format", FORMAT)
        write_text(file, "header", text)
        write_text(file, "header_sha256", hashlib.sha256(text.encode()).hexdigest())
        for name, tree in columns.items():
            _write(file, name, tree, compress, bar)
    return path


def _write(group: h5py.Group, key: str, tree: ArrayTree, compress: bool, bar: Progress) -> None:
    if isinstance(tree, dict | tuple):
        branches = tree if isinstance(tree, dict) else {str(i): branch for i, branch in enumerate(tree)}
        child = group.create_group(key)
        write_text(child, "kind", "dict" if isinstance(tree, dict) else "tuple")
        for name, branch in branches.items():
            if not name or name == "." or "/" in name:
                raise DatasetError(f"{key} has the entry {name!r}, which HDF5 cannot name; rename it")
            _write(child, name, branch, compress, bar)
        return
    if not compress:
        item = group.create_dataset(key, data=tree, track_times=False)
        write_text(item, "sha256", hdf5.digest_of(tree))
        bar.advance(tree.nbytes / 1e6)
        return
    write_checked(group, key, tree, lambda size: bar.advance(size / 1e6))


def is_ours(path: Path) -> bool:
    """Returns whether an HDF5 file says that offlinekit wrote it."""
    with hdf5.open_hdf5(path) as file:
        return _stated_format(file) == FORMAT


def is_plain(path: Path) -> bool:
    """Returns whether a file of ours was written without compression, so that it can be mapped."""
    with hdf5.open_hdf5(path) as file:
        return hdf5.member(file, "rewards").chunks is None


def read(path: Path, mapped: bool = False) -> tuple[dict[str, Any], Array | None]:
    """Reads a file that `save` wrote; returns arguments of MDPDataset, and the masks.

    Args:
        path: Of the file.
        mapped: Whether observations, actions and masks stay in the file, as read-only maps of it.

    Raises:
        FileNotFoundError: If there is no such file.
        FileFormatError: For a damaged file, one of another format, or of a version this release cannot read.
    """
    with hdf5.open_hdf5(path) as file:
        _check_version(file)
        header = _header(file)
        columns = _read_columns(file, mapped)
        get = hdf5.map_array if mapped else hdf5.read_array
        extras = {name: _read_extras(file, name, header.pop(name), get) for name in NAMED}
    masks = columns.pop("masks", None)
    for name in ("terminals", "timeouts"):
        columns[name] = validation.as_flags(columns[name], name)
    validation.check_length(columns["timeouts"], "timeouts", len(columns["terminals"]))
    columns["episode_terminals"] = columns["terminals"] | columns["timeouts"]
    return {**columns, **extras, **header}, masks


def _read_columns(file: h5py.File, mapped: bool) -> schema.Columns:
    """Returns the stored columns; of next and final observations, which say the same, the former."""
    finals = "next_observations" if "next_observations" in file else "final_observations"
    columns = {}
    for name in STORED:
        column = schema.BY_NAME[name]
        get = hdf5.map_array if mapped and column.is_mapped else hdf5.read_array
        if name in (*NEEDED, finals) or (name in file and name != "final_observations"):
            columns[name] = (_read_tree if column.kind == "tree" else _read_array)(file, name, get)
    return columns


def _stated_format(file: h5py.File) -> str:
    return hdf5.text_attribute(file, "format") or ""


def _check_version(file: h5py.File) -> None:
    if _stated_format(file) != FORMAT:
        raise FileFormatError(
            f"{file.filename} is HDF5, but not a dataset of offlinekit: it holds "
            f"{', '.join(hdf5.keys_of(file))}; get_dataset(path) finds the reader of other formats"
        )
    if not np.array_equal(file.attrs.get("version"), VERSION):
        raise FileFormatError(
            f"{file.filename} has version {file.attrs.get('version')}, this release reads {VERSION}; "
            "upgrade offlinekit"
        )


def _header(file: h5py.File) -> dict[str, Any]:
    try:
        text = hdf5.read_text(file, "header")
        stated = hdf5.text_attribute(file, "header_sha256")
        if "header_sha256" in file.attrs and stated != hashlib.sha256(text.encode()).hexdigest():
            raise ValueError("it does not match its hash")
        header = json.loads(text)
        if TABLE_SCHEMA in (metadata := dict(header["metadata"])):
            TableSchema.from_json(metadata[TABLE_SCHEMA])
        return {
            "name": str(header["name"]),
            "metadata": metadata,
            "action_space": spaces.space_from_json(header["action_space"]),
            "observation_space": spaces.space_from_json(header["observation_space"]),
            **{name: [str(key) for key in header.get(name, [])] for name in NAMED},
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{file.filename} has a damaged header ({error}); write it again") from error


def _read_extras(file: h5py.File, key: str, names: list[str], get: Callable[..., Array]) -> dict[str, Array]:
    if not names:
        return {}
    group = hdf5.member(file, key)
    return {name: get(group, str(i), kinds="fiubS") for i, name in enumerate(names)}


def _read_array(group: h5py.Group, key: str, get: Callable[[h5py.Group, str], Array]) -> Array:
    return get(group, key)


def _read_tree(group: h5py.Group, key: str, get: Callable[[h5py.Group, str], Array]) -> ArrayTree:
    item = hdf5.member(group, key)
    if not hdf5.is_group(item):
        return get(group, key)
    names, kind = hdf5.keys_of(item), hdf5.read_text(item, "kind")
    if kind == "dict":
        return {name: _read_tree(item, name, get) for name in names}
    if kind == "tuple":
        return tuple(_read_tree(item, str(i), get) for i in range(len(names)))
    raise FileFormatError(f"{hdf5.where(item)} has kind {kind!r}, expected 'dict' or 'tuple'")
