"""Nothing process-wide changes an algorithm: dtype, device, grad mode, and what other threads do meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from catalogue_variants import small_variants
from defaults import float64

import offlinekit
from offlinekit.algos import SAC, MLPEncoder
from offlinekit.testing import small_dataset

QUIET = {"out": None, "progress": False, "value_alarm": "off"}


@contextlib.contextmanager
def other_defaults(grad_mode: Any) -> Iterator[None]:
    """Sets a default device on which numbers are lost, and a grad mode; both are those of the thread."""
    torch.set_default_device("meta")
    try:
        with grad_mode():
            yield
    finally:
        torch.set_default_device(None)


def bits(algo: Any) -> list[bytes]:
    return [np.asarray(value).tobytes() for value in algo.impl.state_tensors().values()]


def result(front: Any, options: Any, seed: int, folder: Any) -> list[bytes]:
    """Builds, trains, acts, saves, loads and trains on; returns all numbers."""
    data = small_dataset(front.action_kind)
    algo = front(**{**options, "batch_size": 8, "device": "cpu"}, seed=seed).fit(data, 2, **QUIET)
    path = folder / f"{seed}-{threading.get_ident()}.okt"
    algo.save(path)
    acted = [] if algo.is_stateful else [algo.predict(data.observations[:4]).tobytes()]
    loaded = offlinekit.load(path, device="cpu").fit(data, 2, **QUIET)
    return [*bits(algo), *acted, *bits(loaded)]


ONCE = {param.values[0]: param for param in small_variants(warmup_steps=1)}
"""Each algorithm in one of its variants."""


@pytest.mark.parametrize(("front", "options"), ONCE.values())
def test_two_fits_in_two_threads_under_other_defaults_equal_the_two_alone(front, options, tmp_path):
    alone = [result(front, options, seed, tmp_path) for seed in (0, 1)]
    found: dict[int, Any] = {}

    def fit(seed: int, grad_mode: Any) -> None:
        try:
            with other_defaults(grad_mode):
                found[seed] = result(front, options, seed, tmp_path)
        except Exception as error:  # Of a thread: shown by the comparison.
            found[seed] = repr(error)

    modes = (torch.no_grad, torch.inference_mode)
    threads = [threading.Thread(target=fit, args=given) for given in enumerate(modes)]
    with float64():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found[0], found[1]] == alone


@pytest.mark.parametrize("name", ["policy.safetensors", "policy.pt", "policy.pt2"])
def test_exports_are_made_under_other_defaults(name, tmp_path):
    data = small_dataset("continuous")
    scaled = {"observation_scaler": "standard", "action_scaler": "minmax"}
    algo = SAC(seed=0, device="cpu", encoder=MLPEncoder((8,)), **scaled).fit(data, 1, **QUIET)
    with other_defaults(torch.inference_mode):
        algo.export(tmp_path / name, observations=data.observations[:3])
    assert (tmp_path / name).is_file()


def test_a_run_goes_on_under_other_defaults(tmp_path):
    data = small_dataset("continuous")
    small = {"seed": 0, "device": "cpu", "encoder": MLPEncoder((8,)), "batch_size": 8}
    whole = SAC(**small).fit(data, 4, **QUIET)
    with other_defaults(torch.no_grad):
        run = SAC(**small).fitter(
            data, 4, **{**QUIET, "out": tmp_path}, log_interval=2, checkpoint_interval=2
        )
        next(run)
        run.close()
        again = SAC(**small).fit(data, 4, **{**QUIET, "out": tmp_path}, log_interval=2, resume="auto")
    assert bits(again) == bits(whole)
