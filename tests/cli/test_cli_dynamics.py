"""`offlinekit dynamics`: what a learned model gets right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from offlinekit.algos import BC, Dynamics
from offlinekit.testing import small_dataset

Call = Callable[..., Result]
LAYER = {"type": "mlp", "hidden_sizes": [8]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, data = tmp_path_factory.mktemp("model"), small_dataset("continuous")
    algo = Dynamics(encoder=LAYER, n_members=2, max_epochs=1, termination="never", seed=0, device="cpu")
    algo.fit(data, 10, out=None, progress=False)
    data.save(folder / "data.h5")
    return algo.save(folder / "model.okt"), folder / "data.h5"


def test_table_json_and_figure(call: Call, model: tuple[Path, Path], tmp_path: Path) -> None:
    path, data = model
    result = call("dynamics", path, "--dataset", data, "--horizon", 5, "--plot", tmp_path / "model.png")
    assert result.exit_code == 0, result.output
    assert "observation 3" in result.output
    assert "inside stated intervals" in result.output
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    printed = json.loads(call("dynamics", path, "--dataset", data, "--horizon", 5, "--json").stdout)
    assert list(printed["errors"]) == [*(f"observation {i}" for i in range(4)), "reward"]
    assert len(printed["growth"]) == 5


def test_what_learned_no_dynamics_is_refused(call: Call, model: tuple[Path, Path], tmp_path: Path) -> None:
    cloned = (
        BC(encoder=LAYER, seed=0, device="cpu").build(small_dataset("continuous")).save(tmp_path / "bc.okt")
    )
    result = call("dynamics", cloned, "--dataset", model[1])
    assert result.exit_code != 0
    assert "BC learned no dynamics; give a run of Dynamics or of MOPO, say" in " ".join(result.output.split())
