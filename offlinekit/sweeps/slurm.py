"""Workers of a sweep as jobs of SLURM, or of this machine, by submitit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from offlinekit.errors import require


def submit(
    folder: Path, workers: int, cluster: str = "slurm", imports: Sequence[str] = (), **parameters: Any
) -> list[Any]:
    """Submits jobs that each work on a sweep until nothing of it is left (extra `submitit`).

    Args:
        folder: Of the sweep, on a filesystem that all jobs see.
        workers: How many jobs.
        cluster: "slurm", or "local" for processes of this machine.
        imports: Modules of yours that register datasets, algorithms or metrics of the sweep; jobs import them first.
        parameters: Of submitit's `update_parameters`, such as `timeout_min`, `slurm_partition`, `gpus_per_node`.

    Returns:
        The jobs of submitit.
    """
    submitit: ModuleType = require("submitit", "submitit")
    folder = folder.resolve()
    executor = submitit.AutoExecutor(folder=folder / "jobs", cluster=cluster)
    executor.update_parameters(**parameters)
    own = [word for module in imports for word in ("--import", module)]
    command = [sys.executable, "-m", "offlinekit", *own, "sweep", "--resume", str(folder), "--quiet"]
    with executor.batch():
        return [executor.submit(submitit.helpers.CommandFunction(command)) for _ in range(workers)]
