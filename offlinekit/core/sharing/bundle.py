"""Policies in folders, on web servers and on hubs: a policy file, what lies beside it, and a list with their hashes."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from offlinekit.core.sharing.beside import RULE, card_of, describes, rule_of
from offlinekit.core.sharing.places import place_of
from offlinekit.core.sharing.seen_rows import SeenRows
from offlinekit.datasets.download import sha256_of
from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_folder, read_small

LIST = "files.json"
"""File with name, bytes and SHA-256 of each other file."""
FORMAT = 1
DATA = (".okt", ".onnx", ".safetensors", ".md", ".json")
"""Suffixes of files that hold data alone; archives of torch (.pt2, .pt) may run code and are neither sent nor taken."""
POLICIES = DATA[:3]
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
MOST_BYTES = 1 << 30
"""Bytes that are taken of a stranger's policy unless the caller allows more."""
MOST_FILES = 16


class Listed(NamedTuple):
    """A file of a list."""

    n_bytes: int
    sha256: str


def push(policy: Path, destination: str, *, revision: str | None = None, private: bool = False) -> str:
    """Copies a policy file, its card and its rule of seen rows, with their hashes, to a folder or a hub.

    Args:
        policy: A file that `save` or `export` wrote, with its card beside it.
        destination: A folder, which is made or must hold such a policy alone; or "hf:owner/name".
        revision: Branch of the hub.
        private: Whether a repository that is made on a hub is private.

    Returns:
        Where it went, as `pull` takes it.

    Raises:
        FileNotFoundError: Without the file, or without a card beside it.
        FileFormatError: For a file that may hold code, and for a card or a rule of another file.
        MissingExtraError: For a hub without the extra `hub`.
    """
    place = place_of(destination)
    files = _files_of(policy)
    with tempfile.TemporaryDirectory() as folder:
        listed = {}
        for path in files:
            content = path.read_bytes()
            (Path(folder) / path.name).write_bytes(content)
            listed[path.name] = {"bytes": len(content), "sha256": sha256_of(Path(folder) / path.name)}
        (Path(folder) / LIST).write_text(json.dumps({"format": FORMAT, "files": listed}, indent=2) + "\n")
        return place.put(Path(folder), revision, private)


def pull(
    source: str,
    out: Path,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    max_bytes: int = MOST_BYTES,
) -> Path:
    """Fetches a policy with its card, each file checked against its bytes and SHA-256; nothing of it is run.

    Args:
        source: A folder, an http or https URL of one, or "hf:owner/name".
        out: Folder to make.
        revision: Branch, tag or commit of a hub.
        sha256: Expected hash of the policy file, from a way that you trust more than the source.
        max_bytes: That its files may have together.

    Returns:
        The policy file in `out`.

    Raises:
        FileExistsError: If `out` is there.
        FileFormatError: For a file other than its list says, too large, of a kind that may hold code, for a rule of
            another policy, or without list.
        DownloadError: If a file cannot be fetched.
        FileNotFoundError: If the source is a folder that there is not.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; name another folder, or remove it")
    place = place_of(source)
    with atomic_folder(out) as folder:
        place.get(LIST, folder / LIST, revision, None)
        files = _listed(folder / LIST, max_bytes)
        for name, facts in files.items():
            place.get(name, folder / name, revision, facts.n_bytes)
            _check(folder / name, facts, source)
        policy = _policy_of(files, source)
        if sha256 is not None and files[policy].sha256 != sha256.lower():
            raise FileFormatError(
                f"{source} has {policy} of SHA-256 {files[policy].sha256}, expected {sha256}"
            )
        SeenRows.beside(folder / policy)  # Only for its check.
    return out / policy


def _files_of(policy: Path) -> list[Path]:
    """Returns a policy file and what lies beside it."""
    if not policy.is_file():
        raise FileNotFoundError(f"there is no policy file {policy}")
    if policy.suffix not in POLICIES or not NAME.fullmatch(policy.name):
        raise FileFormatError(
            f"{policy.name} is not of a kind that is data alone, {list(POLICIES)}; export it as onnx or numpy"
        )
    card = card_of(policy)
    if not card.is_file():
        raise FileNotFoundError(
            f"{policy} has no card {card.name} beside it; export it again, or call write_card(path, algo)"
        )
    if not describes(card, policy):
        raise FileFormatError(f"{card} describes another file than {policy.name}; export it again")
    rule = rule_of(policy)
    if rule is None:
        return [policy, card]
    SeenRows.load(rule, policy)  # Only for its check.
    return [policy, card, rule]


def _listed(path: Path, max_bytes: int) -> dict[str, Listed]:
    """Returns the files of a list.

    Raises:
        FileFormatError: For a list that `push` did not write.
    """
    try:
        content = json.loads(read_small(path))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, this version reads {FORMAT}")
        files = {
            name: Listed(int(facts["bytes"]), str(facts["sha256"]))
            for name, facts in content["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise FileFormatError(
            f"{LIST} lists no policy ({error!r}); push it again with offlinekit push"
        ) from error
    if wrong := [
        name for name in files if not NAME.fullmatch(name) or Path(name).suffix not in DATA or name == LIST
    ]:
        raise FileFormatError(
            f"{LIST} names {wrong[0]!r:.100}, expected plain names of files of {list(DATA)}"
        )
    total = sum(facts.n_bytes for facts in files.values())
    if not files or len(files) > MOST_FILES or min(facts.n_bytes for facts in files.values()) < 0:
        raise FileFormatError(f"{LIST} lists {len(files)} files, expected 1 to {MOST_FILES} with their bytes")
    if total > max_bytes:
        raise FileFormatError(
            f"its files have {total:,} bytes, at most {max_bytes:,} are taken; if you trust where it is from, pass "
            f"max_bytes={total} (--max-bytes)"
        )
    return files


def _check(path: Path, facts: Listed, source: str) -> None:
    got = Listed(path.stat().st_size, sha256_of(path))
    if got != facts:
        raise FileFormatError(
            f"{path.name} of {source} is damaged, or was changed: it has {got.n_bytes:,} bytes and SHA-256 "
            f"{got.sha256}, {LIST} says {facts.n_bytes:,} and {facts.sha256}; push it again"
        )


def _policy_of(files: Mapping[str, Listed], source: str) -> str:
    policies = [name for name in files if Path(name).suffix in POLICIES and not name.endswith(RULE)]
    if len(policies) != 1:
        raise FileFormatError(f"{source} holds {len(policies)} policies, expected one")
    return policies[0]
