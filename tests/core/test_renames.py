"""Hyperparameters that had other names or defaults: files and runs migrate in silence, calls are warned and act."""

from __future__ import annotations

import json
import math
from typing import Annotated

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import offlinekit
from offlinekit.algos import FQL, QC, QCFQL, DiscreteAWAC, DiscreteCRR
from offlinekit.cli.main import main
from offlinekit.core.algo import Algo
from offlinekit.core.renames import NEW_DEFAULTS, RENAMES, inverse
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


def without_candidates(path):
    """Rewrites a policy file as the version before `n_candidates` of FQL wrote it."""
    header, tensors = policy_file.read(path, torch.device("cpu"))
    del header["config"]["n_candidates"]
    policy_file.write(path, header, tensors)


def cut_off_without_candidates(out):
    """Returns the folder of a run of 6 from 8 updates, which began before `n_candidates`."""
    begun = FQL(n_candidates=None, flow_steps=2, **SMALL)
    for step, _ in begun.fitter(small_dataset("continuous"), 8, out=out, **QUIET):
        if step == 6:
            break
    for path in run_folder.checkpoints(begun.run_dir):
        without_candidates(path)
    config = run_folder.read_config(begun.run_dir)
    del config["hyperparameters"]["n_candidates"]
    run_folder.rewrite_config(begun.run_dir, config)
    return begun.run_dir


def go_on_with_fql(out, n_steps, **options):
    """Returns FQL after `n_steps` updates, found by itself if `out` holds such a run."""
    algo = FQL(flow_steps=2, **SMALL, **options)
    return algo.fit(small_dataset("continuous"), n_steps, out=out, resume="auto", **QUIET)


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


@pytest.mark.parametrize("front", [FQL, QCFQL])
def test_files_older_than_a_hyperparameter_act_as_they_did(tmp_path, front):
    """FQL took noise 0 before it had `n_candidates`."""
    data = small_dataset("continuous")
    algo = front(flow_steps=2, n_candidates=None, **SMALL).fit(data, 3, out=None, progress=False)
    path = algo.save(tmp_path / "a.okt")
    without_candidates(path)
    loaded = offlinekit.load(path)
    assert loaded.config == algo.config
    actions = algo.predict(data.observations)
    np.testing.assert_array_equal(loaded.predict(data.observations), actions)
    chosen = front.load(path, n_candidates=1)
    assert not np.array_equal(chosen.predict(data.observations), actions)
    assert front.load(chosen.save(path)).n_candidates == 1


def test_runs_older_than_a_hyperparameter_go_on_as_they_began_each_time(tmp_path):
    """Checkpoints of the second time hold what config.json still lacks; to say what it was is no change."""
    run = cut_off_without_candidates(tmp_path)
    for n_steps, given in ((8, {}), (12, {}), (16, {"n_candidates": None})):
        algo = FQL(flow_steps=2, **SMALL, **given)
        algo.fit(small_dataset("continuous"), n_steps, out=None, resume=run, **QUIET)
        assert algo.n_candidates is None


@pytest.mark.parametrize("front", [QC, QCFQL])
def test_runs_older_than_a_default_go_on_as_they_began(tmp_path, front):
    """Chunks had networks of 2 x 256 by default, and now those of one action."""
    data, few = small_dataset("continuous"), {"batch_size": 8, "seed": 0, "flow_steps": 2}
    run = front(encoder="auto", **few).fit(data, 2, out=tmp_path, **QUIET).run_dir
    algo = front(**few).fit(data, 3, out=None, resume=run, **QUIET)
    assert (algo.encoder, algo.grad_step) == ("auto", 3)
    with pytest.raises(ValueError, match=r"other \['encoder'\]"):
        front(encoder={"type": "mlp", "hidden_sizes": [8]}, **few).fit(data, 4, out=None, resume=run, **QUIET)


def test_runs_older_than_a_hyperparameter_are_found_unless_another_value_is_given(tmp_path):
    run = cut_off_without_candidates(tmp_path)
    with pytest.raises(ValueError, match=r"other \['n_candidates'\]"):
        FQL(flow_steps=2, n_candidates=3, **SMALL).fit(
            small_dataset("continuous"), 8, out=None, resume=run, **QUIET
        )
    assert go_on_with_fql(tmp_path, 8, n_candidates=3).run_dir != run
    assert go_on_with_fql(tmp_path, 8).run_dir == run


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
        front = Algo.known[rename.algo]
        assert rename.new in front.hyperparameters()
        assert rename.old not in front.hyperparameters()
    assert inverse(inverse(0.0)) == 0.0
    for new in NEW_DEFAULTS:
        front = Algo.known[new.algo]
        assert front.hyperparameters()[new.name].default != new.before
