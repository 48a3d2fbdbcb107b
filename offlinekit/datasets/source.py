"""Declarations of dataset readers, and how the registry finds them."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offlinekit.datasets.formats.array_files import described
from offlinekit.datasets.inspection.recognition import (
    USUAL,
    columns_beside,
    tops_in,
    warn_of_left,
    warn_of_unread,
)
from offlinekit.errors import FileFormatError, OfflineKitError, did_you_mean
from offlinekit.load_budget import apart

SHARD = re.compile(r"-\d{5}-of-\d{5}$")
"""The end of the name of a shard, behind which its suffix stands."""
_SAVED = "save its arrays: np.savez('data.npz', observations=..., actions=..., rewards=..., terminals=...)"
_PICKLED = f"pickles may hold code, which is never run: open it where it was written, and {_SAVED}"
UNREAD = {
    **dict.fromkeys((".pkl", ".pickle", ".p", ".joblib", ".pt", ".pth"), _PICKLED),
    ".msgpack": f"msgpack has no reader: open it where it was written, and {_SAVED}",
    ".npy": f"it is one array of several that a dataset has: {_SAVED}",
    ".mat": f"files of MATLAB have no reader: open it by scipy.io.loadmat, and {_SAVED}",
    ".xlsx": "write the sheet as .csv",
    ".feather": "write the table as .parquet",
}
"""What to do with files that are never read, by the end of their name."""
DAMAGE = (
    ArithmeticError,
    LookupError,
    AttributeError,
    RuntimeError,
    AssertionError,
    EOFError,
    struct.error,
)
"""Errors of a reader for an unforeseen file; the file is at fault."""
FIELD = re.compile(r"\{(\w+(?:\.\.\.)?)\}")


def _no_names() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Source:
    """One family of datasets: by name, by path, or both.

    A module under `sources/` gives one as `SOURCE`; that is all it takes to add a family. `load` and `read`
    return the arguments of MDPDataset as a dict, or an MDPDataset, whose metadata may say the `env_id` and
    `env_kwargs` of the environment to evaluate in; or a pair of either and an environment. Their other arguments
    are the options of `get_dataset`; a reader that takes `action_space` is given that of the environment if a
    caller names one.
    """

    summary: str  # One line for people.
    names: Callable[[], Mapping[str, str]] = _no_names  # Dataset names to one line each.
    patterns: Mapping[str, str] = field(
        default_factory=dict
    )  # As names, with {fields}, such as "ward-{split}", or {fields...} that may hold slashes.
    load: Callable[..., Any] | None = None  # Reads a dataset by one of the names.
    suffixes: tuple[str, ...] = ()  # Of files it may read, such as ".npz".
    folders: str | None = None  # What a folder that it may read holds, for people; None if it reads none.
    recognises: Callable[[Path], bool] = Path.is_file  # Whether such a file or folder is of this format.
    keys: tuple[str, ...] = ()  # That it reads of a flat file; one with other usual columns is of no format.
    naming: tuple[str, ...] = ()  # Options that say which key or column is which.
    holds_keys: Callable[[Path], bool] | None = None  # Whether it reads such a file if options name its keys.
    is_last_resort: bool = False  # Whether every other reader is tried before it, as it takes most files.
    read: Callable[..., Any] | None = None  # Reads a dataset from a path.
    write: Callable[[Any, Path], Path] | None = None  # Writes an MDPDataset to a path, which it returns.

    def has_name(self, name: str) -> bool:
        """Returns whether it reads the dataset of this name."""
        return name in self.names() or any(expression_of(p).fullmatch(name) for p in self.patterns)

    def takes(self, path: Path, named: bool = False) -> bool:
        """Returns whether it may read this file or folder and recognises it, or has its keys named by options."""
        names = (path.name.lower(), SHARD.sub("", path.name.lower()))
        fits = any(name.endswith(self.suffixes) for name in names)
        if path.is_dir():
            fits = self.folders is not None
        if not fits or self.read is None:
            return False
        with apart(), blamed_on(path):
            recognised = self.recognises(path)
            return bool(recognised or (named and self.holds_keys is not None and self.holds_keys(path)))


@contextmanager
def blamed_on(path: str | Path) -> Iterator[None]:
    """Turns what a reader raises that is neither an error of offlinekit nor of an option into a FileFormatError."""
    try:
        yield
    except OfflineKitError:
        raise
    except MemoryError as error:
        raise FileFormatError(f"{path} takes more memory than this process may have") from error
    except DAMAGE as error:
        raise FileFormatError(
            f"{path} cannot be read ({type(error).__name__}: {error}); it is damaged, or of another format"
        ) from error


@functools.cache
def all_sources() -> dict[str, Source]:
    """Returns every reader under `sources/` by the name of its file, imported at the first use."""
    package = importlib.import_module("offlinekit.datasets.sources")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    names.sort(key=lambda name: (name != "embedded", name))  # First what needs no file.
    modules = {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}
    return {name: module.SOURCE for name, module in modules.items()}


def add_source(name: str, source: Source) -> None:
    """Adds a reader to `all_sources`.

    Raises:
        ValueError: If the name is taken.
    """
    if name in all_sources():
        raise ValueError(f"the reader {name!r} is there already; give the other one another name")
    all_sources()[name] = source


def expression_of(pattern: str) -> re.Pattern[str]:
    """Returns what matches the names of a pattern; its {fields} are groups without "/", {fields...} with."""
    parts = FIELD.split(pattern)
    pieces = [_group(part) if i % 2 else re.escape(part) for i, part in enumerate(parts)]
    return re.compile("".join(pieces))


def _group(field: str) -> str:
    name = field.removesuffix("...")
    return f"(?P<{name}>[^/]+?)" if name == field else f"(?P<{name}>.+?)"


def fields_of(pattern: str) -> list[str]:
    """Returns the names of a pattern's fields."""
    return [field.removesuffix("...") for field in FIELD.findall(pattern)]


