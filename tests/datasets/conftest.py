from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
