"""Several threads on cores that others use: said at the start of a run, and only then."""

from __future__ import annotations

import os

import pytest
import torch

from offlinekit.algos import BC
from offlinekit.testing import small_dataset
from offlinekit.training.setup import contention as module
from offlinekit.training.setup.contention import contention, warn_of_contention


def test_when_threads_wait_for_one_another() -> None:
    assert "torch has 2 threads, but 3.5 programs share 2 cores" in contention(2, 3.5, 2, "")
    assert contention(2, 3.5, 2, "ACTIVE")
    assert contention(1, 3.5, 2, "") == ""  # One thread waits for none.
    assert contention(2, 2.0, 2, "") == ""  # As many as there are cores.
    assert contention(2, 3.5, 2, "passive ") == ""


@pytest.mark.parametrize(("load", "told"), [(9.0, True), (0.5, False)])
def test_a_run_says_it_once(
    load: float, told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(module, "_WARNED", [])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    BC(seed=0, device="cpu").fit(small_dataset("continuous"), 3, out=None, progress=False)
    said = [record for record in caplog.records if "set OMP_NUM_THREADS=1" in record.getMessage()]
    assert len(said) == told


def test_it_is_said_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(module.log, "warning", said.append)
    monkeypatch.setattr(module, "_WARNED", [])
    monkeypatch.setattr(module, "contention", lambda *facts: "slow")
    for _ in range(2):
        warn_of_contention(torch.device("cuda"))
        assert said == []
    for _ in range(3):
        warn_of_contention(torch.device("cpu"))
    assert said == ["slow"]
