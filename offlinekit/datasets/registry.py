"""`get_dataset`: a dataset and its environment by name or by path."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import gymnasium

from offlinekit.datasets import source as sources
from offlinekit.datasets.editing.dropping import Nonfinite
from offlinekit.datasets.editing.ordering import faults_in_file
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.plugins import load_plugins
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.untrusted import read_apart
from offlinekit.envs.env_spaces import check_environment
from offlinekit.envs.environments import as_gymnasium, make_env
from offlinekit.errors import DatasetError, did_you_mean
from offlinekit.fields import Count, checked
from offlinekit.ground.callers import warn_caller
from offlinekit.ground.hints import answers_guesses
from offlinekit.io import check_plain
from offlinekit.load_budget import budgeted
from offlinekit.naming import check_free
from offlinekit.tables.table_schema import TableSchema

if TYPE_CHECKING:
    from offlinekit.types import Json

Function = TypeVar("Function", bound=Callable[..., Any])
Env = gymnasium.Env[Any, Any]


class Registered(NamedTuple):
    """A caller's own dataset function."""

    function: Callable[..., Any]
    expression: re.Pattern[str]  # With a named group for each {field}.


_REGISTERED: dict[str, Registered] = {}


class Reading(NamedTuple):
    """Columns behind a name or path, before a dataset is built of them."""

    name: str
    columns: Columns | MDPDataset  # Of a reader's or a caller's function, which may have built one.
    env: Env | None  # Given by the reader or named by `env_id`.
    metadata: dict[str, Any]  # Beside the columns' own.
    states_env: bool = False  # Whether the columns' metadata say the environment.
    nonfinite: Nonfinite = "refuse"


@answers_guesses
def register_dataset(pattern: str, *, overwrite: bool = False) -> Callable[[Function], Function]:
    """Registers the decorated function under a name; it wins over a built-in dataset of that name.

    Args:
        pattern: A name such as "ward-train", or one with fields such as "ward-{split}". A field fits any
            text without a slash ("{name...}" with slashes too) and becomes a keyword argument of the
            function. The function's other arguments are the options of `get_dataset`. It returns an
            MDPDataset, or its arguments as a dict, or a pair of either and an environment or None.
        overwrite: Whether to replace a function that another module registered under the same pattern.

    Raises:
        ValueError: If the pattern belongs to another module, or names a field twice.
        TypeError: If the function does not take a field of the pattern.
    """
    fields = sources.fields_of(pattern)
    if len(set(fields)) < len(fields):
        raise ValueError(f"pattern {pattern!r} names a field twice; give each its own name")

    def register(function: Function) -> Function:
        if pattern in _REGISTERED:
            check_free(pattern, function, _REGISTERED[pattern].function, overwrite)
        for field in fields:
            if not sources.takes_option(function, field):
                raise TypeError(f"the function of dataset {pattern!r} must take an argument {field!r}")
        _REGISTERED[pattern] = Registered(function, sources.expression_of(pattern))
        return function

    return register


def unregister_dataset(pattern: str) -> None:
    """Removes a registered pattern.

    Raises:
        ValueError: If it is not registered.
    """
    if _REGISTERED.pop(pattern, None) is None:
        raise ValueError(f"dataset {pattern!r} is not registered{did_you_mean(pattern, _REGISTERED)}")


def known_datasets() -> dict[str, str]:
    """Returns the names, patterns and kinds of file that `get_dataset` takes, each with one line."""
    load_plugins(register_dataset)
    known = {pattern: _first_line(entry.function) for pattern, entry in _REGISTERED.items()}
    for source in sources.all_sources().values():
        named = {**source.names(), **source.patterns}
        known.update({name: line for name, line in named.items() if name not in known})
    for source in sources.all_sources().values():
        for suffix in source.suffixes:
            line = known.get(f"*{suffix}")
            known[f"*{suffix}"] = source.summary if line is None else f"{line} Or: {source.summary}"
        if source.folders is not None:
            known[f"*/ ({source.folders})"] = source.summary
    return known


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "registered dataset").strip().splitlines()[0]


