"""Errors of offlinekit: each says what was expected, what came and what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any


class OfflineKitError(Exception):
    """Base of every error that offlinekit defines."""


class DatasetError(OfflineKitError, ValueError):
    """Data that cannot be what it claims to be; names the field and the row.

    Attributes:
        findings: All that is wrong, of which the message says the first; empty where no rule for datasets found it.
    """

    findings: tuple[Any, ...] = ()


class DatasetWarning(UserWarning):
    """Data that can be used, but hardly as they were meant; names the field, the row and the remedy."""


class TrainingWarning(UserWarning):
    """Values that were learned, but have not settled; says why and the remedy."""


class FileFormatError(OfflineKitError, ValueError):
    """A file that is damaged, truncated or of another format."""


class DownloadError(OfflineKitError, OSError):
    """A file that could not be fetched; says where it is and where to put it."""


class MissingExtraError(OfflineKitError, ImportError):
    """An optional package that is not installed; names the extra."""


class NotFittedError(OfflineKitError, RuntimeError):
    """A question to an algorithm that has no networks yet."""


class UnsupportedError(OfflineKitError, TypeError):
    """A request that this algorithm, dataset or environment cannot fulfil."""


class UnanswerableError(UnsupportedError, ValueError):
    """An estimate that these data cannot give, though another estimator may."""


class WriteError(OfflineKitError, OSError):
    """A file that could not be written; names its path and bytes. What lay there before is as it was."""


class Preempted(KeyboardInterrupt):
    """SIGTERM or SIGUSR1 ended a run after its checkpoint was saved; the process should exit with 75."""


class TrainingError(OfflineKitError, RuntimeError):
    """A run that cannot go on, such as one whose loss is no longer finite."""


class NotFiniteError(TrainingError):
    """A metric of this process that is no longer finite."""


def nearest(name: object, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Returns the known name that is most like one, whatever its capitals, or None if none is alike."""
    spelled = {each.lower(): each for each in known}
    alike = difflib.get_close_matches(str(name).lower(), list(spelled), n=1, cutoff=likeness)
    return spelled[alike[0]] if alike else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the nearest known name, or an empty string."""
    meant = nearest(name, known)
    return f"; did you mean {meant!r}?" if meant else ""


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional module.

    Args:
        module: Dotted name of the module.
        extra: The extra of offlinekit that installs it.

    Raises:
        MissingExtraError: If the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs the module {module!r}, which cannot be imported ({error}); "
            f"install it with: pip install 'offlinekit[{extra}]'"
        ) from error
