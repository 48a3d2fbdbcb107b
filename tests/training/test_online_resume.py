"""Going on with an online run: which folder, by which call, with which settings, and after a disk was full."""

from __future__ import annotations

import errno
import json

import pytest
import torch
from walk_env import Walk, recorded_walk

from offlinekit.algos import QC, SAC, TD3, MLPEncoder
from offlinekit.datasets import MDPDataset
from offlinekit.errors import FileFormatError, WriteError
from offlinekit.training.online.experience import Experience, load_experience

QUICK = {"eval_episodes": 1, "progress": False, "log_interval": 20, "eval_interval": 40}


def small(front=SAC, **options):
    return front(**{"seed": 1, "batch_size": 8, "device": "cpu", "encoder": MLPEncoder((8,)), **options})


def stopped(out, step=25, **settings):
    """Returns an algorithm whose run of 60 steps was killed soon after a step."""
    algo = small()
    for reached, _ in algo.fitter_online(
        Walk(), 60, out=out, **{**QUICK, "checkpoint_interval": 20, **settings}
    ):
        if reached > step:
            break
    return algo


def test_auto_takes_the_run_of_the_same_settings_and_no_other(tmp_path):
    begun = stopped(tmp_path, noise=0.1)
    other = small().fit_online(Walk(), 60, out=tmp_path, resume="auto", noise=0.2, **QUICK)
    assert other.run_dir != begun.run_dir
    gone_on = small().fit_online(Walk(), 60, out=tmp_path, resume="auto", noise=0.1, **QUICK)
    assert gone_on.run_dir == begun.run_dir
    assert gone_on.history[-1]["step"] == 60


@pytest.mark.parametrize(
    "changed", [{"n_envs": 2}, {"reset": ("moments",)}, {"episode_steps": 5}, {"updates_per_step": 2.0}]
)
def test_auto_begins_anew_if_a_setting_is_another(changed, tmp_path):
    begun = stopped(tmp_path)
    other = small().fit_online(Walk, 60, out=tmp_path, resume="auto", **QUICK, **changed)
    assert other.run_dir != begun.run_dir


def test_other_settings_at_resume_are_noted_in_the_config(tmp_path):
    begun = stopped(tmp_path)
    until = small().fit_online(Walk(), 60, resume=begun.run_dir, noise=0.3, updates_per_step=2.0, **QUICK)
    config = json.loads((until.run_dir / "config.json").read_text())
    (earlier,) = config["earlier"]
    assert {name: earlier[name] for name in ("noise", "updates_per_step")} == {
        "noise": 0.0,
        "updates_per_step": 1.0,
    }
    assert (config["noise"], config["updates_per_step"]) == (0.3, 2.0)
    assert "n_steps" not in earlier


def test_a_run_goes_on_by_the_call_that_began_it(tmp_path):
    online = stopped(tmp_path / "online")
    with pytest.raises(
        ValueError, match=r"run of another call: go on with it by fit_online\(env, n_steps, resume="
    ):
        small().fit(recorded_walk(), 200, resume=online.run_dir, progress=False)
    offline = small().fit(recorded_walk(), 10, out=tmp_path / "offline", progress=False, value_alarm="off")
    with pytest.raises(
        ValueError, match=r"run of another call: go on with it by fit\(dataset, n_steps, resume="
    ):
        small().fit_online(Walk(), 60, resume=offline.run_dir, **QUICK)


def test_auto_of_one_call_takes_no_run_of_the_other(tmp_path):
    online = stopped(tmp_path)
    fitted = small().fit(recorded_walk(), 60, out=tmp_path, resume="auto", progress=False, value_alarm="off")
    assert fitted.run_dir != online.run_dir


