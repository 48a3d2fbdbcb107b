"""Hyperparameters that had other names: files and runs migrate in silence, calls are warned and act."""

from __future__ import annotations

import json
import math
from typing import Annotated

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import offlinekit
from offlinekit.algos import DiscreteAWAC, DiscreteCRR, catalogue
from offlinekit.cli.main import main
from offlinekit.core.algo import Algo
from offlinekit.core.renames import RENAMES, inverse
from offlinekit.fields import NonNegative
from offlinekit.sweeps.plan import Plan
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file, run_folder

SMALL = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 0}
QUIET = {"progress": False, "log_interval": 2, "checkpoint_interval": 4}


def as_before(path):
    """Rewrites a policy file as the version before the renaming wrote it: beta = 1 / temperature."""
    header, tensors = policy_file.read(path, torch.device("cpu"))
    header["config"]["beta"] = 1.0 / header["config"].pop("temperature")
    policy_file.write(path, header, tensors)


def run_as_before(folder):
    """Rewrites a run folder alike."""
    for path in run_folder.checkpoints(folder):
        as_before(path)
    config = json.loads((folder / "config.json").read_text())
    config["hyperparameters"]["beta"] = 1.0 / config["hyperparameters"].pop("temperature")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(("beta", "temperature"), [(4.0, 0.25), (0.0, math.inf), (0.5, 2.0)])
def test_the_constructor_warns_and_acts(beta, temperature):
    with pytest.warns(
        DeprecationWarning,
        match=f"'beta' of DiscreteAWAC is now 'temperature': give temperature={temperature}",
    ):
        assert DiscreteAWAC(beta=beta).temperature == temperature


def test_both_names_are_refused():
    with pytest.raises(
        TypeError, match="DiscreteCRR takes 'temperature', which was 'beta'; give one of them"
    ):
        DiscreteCRR(beta=1.0, temperature=1.0)


def test_the_default_of_a_subclass_warns_and_acts():
    with pytest.warns(DeprecationWarning, match="'beta' of Cold is now 'temperature'"):
        front = type(DiscreteAWAC)("Cold", (DiscreteAWAC,), {"beta": 4.0, "__module__": __name__})
    try:
        assert front().temperature == 0.25
        assert front.hyperparameters()["temperature"].default == 0.25
        assert "beta" not in vars(front)
    finally:
        del Algo.known["Cold"]


def test_an_assignment_warns_and_acts():
    algo = DiscreteCRR()
    with pytest.warns(DeprecationWarning, match="now 'temperature'"):
        algo.beta = 2.0
    assert algo.temperature == 0.5
    assert not hasattr(algo, "beta")


def test_a_field_of_a_subclass_keeps_its_name():
    class WithBeta(DiscreteAWAC):
        """Has a beta of its own."""

        beta: Annotated[NonNegative, "Of another kind."] = 3.0

    assert (WithBeta(beta=5.0).beta, WithBeta(beta=5.0).temperature) == (5.0, 1.0)


def test_files_of_before_load_in_silence_and_act_alike(tmp_path):
    data = small_dataset("discrete")
    algo = DiscreteAWAC(temperature=0.5, **SMALL).fit(data, 3, out=None, progress=False)
    path = algo.save(tmp_path / "a.okt")
    as_before(path)
    loaded = offlinekit.load(path)
    assert loaded.config == algo.config
    for one in (algo, loaded):
        one.fit(data, 3, out=None, progress=False)
    np.testing.assert_array_equal(algo.predict(data.observations), loaded.predict(data.observations))


@pytest.mark.parametrize("how", ["folder", "auto"])
def test_runs_of_before_go_on_in_silence(tmp_path, how):
    data = small_dataset("discrete")
    whole = DiscreteAWAC(temperature=0.5, **SMALL).fit(data, 8, out=tmp_path / "whole", **QUIET)
    begun = DiscreteAWAC(temperature=0.5, **SMALL)
    for step, _ in begun.fitter(data, 8, out=tmp_path / "runs", **QUIET):
        if step == 6:
            break
    run_as_before(begun.run_dir)
    resume = begun.run_dir if how == "folder" else "auto"
    resumed = DiscreteAWAC(temperature=0.5, **SMALL).fit(
        data, 8, out=tmp_path / "runs", resume=resume, **QUIET
    )
    assert resumed.run_dir == begun.run_dir
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, resumed.impl.state_tensors()[name]), name


def test_a_sweep_takes_names_of_before():
    with pytest.warns(DeprecationWarning, match="now 'temperature'"):
        plan = Plan(algo="discrete_awac", dataset="cartpole-mixed", vary={"beta": [0.5, 2.0]})
    with pytest.warns(DeprecationWarning, match="now 'temperature'"):
        algo = plan.make({"beta": 2.0}, 0)
    assert algo.temperature == 0.5


def test_the_command_line_takes_names_of_before():
    given = ["train", "--algo", "discrete_awac", "--dataset", "none", "--set", "beta=2"]
    assert "'beta' of DiscreteAWAC is now 'temperature'" in CliRunner().invoke(main, given).stderr


def test_the_table_names_fields_that_there_are():
    for rename in RENAMES:
        (front,) = [front for front in catalogue().values() if front.__name__ == rename.algo]
        assert rename.new in front.hyperparameters()
        assert rename.old not in front.hyperparameters()
    assert inverse(inverse(0.0)) == 0.0