def get_dataset(
    name: str | PathLike[str] = "",
    /,
    *,
    nonfinite: Nonfinite = "refuse",
    max_bytes: int | None = None,
    untrusted: bool = False,
    **options: Any,
) -> tuple[MDPDataset, Env | None]:
    """Returns a dataset and the environment to evaluate in.

    Args:
        name: A registered or built-in name, or a path to a file or folder, whose format is found by looking
            at it. Options may stand behind it, as in "hopper-medium-v2?transitions=d4rl". It may be given as
            `name=` too; beside a name that is the reader's option of this name.
        nonfinite: "refuse" raises at the first NaN or infinity with its row; "drop" leaves out the episodes that
            hold any, with a warning.
        max_bytes: That the contents of the files may take; None goes by the files' sizes, see docs/reliability.md.
        untrusted: Whether it is read in a process of its own, of 30 seconds and 2 GB: damaged HDF5 may never end.
        **options: Of its reader; see docs/datasets.md. Built-in readers also take `env_id`, the gymnasium
            environment to evaluate in, and those of files `format`, the name of the reader.

    Returns:
        The dataset, and its environment; None if it has none, or if the package it needs is not
        installed, which a warning then names.

    Raises:
        ValueError: For an unknown name; suggests the nearest.
        TypeError: For an unknown option; lists the valid ones. For a function that returns anything else.
        FileNotFoundError: For a path to nothing.
        OfflineKitError: For data or files that are wrong; a DownloadError if a file cannot be fetched.
    """
    name = name or options.pop("name", "")
    if not fspath(name):
        raise TypeError("get_dataset takes the name of a dataset or a path to one, such as 'cartpole-mixed'")
    if untrusted:
        given = {**options, "nonfinite": nonfinite, "max_bytes": max_bytes}
        dataset = read_apart(fspath(name), given)
        return dataset, _stated_environment(dataset.metadata)
    reading = read(name, nonfinite=nonfinite, max_bytes=max_bytes, **options)
    dataset = built(reading)
    env = environment_of(reading, dataset)
    if env is not None:
        check_environment(dataset.observation_space, dataset.action_space, env)
    return dataset, env


def read(
    name: str | PathLike[str],
    /,
    *,
    nonfinite: Nonfinite = "refuse",
    max_bytes: int | None = None,
    **options: Any,
) -> Reading:
    """Returns what `get_dataset`, which documents the arguments, builds its dataset of.

    Raises:
        ValueError, TypeError, FileNotFoundError, OfflineKitError: As `get_dataset`.
    """
    load_plugins(register_dataset)
    text, options = _with_query(fspath(name), options)
    nonfinite, max_bytes = options.pop("nonfinite", nonfinite), options.pop("max_bytes", max_bytes)
    registered = _find_registered(text)
    if registered is None:
        with budgeted(checked("max_bytes", max_bytes, Count | None)):
            reading = _read_built_in(text, dict(options))
    else:
        function, fields = registered
        for field in fields.keys() & options.keys():
            raise TypeError(f"dataset {text!r} says {field!r} by its name; leave the option {field!r} out")
        sources.check_options(function, [*fields, *options], text, given=0)
        result = function(**fields, **options)
        reading = _as_reading(result, text)._replace(states_env=not isinstance(result, tuple))
    given = options if max_bytes is None else {**options, "max_bytes": max_bytes}
    origin = {"name": text, "options": {key: _jsonable(value) for key, value in given.items()}}
    return reading._replace(metadata={**reading.metadata, "origin": origin}, nonfinite=nonfinite)


def located(name: str) -> str:
    """Returns what `get_dataset` finds the same data by from any working folder.

    Args:
        name: As it takes it. A path to what is there becomes absolute, with the options behind it; links keep their
            names, by which formats may be told. Anything else stays as it is.
    """
    load_plugins(register_dataset)
    bare, question, query = (name, "", "") if Path(name).exists() else name.partition("?")
    if _find_registered(bare) is not None or sources.loader_of_name(bare) is not None:
        return name
    path = Path(bare).expanduser()
    return f"{os.path.abspath(path)}{question}{query}" if bare and path.exists() else name


def built(reading: Reading) -> MDPDataset:
    """Returns the dataset of what was read, under its own name or the one it was read by."""
    columns, text = reading.columns, reading.name
    if isinstance(columns, MDPDataset):
        dataset = columns
    else:
        with faults_in_file(columns if reading.nonfinite == "refuse" else {}):
            dataset = MDPDataset(**columns, nonfinite=reading.nonfinite)
    own_name = Path(text).stem if "/" in text or sources.is_path(text) else text
    named = dataset.name if dataset.name != "custom" else own_name
    return dataset.with_options(name=named, metadata=reading.metadata)


def environment_of(reading: Reading, dataset: MDPDataset) -> Env | None:
    """Returns the environment to evaluate in of what was read and built: the reader's own, or that of the metadata."""
    return _stated_environment(dataset.metadata) if reading.states_env else reading.env


