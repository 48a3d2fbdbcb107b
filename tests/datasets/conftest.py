from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from http_server import serving

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Finds a file recorded by others, or skips."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"the recorded file {name} is not beside the repository")
        return path

    return find


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serves a folder in place of the sources' buckets, and downloads into another one."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    monkeypatch.setenv("OFFLINEKIT_DATA", str(tmp_path / "data"))
    with serving(
        ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    ) as server:
        for module in ("sources.dqn_replay", "families.rl_unplugged_shards"):
            monkeypatch.setattr(
                f"offlinekit.datasets.{module}.BUCKET", f"http://127.0.0.1:{server.server_port}"
            )
        yield folder