def loader_of_name(name: str) -> Callable[..., Any] | None:
    """Returns the function that reads the dataset of this name, or None if no source has it."""
    return next((source.load for source in all_sources().values() if source.has_name(name)), None)


def is_path(name: str) -> bool:
    """Returns whether a name means a file or folder: it is one, or ends as a file that some reader reads."""
    return Path(name).expanduser().exists() or name.lower().endswith(
        tuple(end for source in all_sources().values() for end in source.suffixes)
    )


def reader_of_path(
    path: Path, format: str | None, options: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """Returns the function that reads a file or folder.

    Args:
        path: The file or folder.
        format: Name of the reader, or None to recognise the format.
        options: Of the reader. Those that name keys pass over one that recognises the file, but does not take them.

    Raises:
        FileNotFoundError: If there is none.
        FileFormatError: If no reader recognises it.
        ValueError: For a format that is not there.
    """
    sources = all_sources()
    readers = {name: source.read for name, source in sources.items() if source.read is not None}
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}{_sibling(path)}")
    if format is not None:
        if format not in readers:
            raise ValueError(
                f"unknown format {format!r}{did_you_mean(format, readers)}; known: {', '.join(readers)}"
            )
        return readers[format]
    name = _recognised(path, options or {})
    if name is not None:
        return readers[name]
    ending = next((end for end in UNREAD if path.name.lower().endswith(end)), None)
    if ending is not None:
        raise FileFormatError(f"no reader recognises {path}; {UNREAD[ending]}")
    arrays, insist = described(path), f"known formats are {', '.join(readers)}; pass format= to insist on one"
    if not arrays:
        raise FileFormatError(f"no reader recognises {path}; {insist}")
    raise FileFormatError(
        f"no reader recognises {path}, which holds {arrays}; name its arrays of one row a step by options, such as "
        "observations='s', actions='a', rewards='r' and terminals='d' or timeouts='t', or build an MDPDataset of them; "
        f"{insist}"
    )


def _recognised(path: Path, options: Mapping[str, Any]) -> str | None:
    """Returns the name of the first reader that recognises a file, takes the options that name its keys and reads all
    its usual columns; if there is none, that of the first that recognises it.
    """
    sources, passed = all_sources(), None
    names = functools.cache(
        lambda: tops_in(path)
    )  # Read at most once, and not for a file whose first reader needs none.
    naming = {option for source in sources.values() for option in source.naming if option in options}
    for name in sorted(sources, key=lambda name: sources[name].is_last_resort):
        source = sources[name]
        is_blind = source.is_last_resort and not source.keys  # It takes files without looking at their keys.
        if (
            source.read is None
            or not source.takes(path, bool(naming))
            or (is_blind and passed is not None and not naming)
        ):
            continue
        beside = columns_beside(names(), source.keys) if source.keys else []
        if beside or not all(takes_option(source.read, option) for option in naming):
            passed = passed or (name, beside)
        else:
            if passed is not None and source.is_last_resort:
                _warn_of_left(path, passed[0], names(), options)
            return name
    if passed is not None and passed[1]:
        warn_of_unread(path, *passed)
    return None if passed is None else passed[0]


def _warn_of_left(path: Path, passed: str, names: Collection[str], options: Mapping[str, Any]) -> None:
    """Warns of keys that the reader that was passed over would have read, and that of buffers does not."""
    usual = {key for keys in USUAL.values() for key in keys} | {str(value) for value in options.values()}
    left = [key for key in all_sources()[passed].keys if key in names and key not in usual]
    if left:
        warn_of_left(path, passed, left)


def _sibling(path: Path) -> str:
    siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    return did_you_mean(path.name, siblings)


def check_options(
    function: Callable[..., Any],
    options: Iterable[str],
    name: str,
    given: int = 1,
    common: tuple[str, ...] = (),
) -> None:
    """Raises TypeError for options that a reader does not take, or for one that it misses.

    Args:
        function: The reader.
        options: Names of what the caller gives by keyword.
        name: Of the dataset, for the message.
        given: How many leading parameters are given by position.
        common: Options that `get_dataset` takes for every such reader.
    """
    parameters = list(inspect.signature(function).parameters.values())[given:]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    valid = {p.name: p.default for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    known = sorted({*valid, *common})
    listed = f"its options are: {', '.join(known) or 'none'}"
    for option in options:
        if option not in known and not takes_any:
            raise TypeError(
                f"dataset {name!r} has no option {option!r}{did_you_mean(option, known)}; {listed}"
            )
    for option, default in valid.items():
        if default is inspect.Parameter.empty and option not in options:
            raise TypeError(f"dataset {name!r} needs the option {option!r}; {listed}")


def takes_option(function: Callable[..., Any], option: str) -> bool:
    """Returns whether a reader has a parameter of this name."""
    return option in inspect.signature(function).parameters