def with_query(name: str) -> tuple[str, dict[str, Any]]:
    """Returns a name without the options that stand behind it, as in "dqn_replay/Pong?epoch=3", and these.

    Raises:
        ValueError: For a question mark without options behind it.
    """
    bare, question, query = name.partition("?")
    if not question:
        return name, {}
    if not query:  # Which some versions of Python take for no options.
        raise ValueError(
            f"{name!r} has no options behind its question mark; leave it out, or write {bare}?name=value"
        )
    return bare, {option: _parsed(text) for option, text in parse_qsl(query, strict_parsing=True)}


def _with_query(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns a name without the options that stand behind it, and all options."""
    if "?" not in name or Path(name).exists():
        return name, options
    bare, stated = with_query(name)
    for option in stated.keys() & options.keys():
        raise TypeError(f"dataset {name!r} says {option!r} already; leave the option {option!r} out")
    return bare, {**stated, **options}


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _find_registered(name: str) -> tuple[Callable[..., Any], dict[str, str]] | None:
    if name in _REGISTERED:
        return _REGISTERED[name].function, {}
    for entry in reversed(_REGISTERED.values()):
        match = entry.expression.fullmatch(name)
        if match is not None:
            return entry.function, match.groupdict()
    return None


def _read_built_in(name: str, options: dict[str, Any]) -> Reading:
    loader = sources.loader_of_name(name)
    if loader is not None:
        sources.check_options(loader, options, name, common=("env_id",))
        return _with_environment(loader, name, options)
    if not sources.is_path(name) and not name.lower().endswith(tuple(sources.UNREAD)):
        raise ValueError(f"Unrecognized dataset name: {name!r}{_hint(name)}")
    path = Path(name).expanduser()
    check_plain(path)
    reader = sources.reader_of_path(path, options.pop("format", None), options)
    sources.check_options(reader, options, name, common=("env_id", "format"))
    return _with_environment(reader, path, options)


def _hint(name: str) -> str:
    """Returns the nearest name, or what else helps; of one that reads as Minari's own, how it is called here."""
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)+-v\d+", name):
        return f"; Minari's datasets are named 'minari/{name}'"
    own = "; one of your own is known once its module is imported, on the command line by --import MODULE"
    return did_you_mean(name, known_datasets()) or own


def _with_environment(function: Callable[..., Any], subject: str | Path, options: dict[str, Any]) -> Reading:
    env_id = options.pop("env_id", None)
    env = None if env_id is None else make_env(env_id)
    if (
        env is not None
        and options.get("action_space") is None
        and sources.takes_option(function, "action_space")
    ):
        options["action_space"] = env.action_space
    with sources.blamed_on(subject):
        result = function(subject, **options)
    reading = _as_reading(result, str(subject))
    if env_id is not None:
        return reading._replace(env=env, metadata={"env_id": env_id, "env_kwargs": {}})
    return reading._replace(states_env=not isinstance(result, tuple))


def _stated_environment(metadata: dict[str, Any]) -> Env | None:
    """Makes the environment that a dataset states; its words come from a file, and import nothing."""
    env_id, arguments = metadata.get("env_id"), metadata.get("env_kwargs") or {}
    if env_id is None:
        return None
    if not isinstance(env_id, str) or not isinstance(arguments, dict):
        raise DatasetError(f"env_id must be a name and env_kwargs a dict, got {env_id!r} and {arguments!r}")
    module, _, name = env_id.rpartition(":")
    if module and name not in gymnasium.registry:
        warn_caller(
            f"the dataset states the environment {env_id!r}, but a file has no module imported: import "
            f"{module!r}, or pass env_id={env_id!r}; there is no environment to evaluate in"
        )
        return None
    return make_env(name, **arguments)


def _as_reading(result: object, name: str) -> Reading:
    pair = result if isinstance(result, tuple) else (result, None)
    if len(pair) != 2 or not isinstance(pair[0], MDPDataset | dict):
        raise TypeError(
            f"the function of dataset {name!r} must return an MDPDataset or its arguments as a dict, or a pair of "
            f"either and an environment or None, got {type(result).__name__}"
        )
    return Reading(name, pair[0], None if pair[1] is None else as_gymnasium(pair[1]), {})


def _jsonable(value: object) -> Json:
    value = value.to_json() if isinstance(value, TableSchema) else value
    try:
        copied: Json = json.loads(json.dumps(value))
        return copied
    except (TypeError, ValueError):
        return repr(value)
