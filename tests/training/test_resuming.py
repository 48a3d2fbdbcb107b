"""Going on with a run: what has changed since, checkpoints that are damaged, runs that have ended."""

from __future__ import annotations

import re
import warnings

import pytest
import torch

import offlinekit
from offlinekit.algos import BC
from offlinekit.errors import FileFormatError
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file, run_folder

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3}
SETTINGS = {"log_interval": 5, "checkpoint_interval": 10, "progress": False}


def cut_off(out, at, n_steps=40, make=lambda: BC(**TINY), **settings):
    """Trains up to a row of the history, and ends there as a killed process does."""
    algo = make()
    run = algo.fitter(small_dataset("continuous"), n_steps, out=out, **{**SETTINGS, **settings})
    for step, _ in run:
        if step == at:
            run.close()
            return algo.run_dir
    raise AssertionError(f"there was no row of update {at}")


def go_on(out, n_steps=40, resume="auto", **settings):
    return BC(**TINY).fit(
        small_dataset("continuous"), n_steps, out=out, resume=resume, **{**SETTINGS, **settings}
    )


def rewrite_system(path, **changes):
    """Has a checkpoint say that it was written elsewhere."""
    header, tensors = policy_file.read(path, torch.device("cpu"))
    header["run"]["system"].update(changes)
    policy_file.write(path, header, tensors)


def flip(path, at=0.8):
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(bytes(content))


def same(one, other):
    expected, found = one.impl.state_tensors(), other.impl.state_tensors()
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def rows(algo):
    return [{name: value for name, value in row.items() if name != "time"} for row in algo.history]


def test_auto_finds_runs_of_the_generator_and_of_defaults_that_are_named(tmp_path):
    """Settings that were not given count as their defaults."""
    run = cut_off(tmp_path, 25)
    assert go_on(tmp_path, engine="auto", eval_interval=5_000, value_alarm="warn").run_dir == run
    run = cut_off(tmp_path, 25, make=lambda: BC(**TINY, gamma=0.9))
    assert go_on(tmp_path).run_dir != run
    assert go_on(tmp_path, deterministic=True).run_dir != run


# What has changed since.


def test_nothing_has_changed(tmp_path):
    cut_off(tmp_path, 25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go_on(tmp_path)


def test_another_number_of_threads(tmp_path):
    before = torch.get_num_threads()
    run = cut_off(tmp_path, 25)
    torch.set_num_threads(before + 1)
    try:
        with pytest.warns(UserWarning, match="other conditions") as caught:
            go_on(tmp_path)
    finally:
        torch.set_num_threads(before)
    (said,) = [str(one.message) for one in caught]
    assert said == (
        f"{run} goes on under other conditions than it was begun, so it may not be bit by bit the run that it would "
        f"have been: threads was {before}, is {before + 1}"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda:0", "gpu": "GPU X"}, "device was cuda:0, is cpu; gpu was GPU X, is None"),
        ({"processor": "i486"}, "processor was i486, is "),
        ({"python": "2.7.18"}, "python was 2.7.18, is 3."),
        (
            {"versions": {"torch": "1.0"}},
            "offlinekit was None, is .*; torch was 1.0, is .*; numpy was None, is ",
        ),
    ],
)
def test_another_machine(changes, message, tmp_path):
    rewrite_system(run_folder.latest_checkpoint(cut_off(tmp_path, 25)), **changes)
    with pytest.warns(UserWarning, match=f"goes on under other conditions.*{message}"):
        assert go_on(tmp_path).grad_step == 40


def test_packages_without_a_say_in_the_bits_may_change(tmp_path):
    path = run_folder.latest_checkpoint(cut_off(tmp_path, 25))
    header, _ = policy_file.read(path, torch.device("cpu"))
    rewrite_system(path, versions={**header["run"]["system"]["versions"], "gymnasium": "0.1"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go_on(tmp_path)


# Checkpoints that are damaged.


@pytest.mark.parametrize("place", [0.01, 0.3, 0.8])
def test_a_flipped_bit_in_the_newest_checkpoint(place, tmp_path):
    whole = go_on(tmp_path / "whole", resume=None)
    run = cut_off(tmp_path / "cut", 25)
    older, newest = run_folder.checkpoints(run)
    flip(newest, place)
    said = rf"{re.escape(str(newest))} is .*; going on from {older.name}, the one before"
    with pytest.warns(UserWarning, match=said):
        resumed = go_on(tmp_path / "cut")
    assert resumed.run_dir == run
    same(whole, resumed)
    assert rows(whole) == rows(resumed)
    assert (run / "policy.okt").is_file()
    for path in run_folder.checkpoints(run):
        policy_file.read(path, torch.device("cpu"))


def test_the_two_newest_are_damaged(tmp_path):
    run = cut_off(tmp_path, 35, keep_checkpoints=3)
    oldest, *others = run_folder.checkpoints(run)
    for path in others:
        flip(path)
    with pytest.warns(UserWarning, match=f"going on from {oldest.name}"):
        same(go_on(tmp_path / "whole", resume=None), go_on(tmp_path))


def test_all_are_damaged(tmp_path):
    run = cut_off(tmp_path, 25)
    for path in run_folder.checkpoints(run):
        flip(path)
    with pytest.raises(FileFormatError, match=r"step_000000020\.okt is damaged"):
        go_on(tmp_path)
    assert len(run_folder.checkpoints(run)) == 2


def test_a_damaged_checkpoint_never_pushes_out_a_sound_one(tmp_path):
    run = cut_off(tmp_path, 25)
    flip(run_folder.latest_checkpoint(run))
    algo, settings = BC(**TINY), {**SETTINGS, "keep_checkpoints": 1}
    settings["checkpoint_interval"] = 3
    steps = algo.fitter(small_dataset("continuous"), 40, out=None, resume=run, **settings)
    with pytest.warns(UserWarning, match=r"going on from step_000000010\.okt"):
        assert next(steps)[0] == 15
    steps.close()
    (kept,) = run_folder.checkpoints(run)
    assert offlinekit.load(kept).grad_step == 12
