"""Files of strangers, read in a process of their own that has a limit of time and memory.

HDF5's library may read a damaged file for ever, or crash, and gives no way to stop it from inside. The child writes
what it read as a dataset file of offlinekit, which the caller reads.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import FileFormatError, OfflineKitError

SECONDS = 30.0
"""That a file may take."""
MEMORY = 2 << 30
"""Bytes that it may take."""
REFUSED = 3
"""Exit status of a child that says why."""


def read_apart(
    name: str, options: Mapping[str, Any], *, seconds: float = SECONDS, memory: int = MEMORY
) -> MDPDataset:
    """Reads a dataset in a child process.

    Args:
        name: As of `get_dataset`.
        options: Likewise; they are sent as JSON.
        seconds: Limit of time.
        memory: Limit of bytes.

    Raises:
        TypeError: For options that are no plain data.
        FileFormatError: For a file that takes more, ends the process, or is refused by its reader.
    """
    with tempfile.TemporaryDirectory(prefix="offlinekit-") as folder:
        out = Path(folder) / "read.h5"
        words = [sys.executable, "-m", __name__, name, json.dumps(dict(options)), str(memory), str(out)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise FileFormatError(
                f"{name} was not read within {seconds:g} seconds; it is damaged, or forged"
            ) from None
        if done.returncode == REFUSED:
            raise FileFormatError(done.stdout.strip())
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise FileFormatError(f"{name} ended the process that read it ({last}); it is damaged, or forged")
        return MDPDataset.load(out, max_bytes=memory)


def main(name: str, options: str, memory: str, out: str) -> int:
    """Reads and writes a dataset; returns the exit status."""
    from offlinekit.datasets.registry import get_dataset

    resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    try:
        get_dataset(name, **json.loads(options))[0].save(out)
    except (OfflineKitError, FileNotFoundError, ValueError) as error:
        print(error)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
