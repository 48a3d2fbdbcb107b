"""What a reader of datasets tells the registry about itself, and how readers are found."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offlinekit.errors import FileFormatError, did_you_mean


def _no_names() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Source:
    """One family of datasets: by name, by path, or both.

    A module under `sources/` gives one as `SOURCE`; that is all it takes to add a family. `load` and `read`
    return an MDPDataset, whose metadata may say the `env_id` and `env_kwargs` of the environment to
    evaluate in, or a pair of it and an environment. Their other arguments are the options of `get_dataset`;
    a reader that takes `action_space` is given that of the environment where a caller names one.
    """

    summary: str  # One line for people.
    names: Callable[[], Mapping[str, str]] = _no_names  # Dataset names to one line each.
    load: Callable[..., Any] | None = None  # Reads a dataset by one of the names.
    suffixes: tuple[str, ...] = ()  # Of files it may read, such as ".npz".
    recognises: Callable[[Path], bool] = Path.is_file  # Whether a file with such a suffix is of this format.
    read: Callable[..., Any] | None = None  # Reads a dataset from a path.


@functools.cache
def all_sources() -> dict[str, Source]:
    """Returns every reader under `sources/` by the name of its file, imported when first asked for."""
    package = importlib.import_module("offlinekit.datasets.sources")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    names.sort(key=lambda name: (name != "embedded", name))  # First what needs no file.
    modules = {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}
    return {name: module.SOURCE for name, module in modules.items()}


def loader_of_name(name: str) -> Callable[..., Any] | None:
    """Returns the function that reads the dataset of this name, or None where no source has it."""
    return next((source.load for source in all_sources().values() if name in source.names()), None)


def is_path(name: str) -> bool:
    """Returns whether a name means a file: it is one, or ends as one that some reader reads."""
    return Path(name).is_file() or name.lower().endswith(
        tuple(end for source in all_sources().values() for end in source.suffixes)
    )


def reader_of_path(path: Path, format: str | None) -> Callable[..., Any]:
    """Returns the function that reads a file.

    Args:
        path: The file.
        format: Name of the reader, or None to look at the file.

    Raises:
        FileNotFoundError: Where there is no such file.
        FileFormatError: Where no reader recognises it.
        ValueError: For a format that is not there.
    """
    sources = all_sources()
    readers = {name: source.read for name, source in sources.items() if source.read is not None}
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}{_sibling(path)}")
    if format is not None:
        if format not in readers:
            raise ValueError(
                f"unknown format {format!r}{did_you_mean(format, readers)}; known: {', '.join(readers)}"
            )
        return readers[format]
    for name, reader in readers.items():
        if path.name.lower().endswith(sources[name].suffixes) and sources[name].recognises(path):
            return reader
    raise FileFormatError(
        f"no reader recognises {path}; known formats are {', '.join(readers)}; pass format= to insist on one"
    )


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
