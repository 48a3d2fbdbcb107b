"""What a folder of TensorFlow Datasets states of the features of its records, in `features.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from offlinekit.datasets.formats.json_files import read_object
from offlinekit.errors import FileFormatError


class Stated(NamedTuple):
    """What is stated of one feature of a step."""

    shape: tuple[int, ...]  # Of a step; -1 where it varies.
    dtype: str


def read_features(folder: Path) -> dict[str, Stated]:
    """Returns what is stated of the features of steps, by names such as "observation/state"; nothing without the file.

    Raises:
        FileFormatError: For a file that describes no features.
    """
    path = folder / "features.json"
    if not path.is_file():
        return {}
    found: dict[str, Stated] = {}
    try:
        _walk(read_object(path), "", found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} describes no features ({error!r}); fetch it again") from error
    return {
        name.removeprefix("steps/"): stated for name, stated in found.items() if name.startswith("steps/")
    }


def _walk(node: dict[str, Any], name: str, found: dict[str, Stated]) -> None:
    if "featuresDict" in node:
        for key, part in node["featuresDict"]["features"].items():
            _walk(part, f"{name}/{key}".lstrip("/"), found)
    elif "sequence" in node:
        _walk(node["sequence"]["feature"], name, found)
    else:
        kind: dict[str, Any] = next(
            (node[kind] for kind in ("tensor", "image", "scalar", "text") if kind in node), {}
        )
        sizes = [int(size) for size in kind.get("shape", {}).get("dimensions", [])]
        found[name] = Stated(tuple(sizes), str(kind.get("dtype", "")))
