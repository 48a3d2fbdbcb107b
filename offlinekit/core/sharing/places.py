"""Where policies lie: a folder, a folder on a web server, a repository of a hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError
from urllib.parse import urlsplit

from offlinekit.datasets.download import SCHEMES, download
from offlinekit.errors import DownloadError, FileFormatError, require
from offlinekit.io import LARGEST_TEXT, atomic_folder, atomic_write, check_plain

HUB = "hf:"
"""Prefix of a repository of a hub."""
PUSHED = "give what offlinekit push has made, with all its files; if it was, push it again"
"""What to do where one of the files of a policy is missing."""


class Place(Protocol):
    """Where the files of a policy lie, or go to."""

    def put(self, folder: Path, revision: str | None, private: bool) -> str:
        """Takes all files of a folder; returns where they are."""

    def get(self, name: str, to: Path, revision: str | None, n_bytes: int | None) -> None:
        """Copies a file of at most so many bytes; None for those of a small text."""


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, folder: Path, revision: str | None, private: bool) -> str:
        """Makes the folder, or replaces the files of the policy that it holds; the list of hashes comes last."""
        if not self.path.exists():
            with atomic_folder(self.path) as beside:
                shutil.copytree(folder, beside, dirs_exist_ok=True)
            return str(self.path)
        new = {path.name for path in folder.iterdir()}
        if others := sorted({path.name for path in self.path.iterdir()} - new):
            raise FileExistsError(
                f"{self.path} holds {others[0]!r} besides; name an empty folder, or a new one"
            )
        for path in sorted(folder.iterdir(), key=lambda path: path.suffix == ".json"):
            with atomic_write(self.path / path.name) as beside:
                shutil.copyfile(path, beside)
        return str(self.path)

    def get(self, name: str, to: Path, revision: str | None, n_bytes: int | None) -> None:
        """Copies a file."""
        path = self.path / name
        if not self.path.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path}; give one that offlinekit push has made")
        check_plain(path)
        if not path.is_file():
            raise FileFormatError(f"{self.path} has no {name}; {PUSHED}")
        check_size(path.stat().st_size, n_bytes, name)
        try:
            source = path.open("rb")
        except OSError as error:
            raise FileFormatError(f"{path} cannot be read ({error}); see who may read it") from error
        with source, to.open("wb") as copy:
            shutil.copyfileobj(source, copy)


class Web:
    """A folder of a web server."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def put(self, folder: Path, revision: str | None, private: bool) -> str:
        """Refuses: a web server takes no files."""
        raise ValueError(
            f"{self.url} takes no files; push to a folder that the server shows, or to hf:owner/name"
        )

    def get(self, name: str, to: Path, revision: str | None, n_bytes: int | None) -> None:
        """Fetches a file."""
        url = f"{self.url}/{name}"
        try:
            download(url, to, most_bytes=LARGEST_TEXT if n_bytes is None else n_bytes)
        except DownloadError as error:
            why = error.__cause__ or error
            if isinstance(why, HTTPError) and why.code in (404, 410):
                raise DownloadError(f"{self.url} has no {name} ({why}); {PUSHED}") from error
            raise DownloadError(
                f"{url} could not be fetched: {why}; see whether the server can be reached from here and shows it, or "
                "copy the folder here and pull that"
            ) from error
        to.with_name(f"{name}.sha256").unlink()
        to.with_name(f".{name}.lock").unlink()


class Hub:
    """A model repository of a hub, by `huggingface_hub`: its token, and HF_ENDPOINT for another server."""

    def __init__(self, repository: str) -> None:
        owner, _, name = repository.partition("/")
        if not owner or not name or "/" in name:
            raise ValueError(f"a repository of a hub is {HUB}owner/name, got {HUB}{repository}")
        self.repository, self.endpoint = repository, os.environ.get("HF_ENDPOINT")

    def put(self, folder: Path, revision: str | None, private: bool) -> str:
        """Makes the repository if there is none and commits the files, the card as README.md too."""
        hub = require("huggingface_hub", "hub")
        for card in folder.glob("*.md"):
            shutil.copyfile(card, folder / "README.md")
        api = hub.HfApi(endpoint=self.endpoint, library_name="offlinekit")
        try:
            api.create_repo(self.repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=self.repository, folder_path=folder, revision=revision, commit_message="Policy"
            )
        except hub.errors.HfHubHTTPError as error:
            raise DownloadError(
                f"{HUB}{self.repository} could not be written: {error}; see `hf auth login`"
            ) from error
        return f"{HUB}{self.repository}"

    def get(self, name: str, to: Path, revision: str | None, n_bytes: int | None) -> None:
        """Fetches a file, once the hub has said how large it is."""
        hub = require("huggingface_hub", "hub")
        given = {
            "repo_id": self.repository,
            "filename": name,
            "revision": revision,
            "endpoint": self.endpoint,
        }
        url = hub.hf_hub_url(**given)
        try:
            facts = hub.get_hf_file_metadata(url, endpoint=self.endpoint)
            check_size(facts.size or 0, n_bytes, name)
            hub.hf_hub_download(**given, local_dir=to.parent)
        except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError) as error:
            raise DownloadError(
                f"{HUB}{self.repository} has no {name} that could be fetched: {error}; give a repository, and the "
                "--revision of it, that offlinekit push has written"
            ) from error
        shutil.rmtree(to.parent / ".cache", ignore_errors=True)


def place_of(text: str) -> Place:
    """Returns the place that a text names: "hf:owner/name", a URL, else a folder.

    Raises:
        ValueError: For another scheme than http and https.
    """
    if text.startswith(HUB):
        return Hub(text.removeprefix(HUB))
    if "://" in text:
        if urlsplit(text).scheme not in SCHEMES:
            raise ValueError(f"only http, https and {HUB}owner/name are fetched beside folders, got {text}")
        return Web(text)
    return Folder(Path(text))


def check_size(n_bytes: int, most: int | None, name: str) -> None:
    """Checks that a file is not larger than its list says, a small text not than any is."""
    if n_bytes > (LARGEST_TEXT if most is None else most):
        raise FileFormatError(
            f"{name} has {n_bytes:,} bytes, more than the {most or LARGEST_TEXT:,} expected; push it again"
        )
