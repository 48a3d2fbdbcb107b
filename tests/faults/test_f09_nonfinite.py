"""F9: NaN and infinities in seven places are refused with their index, or stop the run with the last good kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import offlinekit
from offlinekit.algos import BC
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, TrainingError
from offlinekit.testing import small_dataset
from offlinekit.training import run_folder

VALUES = [np.nan, np.inf, -np.inf]
TINY: dict[str, Any] = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 0}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "place", ["observations", "actions", "rewards", "next_observations", "behavior_log_probs"]
)
def test_in_the_data(place: str, value: float) -> None:
    data = small_dataset("continuous")
    columns: dict[str, Any] = {
        "observations": data.observations,
        "actions": data.actions,
        "rewards": data.rewards,
        "next_observations": data.next_observations_at(np.arange(len(data))) + 0.5,
        "behavior_log_probs": np.zeros(len(data)),
    }
    columns = {name: column.copy() for name, column in columns.items()}
    columns[place][47, ...] = value
    with pytest.raises(
        DatasetError, match=rf"{place}.* must be finite, got -?(nan|inf) at row 47, in episode 2"
    ):
        MDPDataset(**columns, terminals=data.terminals, timeouts=data.timeouts)


class Spoiled(torch.autograd.Function):
    """Passes a loss on, and gives it a gradient of `value`."""

    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor, value: float) -> torch.Tensor:
        ctx.value = value
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return gradient * ctx.value, None


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("gradient_alone", [False, True], ids=["loss", "gradient"])
def test_in_training(value: float, gradient_alone: bool, tmp_path: Path) -> None:
    class Now(BCImpl):
        n_calls = 0

        def compute_actor_loss(self, batch: Any) -> Any:
            found = super().compute_actor_loss(batch)
            loss = found[0] if isinstance(found, tuple) else found
            type(self).n_calls += 1
            if self.n_calls <= 150:
                return loss
            return Spoiled.apply(loss, value) if gradient_alone else loss * value

    algo = BC(**TINY, impl_class=Now)
    settings: dict[str, Any] = {"checkpoint_interval": 50, "engine": "eager", "progress": False}
    with pytest.raises(TrainingError, match=r"no longer finite, seen at update (\d+).*last checkpoint is in"):
        algo.fit(small_dataset("continuous"), 1_000, out=tmp_path, **settings)
    assert 151 <= algo.grad_step <= 250
    kept = [offlinekit.load(path, impl_class=Now) for path in run_folder.checkpoints(algo.run_dir)]
    assert [one.grad_step for one in kept] == [100, 150]
    assert all(bool(p.isfinite().all()) for one in kept for p in one.impl.parameters())
    assert not (algo.run_dir / "policy.okt").exists()


class SpoiledAt100(BCImpl):
    n_calls = 0
    gradient_alone = True

    def compute_actor_loss(self, batch: Any) -> Any:
        found = super().compute_actor_loss(batch)
        loss = found[0] if isinstance(found, tuple) else found
        type(self).n_calls += 1
        if self.n_calls < 100:
            return loss
        return Spoiled.apply(loss, np.nan) if self.gradient_alone else loss * np.nan


@pytest.mark.parametrize(
    ("gradient_alone", "interval", "said"),
    [(True, 50, "the parameters .* are no longer finite"), (False, 1_000, "actor_loss is no longer finite")],
)
def test_each_look_by_itself(
    gradient_alone: bool, interval: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient spoils the update of a checkpoint, and its loss is sound; a loss is, far from any checkpoint."""
    monkeypatch.setattr(SpoiledAt100, "n_calls", 0)
    monkeypatch.setattr(SpoiledAt100, "gradient_alone", gradient_alone)
    algo = BC(**TINY, impl_class=SpoiledAt100)
    settings: dict[str, Any] = {"checkpoint_interval": interval, "engine": "eager", "progress": False}
    with pytest.raises(TrainingError, match=said):
        algo.fit(small_dataset("continuous"), 100 if gradient_alone else 1_000, out=tmp_path, **settings)
    assert 100 <= algo.grad_step <= 200
    kept = [path.stem for path in run_folder.checkpoints(algo.run_dir)]
    assert kept == (["step_000000050"] if gradient_alone else [])
    assert not (algo.run_dir / "policy.okt").exists()