@pytest.mark.parametrize("what", ["experience", "checkpoint"])
def test_a_disk_that_fills_keeps_what_was(what, tmp_path, monkeypatch):
    settings = {**QUICK, "checkpoint_interval": 20}
    whole = small(TD3).fit_online(Walk(), 60, out=tmp_path / "whole", **settings)
    algo, owner = small(TD3), MDPDataset if what == "experience" else TD3
    original = owner.save

    def full(self, path, *args, **kwargs):
        if path.name == "00001.h5" or path.name > "step_000000030":
            raise WriteError(f"{path}: no space left") from OSError(errno.ENOSPC, "no space left")
        return original(self, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, "save", full)
        with pytest.raises(WriteError, match="no space left"):
            algo.fit_online(Walk(), 60, out=tmp_path / "full", **settings)
    assert 20 <= len(load_experience(algo.run_dir)) < 60
    again = small(TD3).fit_online(Walk(), 60, resume=algo.run_dir, **settings)
    for key, value in whole.impl.state_tensors().items():
        assert torch.equal(value, again.impl.state_tensors()[key]), key
    assert load_experience(again.run_dir).rewards.tolist() == load_experience(whole.run_dir).rewards.tolist()


def test_a_length_below_the_steps_of_a_run_is_refused_and_changes_nothing(tmp_path):
    folder = stopped(tmp_path).run_dir
    before = (folder / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"has taken 43 steps already, n_steps=15 asks for no more"):
        small().fit_online(Walk(), 15, resume=folder, **QUICK)
    assert (folder / "config.json").read_bytes() == before


@pytest.mark.filterwarnings("ignore:this call begins a new memory")
def test_the_config_says_which_policy_a_run_began_with(tmp_path):
    def begun(algo, n_steps=5, **settings):
        algo.fit_online(Walk(), n_steps, **{"out": tmp_path, **settings}, **QUICK)
        return json.loads((algo.run_dir / "config.json").read_text())["began_with"]

    algo = small()
    assert begun(algo) is None
    first, second = begun(algo), begun(algo)
    assert (first["updates"], second["updates"]) == (5, 10)
    assert first["sha256"] != second["sha256"]
    assert begun(small(), resume=algo.run_dir, n_steps=6) == second


SIDE_BY_SIDE = {  # Memories that grow by episodes, and one of rows; the log interval lets episodes run out between.
    "chunks": (QC, {"n_step": 2, "n_candidates": 3, "flow_steps": 2, "critic_encoder": MLPEncoder((8,))}, {}),
    "histories": (SAC, {"history_length": 2}, {}),
    "histories, the oldest dropped": (SAC, {"history_length": 2}, {"buffer_size": 15}),
    "rows": (SAC, {}, {"log_interval": 5}),
    "rows of two steps": (TD3, {"n_step": 2}, {"log_interval": 5}),
}


@pytest.mark.parametrize("case", SIDE_BY_SIDE)
def test_episodes_side_by_side_are_remembered_in_the_order_in_which_they_ended(case, tmp_path):
    """Walk ends after 6 steps or earlier, so an episode that started first may end last."""
    front, options, settings = SIDE_BY_SIDE[case]
    settings = {**QUICK, "log_interval": 17, "checkpoint_interval": 24, "n_envs": 3, **settings}
    whole = small(front, **options).fit_online(Walk, 60, out=tmp_path / "whole", **settings)
    broken = small(front, **options)
    for reached, _ in broken.fitter_online(Walk, 60, out=tmp_path / "broken", **settings):
        if reached > 30:
            break
    again = small(front, **options).fit_online(Walk, 60, resume=broken.run_dir, **settings)
    played = [load_experience(algo.run_dir).rewards.tolist() for algo in (whole, again)]
    assert played[0] == played[1]
    for key, value in whole.impl.state_tensors().items():
        assert torch.equal(value, again.impl.state_tensors()[key]), key


def test_experience_of_an_earlier_version_is_one_stretch_a_part(tmp_path):
    begun = stopped(tmp_path)
    parts = Experience(begun.run_dir, 1).parts
    assert Experience(begun.run_dir, 1).stretches == [[parts[0].n_episodes]]
    noted = [[1, parts[0].n_episodes - 1]]
    assert Experience(begun.run_dir, 1, noted).stretches == noted
    with pytest.raises(FileFormatError, match="restore them from a copy"):
        Experience(begun.run_dir, 1, [[parts[0].n_episodes + 1]])
