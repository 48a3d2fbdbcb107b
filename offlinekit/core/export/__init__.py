"""Policies as files for other programs: ONNX, torch.export, TorchScript, or for numpy alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from typing_extensions import Unpack

from offlinekit.core.export import numpy_format, torch_formats
from offlinekit.core.export.exported_policy import ExportedPolicy, examples, predicted, space_of
from offlinekit.core.sharing.card import CardFacts, write_card
from offlinekit.errors import OfflineKitError, did_you_mean
from offlinekit.io import atomic_write
from offlinekit.nn.isolation import trainable
from offlinekit.types import Array, rows

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.types import ArrayTree

BATCHES = (1, 3, 64)
"""Rows of the batches on which an exported policy is compared."""


class ExportError(OfflineKitError, RuntimeError):
    """A policy that could not be exported, or whose exported actions are not those of `predict`."""


class Format(NamedTuple):
    """A format: how a policy is written, and how the file is opened to act."""

    suffix: str
    write: Callable[[ExportedPolicy, Path], None]
    open: Callable[
        [Path, Any], Callable[[Any], Array]
    ]  # File and observation space -> observations -> actions.


FORMATS = {
    "onnx": Format(".onnx", torch_formats.write_onnx, torch_formats.open_onnx),
    "torch-export": Format(".pt2", torch_formats.write_torch_export, torch_formats.open_torch_export),
    "torchscript": Format(".pt", torch_formats.write_torchscript, torch_formats.open_torchscript),
    "numpy": Format(".safetensors", numpy_format.write, numpy_format.open_policy),
}


def export(
    algo: Algo,
    path: Path,
    format: str | None = None,
    observations: ArrayTree | None = None,
    tolerance: float = 1e-5,
    **facts: Unpack[CardFacts],
) -> Path:
    """Writes the greedy policy of an algorithm with its scalers inside, and its card; see `Algo.export`."""
    chosen = find_format(path, format)
    space = space_of(algo)
    with trainable(), torch.device("cpu"), atomic_write(path) as beside:
        policy = ExportedPolicy(algo)
        try:
            chosen.write(policy, beside)
        except OfflineKitError:
            raise
        except Exception as error:  # Of torch's exporters, which raise many kinds.
            raise ExportError(
                f"{type(algo).__name__} could not be written as {chosen.suffix}: {error}; "
                f"try another format of {sorted(FORMATS)}"
            ) from error
        act = chosen.open(beside, space)
        rows = examples(algo, max(BATCHES)) if observations is None else observations
        compare(algo, act, rows, tolerance)
    write_card(path, algo, **facts)
    return path


def find_format(path: Path, format: str | None) -> Format:
    """Returns the format of a name, or of a file's suffix if there is none.

    Raises:
        ValueError: For another name or suffix, or a suffix of NumPy's own files.
    """
    if format is None:
        named = [name for name, known in FORMATS.items() if known.suffix == path.suffix]
        if not named:
            suffixes = {known.suffix: name for name, known in FORMATS.items()}
            raise ValueError(
                f"the suffix of {path} names no format; choose one of {suffixes}, or pass format= (--format)"
            )
        return FORMATS[named[0]]
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS)
        raise ValueError(f"format must be one of {sorted(FORMATS)}, got {format!r}{hint}")
    if format == "numpy" and path.suffix in (".npz", ".npy"):
        raise ValueError(
            f"the numpy format is a safetensors file, which np.load does not read, so it cannot be named {path.name}; "
            f"name it {path.stem}.safetensors"
        )
    return FORMATS[format]


def compare(algo: Algo, act: Callable[[ArrayTree], Array], observations: ArrayTree, tolerance: float) -> None:
    """Checks that an exported policy acts as `predict` does, in batches of several sizes.

    Args:
        algo: What was exported.
        act: Observations [B, ...] -> actions.
        observations: At least one row.
        tolerance: Largest difference, in units of the action scaled to [-1, 1], or of the action itself if larger.

    Raises:
        ExportError: If an action differs by more.
    """
    affine = algo.scaling.action
    unit = 1.0 if affine is None else affine.scale
    for size in BATCHES:
        batch = rows(observations, slice(0, size))
        wanted, came = predicted(algo, batch), act(batch)
        if wanted.shape != came.shape or came.dtype != wanted.dtype:
            raise ExportError(
                f"the exported policy gives {came.dtype}{list(came.shape)} while predict gives "
                f"{wanted.dtype}{list(wanted.shape)}; please report it, and try another format"
            )
        apart = np.abs(came.astype(np.float64) - wanted) / np.maximum(unit, np.abs(wanted))
        if not (worst := float(apart.max(initial=0.0))) <= tolerance:
            row = int(np.argwhere(~(apart <= tolerance))[0][0])
            raise ExportError(
                f"the exported policy differs from predict by {worst:.3g} of an action's half range, first in row "
                f"{row} of {len(wanted)}: {came[row]} while predict gives {wanted[row]}; nothing was written. If "
                f"that much is rounding, pass a larger tolerance (now {tolerance:g}) or observations of your own"
            )


__all__ = ["FORMATS", "ExportError", "compare", "export", "find_format"]
