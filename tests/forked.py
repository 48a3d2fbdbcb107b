"""Processes forked from one server that has imported everything once, so that each starts in milliseconds."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PRELOADED = ["fault_children", "ranks", "offlinekit.cli.job", "torch.distributed"]


@functools.cache
def _server() -> Any:
    """Returns the one server of this process; what is preloaded when it starts is all that it ever has."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    paths = [str(Path(__file__).parent / "faults"), *filter(None, sys.path)]
    with pytest.MonkeyPatch.context() as patch:  # The server finds modules as this process does.
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    return context


def start(function: Callable[..., Any], *arguments: Any, daemon: bool = False) -> Any:
    """Starts a process that calls a function of a module; a daemon is killed when this process ends."""
    process = _server().Process(target=function, args=arguments, daemon=daemon)
    with pytest.MonkeyPatch.context() as patch:  # Else each child would import pytest.
        patch.setitem(sys.modules, "__main__", ModuleType("__main__"))
        process.start()
    return process
