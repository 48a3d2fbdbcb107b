"""Episodes as Minari keeps them on disk: a group of an HDF5 file, or a folder with an Arrow or Parquet table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.families.minari_spaces import leaf_spaces
from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.formats.arrow import joined, numbers_of, read_ipc, read_parquet
from offlinekit.datasets.formats.json_files import read_object
from offlinekit.datasets.formats.png import decode_jpeg
from offlinekit.datasets.spaces import Space
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

if TYPE_CHECKING:
    import h5py
    import pyarrow as pa

    from offlinekit.types import Json

FLAGS = ("rewards", "terminations", "truncations")


class Episode(NamedTuple):
    """T steps."""

    columns: dict[str, Array]  # Leaves such as "observations/camera" [T + 1, ...]; the others [T, ...].
    infos: dict[str, Array]  # Names such as "infos/success" to [T + 1, ...] or [T, ...].
    attributes: dict[str, Any]  # Such as seed and "options/..."; arrays as `encode` has them.


def encode(value: object) -> Json:
    """Returns an attribute as plain data; numbers of numpy with their dtype, None for what is neither."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
        return {"dtype": value.dtype.str, "shape": list(value.shape), "values": value.ravel().tolist()}
    return value if isinstance(value, str | int | float | bool | list) else None


def decode(value: object) -> object:
    """Returns the attribute that `encode` made plain."""
    if not isinstance(value, dict):
        return value
    array = np.array(value["values"], np.dtype(value["dtype"])).reshape(value["shape"])
    return array if array.ndim else array[()]


def read_hdf5(path: Path, n_episodes: int, observations: Space, actions: Space) -> Iterator[Episode]:
    """Yields the episodes of `main_data.hdf5`.

    Raises:
        FileFormatError: For a damaged file, or one that lacks an episode or a column.
    """
    wanted = leaf_spaces(observations, "observations") + leaf_spaces(actions, "actions")
    with hdf5.open_hdf5(path) as file:
        for i in range(n_episodes):
            group = hdf5.member(file, f"episode_{i}")
            columns = {name: _read_leaf(group, name, space) for name, space in wanted}
            columns |= {name: hdf5.read_array(group, name) for name in FLAGS}
            infos = dict(_read_infos(group, "infos")) if "infos" in group else {}
            attributes = {key: encode(value) for key, value in group.attrs.items()}
            yield Episode(columns, infos, attributes)


def _read_leaf(group: h5py.Group, name: str, space: Space) -> Array:
    *outer, key = name.split("/")
    for part in outer:
        group = hdf5.member(group, part)
    if _is_image(space) and hdf5.n_axes(group, key) < 3:
        return decode_jpeg(hdf5.read_byte_strings(group, key), space.shape or ())
    return hdf5.read_array(group, key)


def _read_infos(group: h5py.Group, name: str) -> Iterator[tuple[str, Array]]:
    item = hdf5.member(group, name.rsplit("/", 1)[-1])
    if hdf5.is_group(item):
        for key in hdf5.keys_of(item):
            yield from _read_infos(item, f"{name}/{key}")
    elif item.dtype.kind in "fiub" and item.ndim:
        yield name, hdf5.read_array(group, name.rsplit("/", 1)[-1])


def _is_image(space: Space) -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


def read_arrow(folder: Path, n_episodes: int, observations: Space, actions: Space) -> Iterator[Episode]:
    """Yields the episodes of a folder with a folder each, named by numbers.

    Raises:
        MissingExtraError: If pyarrow is not installed.
        FileFormatError: For a damaged table, or one that lacks a column.
    """
    for i in range(n_episodes):
        table = _read_table(folder / str(i))
        missing = {"observations", "actions", *FLAGS} - set(table.column_names)
        if missing:
            raise FileFormatError(f"{folder / str(i)} has no column {', '.join(sorted(missing))}")
        place = f"in {folder / str(i)}"
        columns = {name: numbers_of(_branch(table, name), f"{name!r} {place}")[:-1] for name in FLAGS}
        for name, space in leaf_spaces(observations, "observations"):
            columns[name] = _decode(_branch(table, name), space, f"{name!r} {place}")
        for name, space in leaf_spaces(actions, "actions"):
            columns[name] = _decode(_branch(table, name), space, f"{name!r} {place}")[:-1]
        infos = dict(_arrow_infos(_branch(table, "infos"), "infos")) if "infos" in table.column_names else {}
        yield Episode(columns, infos, dict(_flat(read_object(folder / str(i) / "metadata.json"))))


def _read_table(folder: Path) -> pa.Table:
    parts = sorted([*folder.glob("*.arrow"), *folder.glob("*.parquet")])
    if not parts:
        raise FileFormatError(f"{folder} holds no .arrow or .parquet file; was it fetched completely?")
    return joined(read_parquet(part) if part.suffix == ".parquet" else read_ipc(part) for part in parts)


def _branch(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Returns the array of a leaf; Arrow names the branches of a tuple "0", "1", ..."""
    first, *inner = name.split("/")
    array = table[first].combine_chunks()
    for part in inner:
        known = [field.name for field in array.type] if str(array.type).startswith("struct") else []
        if part.removeprefix("_index_") not in known:
            raise FileFormatError(f"the table has no {name!r}: {first!r} is {array.type}; fetch it again")
        array = array.field(part.removeprefix("_index_"))
    return array


def _decode(array: pa.ChunkedArray, space: Space, place: str) -> Array:
    if str(array.type) == "binary":
        return decode_jpeg(array.to_pylist(), space.shape or ())
    values = numbers_of(array, place)
    shape = () if isinstance(space, spaces.Discrete) else space.shape or ()
    if values.size != len(values) * math.prod(shape):
        raise FileFormatError(f"{place} has rows of shape {list(values.shape[1:])}, expected {space}")
    return values.reshape(len(values), *shape)


def _arrow_infos(array: pa.ChunkedArray, name: str) -> Iterator[tuple[str, Array]]:
    for i, field in enumerate(array.type if str(array.type).startswith("struct") else ()):
        inner, place = array.field(i), f"{name}/{field.name}"
        if hasattr(inner.type, "num_fields") and str(inner.type).startswith("struct"):
            yield from _arrow_infos(inner, place)
        elif str(inner.type).startswith("fixed_size_list"):
            shape = (field.metadata or {}).get(b"shape", b"").decode()
            sizes = [int(size) for size in shape.split(",")] if shape else [inner.type.list_size]
            yield (
                place,
                np.asarray(inner.flatten().to_numpy(zero_copy_only=False)).reshape(len(inner), *sizes),
            )
        elif (values := np.asarray(inner.to_numpy(zero_copy_only=False))).dtype.kind in "fiub":
            yield place, values


def _flat(attributes: dict[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in attributes.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{name}{key}/")
        else:
            yield f"{name}{key}", value
