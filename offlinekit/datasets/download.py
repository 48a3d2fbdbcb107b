"""Files fetched over http or https: resumed, checked, and put in place at once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from offlinekit.errors import DownloadError, FileFormatError
from offlinekit.ground.progress import Progress

BLOCK = 1 << 18
SCHEMES = ("http", "https")


def data_root() -> Path:
    """Returns the folder of downloaded data: OFFLINEKIT_DATA, or ~/.offlinekit/datasets."""
    given = os.environ.get("OFFLINEKIT_DATA")
    return Path(given).expanduser() if given else Path.home() / ".offlinekit" / "datasets"


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    most_bytes: int | None = None,
    check: Callable[[Path], object] | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
    pause: float = 1.0,
) -> Path:
    """Fetches a file unless it is there, and shows how far it is.

    What arrived of an interrupted download stays beside as `<name>.part` and is gone on with. The file
    appears under its name only when it is complete, with its hash in `<name>.sha256`.

    Args:
        url: http or https.
        path: Where the file goes.
        sha256: Expected hash in hexadecimal, if known.
        size: Expected bytes, if known.
        most_bytes: Bytes at which it is given up; None for no limit.
        check: Raises FileFormatError for a file that is not what it should be, such as an error page.
        timeout: Seconds without a response or a byte before an attempt is given up.
        attempts: How often to try; each goes on where the last one stopped.
        pause: Seconds before the second attempt, doubled each time.

    Raises:
        DownloadError: If it cannot be fetched or is not the expected file; has the URL, and where to
            put the file by hand.
    """
    if path.is_file():
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(path):
            if not path.is_file():
                _fetch_all(url, part, most_bytes, timeout, attempts, pause)
                _verify(part, sha256, size, check)
                path.with_name(f"{path.name}.sha256").write_text(f"{sha256_of(part)}  {path.name}\n")
                part.replace(path)
    except (OSError, HTTPException, FileFormatError) as error:
        raise DownloadError(
            f"{url} could not be fetched: {error}; if the network does not allow it, fetch it "
            f"elsewhere and put it at {path} (the environment variable OFFLINEKIT_DATA names another folder)"
        ) from error
    return path


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Waits until no other process fetches the same file."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_all(
    url: str, part: Path, most_bytes: int | None, timeout: float, attempts: int, pause: float
) -> None:
    for attempt in range(attempts):
        try:
            _fetch(url, part, most_bytes, timeout)
            return
        except (OSError, HTTPException) as error:
            if attempt == attempts - 1 or not _may_pass(error):
                raise
            time.sleep(pause * 2**attempt)


def _may_pass(error: Exception) -> bool:
    """Returns whether another attempt may help: not for a refused redirect or a missing page."""
    if isinstance(error, HTTPError):
        return error.code >= 500 or error.code == 416  # 416: what is beside does not fit the file.
    return not isinstance(error, DownloadError)


def _fetch(url: str, part: Path, most_bytes: int | None, timeout: float) -> None:
    """Fetches what is missing of `part`; raises OSError if less arrives than was announced."""
    tag = part.with_name(f"{part.name}.tag")
    have = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "offlinekit"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    try:
        response = _open(urllib.request.Request(url, headers=headers), timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            tag.unlink(missing_ok=True)
        raise
    with response:
        have = have if _continues(response, have) else 0
        _remember_tag(response, tag)
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        got = have + _copy(response, part, have, total, most_bytes)
    if total is not None and got < total:
        raise OSError(f"the connection ended after {got:,} of {total:,} bytes")
    tag.unlink(missing_ok=True)


def _continues(response: HTTPResponse, have: int) -> bool:
    began = str(response.headers.get("Content-Range", ""))
    return bool(have and response.status == 206 and began.startswith(f"bytes {have}-"))


def _remember_tag(response: HTTPResponse, tag: Path) -> None:
    """Saves what identifies the file on the server; without it an interrupted download starts again."""
    value = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if value and not value.startswith("W/"):
        tag.write_text(value)
    else:
        tag.unlink(missing_ok=True)


def _copy(response: HTTPResponse, part: Path, have: int, total: int | None, most_bytes: int | None) -> int:
    got = 0
    name = part.name.removesuffix(".part")
    with (
        part.open("ab" if have else "wb") as file,
        Progress(name, total and total / 1e6, have / 1e6, unit="megabyte") as bar,
    ):
        while block := response.read(BLOCK):
            file.write(block)
            got += len(block)
            if most_bytes is not None and have + got > most_bytes:
                raise FileFormatError(f"it has more than {most_bytes:,} bytes")
            bar.advance(len(block) / 1e6)
        file.flush()
        os.fsync(file.fileno())
    return got


def _verify(part: Path, sha256: str | None, size: int | None, check: Callable[[Path], object] | None) -> None:
    """Raises FileFormatError, and removes the file, where it is not the expected one."""
    try:
        if size is not None and part.stat().st_size != size:
            raise FileFormatError(f"it has {part.stat().st_size:,} bytes, expected {size:,}")
        if sha256 is not None and sha256_of(part) != sha256:
            raise FileFormatError(f"its SHA-256 is {sha256_of(part)}, expected {sha256}")
        if check is not None:
            check(part)
    except FileFormatError:
        part.unlink()
        raise


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in SCHEMES:  # urllib itself would follow ftp.
            fp.close()
            raise DownloadError(f"only http and https are fetched, but it redirects to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in SCHEMES:
        raise DownloadError(f"only http and https are fetched, got {url}")


def _open(request: urllib.request.Request, timeout: float) -> HTTPResponse:
    """Opens a request with handlers of http and https only: no file, ftp or data URL."""
    _check_scheme(request.full_url)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _CheckedRedirects(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    response: HTTPResponse = opener.open(request, timeout=timeout)
    return response
