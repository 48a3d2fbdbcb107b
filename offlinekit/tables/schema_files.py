"""Schemas from files: YAML or JSON that a person wrote, or the schema inside a policy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from offlinekit.errors import FileFormatError
from offlinekit.io import read_small, read_yaml
from offlinekit.tables.table_columns import TableError
from offlinekit.tables.table_schema import TableSchema

SchemaLike: TypeAlias = "TableSchema | Mapping[str, object] | str | os.PathLike[str]"
"""A schema, its data, or a file that holds one."""

LONGEST_HEADER = 1 << 24
"""Bytes of a policy file's description."""
POLICIES = (".okt", ".safetensors")


def as_schema(given: SchemaLike) -> TableSchema:
    """Returns the schema that is given as itself, as plain data, or as a file.

    Raises:
        FileNotFoundError: If there is no file.
        FileFormatError: For a file that describes no schema.
        TableError: For data that describe none.
    """
    if isinstance(given, TableSchema):
        return given
    return TableSchema.from_json(given) if isinstance(given, Mapping) else read_schema(Path(given))


def read_schema(path: Path) -> TableSchema:
    """Reads a schema of a .yaml or .json file, or that of a policy (.okt, or an exported .safetensors).

    Raises:
        FileNotFoundError: If there is no file.
        FileFormatError: For a file that describes no schema.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no schema {path}; `offlinekit datasets init TABLE` guesses one")
    with _refused(path):
        if path.suffix in POLICIES:
            return _schema_of_policy(path)
        if path.suffix == ".json":
            return TableSchema.from_json(json.loads(read_small(path)))
        data = read_yaml(path, "pandas", as_texts=True)
        return TableSchema.from_json(
            {key: value for key, value in data.items() if value not in ("null", "~")}
        )


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except FileFormatError:
        raise
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        words = str(error) if isinstance(error, TableError) else f"{type(error).__name__}: {error}"
        raise FileFormatError(f"{path} is no schema of a table: {words}") from error


def _schema_of_policy(path: Path) -> TableSchema:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > min(LONGEST_HEADER, path.stat().st_size - 8):
            raise FileFormatError(f"{path} is no policy file, or is truncated; restore it from a copy")
        notes = json.loads(file.read(size)).get("__metadata__", {})
    if "offlinekit.deploy" in notes:
        data = json.loads(notes["offlinekit.deploy"]).get("schema")
    else:
        data = json.loads(notes["offlinekit"])["scaling"].get("schema") if "offlinekit" in notes else None
    if data is None:
        raise FileFormatError(f"{path} has no schema: its policy did not learn from a table with one")
    return TableSchema.from_json(data)
