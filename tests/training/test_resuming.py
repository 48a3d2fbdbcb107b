"""Going on with a run: what has changed since, checkpoints that are damaged, runs that have ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import offlinekit
from offlinekit.algos import BC, TD3, Population, TD3PlusBC
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.cli import runs
from offlinekit.datasets import collect
from offlinekit.errors import DatasetError, FileFormatError, Preempted, TrainingError
from offlinekit.metrics import RandomPolicy
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file, run_folder
from offlinekit.training.early_stopping import EarlyStopping
from offlinekit.training.setup.user_code import user_code

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


def test_auto_finds_a_run_that_is_older_than_a_hyperparameter(tmp_path):
    """It had the default; so one that asks for another value begins anew."""
    run = cut_off(tmp_path, 25)
    config = run_folder.read_config(run)
    del config["hyperparameters"]["weight_decay"], config["deterministic"]
    run_folder.rewrite_config(run, config)
    other = BC(**TINY, weight_decay=0.1).fit(
        small_dataset("continuous"), 40, out=tmp_path, resume="auto", **SETTINGS
    )
    assert other.run_dir != run
    assert go_on(tmp_path).run_dir == run


# What has changed since.


def test_nothing_has_changed(tmp_path):
    cut_off(tmp_path, 25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go_on(tmp_path)


def test_other_data_are_refused_and_the_run_stays(tmp_path):
    run = cut_off(tmp_path, 25)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    algo = BC(**TINY)
    with pytest.raises(
        DatasetError, match=f"{run} has learned from other data than 'small'.*offlinekit.load"
    ):
        algo.fit(small_dataset("continuous", n_episodes=4), 40, resume=run, **SETTINGS)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert go_on(tmp_path).run_dir == run  # It is not held any longer.


def test_other_settings_are_noted_in_the_config(tmp_path):
    run = cut_off(tmp_path, 25)
    go_on(tmp_path, 45, resume=run, engine="eager")
    config = run_folder.read_config(run)
    assert (config["n_steps"], config["engine"]) == (45, "eager")
    assert config["earlier"] == [{"until": 20, "n_steps": 40, "engine": "auto"}]
    go_on(tmp_path, 50, resume=run, engine="eager")
    assert run_folder.read_config(run)["earlier"][1] == {"until": 45, "n_steps": 45}


def pendulum(change=None, **kwargs):
    """Pendulum, of which an attribute may have been changed."""
    env = gymnasium.make("Pendulum-v1", **kwargs)
    if change is not None:
        setattr(env.unwrapped, *change)
    return env


OTHER_ENVIRONMENTS = {
    "env_kwargs was {}, is {'max_episode_steps': 7}": partial(pendulum, max_episode_steps=7),
    "env_note was None, is Pendulum-v1 with changed attributes: g;": partial(pendulum, ("g", 3.0)),
    "env_note was None, is Pendulum-v1 with RescaleAction; env_spaces was": lambda: (
        gymnasium.wrappers.RescaleAction(pendulum(), np.float32(-1), np.float32(1))
    ),
}


@pytest.mark.filterwarnings("ignore:the environment takes actions from")
@pytest.mark.parametrize("online", [False, True])
def test_another_environment_is_refused_and_the_run_stays(online, tmp_path):
    data = collect(RandomPolicy(pendulum().action_space), pendulum(), 50, progress=False)

    def trains(algo, env, n_steps=1, **given):
        given = {"out": None, "progress": False, "eval_episodes": 1, "checkpoint_interval": 1, **given}
        if online:
            return algo.fitter_online(env, n_steps, dataset=data, episode_steps=5, **given)
        return algo.fitter(data, n_steps, eval_env=env, max_steps=5, **given)

    begin = TD3(**TINY)
    run = trains(begin, pendulum(), 10, out=tmp_path, eval_interval=5, log_interval=5)
    next(run), run.close()
    for message, make in OTHER_ENVIRONMENTS.items():
        with pytest.raises(DatasetError, match=re.escape(message)):
            next(trains(TD3(**TINY), make(), 10, out=tmp_path, resume=begin.run_dir))
        list(trains(offlinekit.load(run_folder.latest_checkpoint(begin.run_dir)), make()))  # The remedy.
    algo = TD3(**TINY)
    list(trains(algo, pendulum(), 10, resume=begin.run_dir))
    assert algo.run_dir == begin.run_dir


def test_an_evaluation_may_be_left_out_and_taken_up_again(tmp_path):
    data = collect(RandomPolicy(pendulum().action_space), pendulum(), 50, progress=False)
    given = {"progress": False, "eval_episodes": 1, "max_steps": 2, "out": tmp_path, "checkpoint_interval": 1}
    run = TD3(**TINY).fit(data, 1, eval_env=pendulum(), **given).run_dir
    TD3(**TINY).fit(data, 2, eval_env=None, resume=run, **given)
    TD3(**TINY).fit(data, 3, eval_env=pendulum(), resume=run, **given)


def test_another_end_of_a_schedule_is_said(tmp_path):
    run = cut_off(tmp_path, 25, make=lambda: BC(**TINY, lr_schedule="cosine"))
    with pytest.warns(UserWarning, match="begun with n_steps=40 and goes on with 60: learning rates follow"):
        BC(**TINY, lr_schedule="cosine").fit(small_dataset("continuous"), 60, resume=run, **SETTINGS)


def test_another_default_dtype(tmp_path):
    run = cut_off(tmp_path, 25)
    rewrite_system(run_folder.latest_checkpoint(run), **{"default dtype": "torch.float64"})
    with pytest.warns(UserWarning, match=r"default dtype was torch.float64, is torch.float32"):
        go_on(tmp_path)


def test_other_code_of_the_same_version(tmp_path, monkeypatch):
    run = cut_off(tmp_path, 25)
    monkeypatch.setattr(run_folder, "_code", lambda: "0123456789ab")
    with pytest.warns(UserWarning, match="code was [0-9a-f]{12}, is 0123456789ab"):
        go_on(tmp_path, resume=run)


def of_cell(text):
    names = {"BCImpl": BCImpl}
    exec(text, names)
    return names["Cell"]


CELL = """
class Cell(BCImpl, overwrite=True):
    scale = 1.0

    def compute_actor_loss(self, batch):
        "Clones."
        return self.scale * super().compute_actor_loss(batch)  # As it was.
"""


@pytest.mark.parametrize(
    ("new", "is_said"),
    [
        (CELL, False),
        (CELL.replace("# As it was.", "# Else."), False),
        (CELL.replace('"Clones."', '"Imitates."'), False),
        (CELL.replace("self.scale *", "2.0 * self.scale *"), True),
        (CELL.replace("scale = 1.0", "scale = 3.0"), True),
        (CELL.replace("super()", "(0, super())[1]"), True),
    ],
)
def test_a_users_own_code_is_compared(new, is_said, tmp_path):
    cut_off(tmp_path, 25, make=lambda: BC(**TINY, impl_class=of_cell(CELL)))
    go = BC(**TINY, impl_class=of_cell(new))
    said = pytest.warns(UserWarning, match="code of Cell was [0-9a-f]{12}, is [0-9a-f]{12}")
    with said if is_said else nullcontext():
        go.fit(small_dataset("continuous"), 40, out=tmp_path, resume="auto", **SETTINGS)
    assert go.grad_step == 40


def test_a_users_own_networks_are_compared_and_those_of_the_package_are_not():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    algo = BC(**TINY).build(small_dataset("continuous"))
    assert user_code(algo) == {}
    algo.impl.extra = Doubled(2, 2)
    (name,) = user_code(algo)
    assert name.endswith("Doubled")


@pytest.mark.parametrize("how", ["early_stopping", "value_alarm"])
def test_a_run_that_stopped_early_ends_with_a_checkpoint(how, tmp_path, monkeypatch):
    """No evaluator and no interval saved at the update where it stopped."""
    algo, settings = BC(**TINY), {**SETTINGS, "checkpoint_interval": 1000, "eval_interval": 1000}
    if how == "value_alarm":
        alarm = SimpleNamespace(stops=True, update=lambda *_: {}, triggered=lambda history: len(history) == 3)
        monkeypatch.setattr("offlinekit.training.setup.start.value_alarm", lambda *_: alarm)
    else:
        settings["early_stopping"] = EarlyStopping("actor_loss", patience=1, minimum_change=1e9)
    algo.fit(small_dataset("continuous"), 40, out=tmp_path, **settings)
    assert algo.grad_step < 40
    assert run_folder.is_finished(algo.run_dir)
    assert [path.stem for path in run_folder.checkpoints(algo.run_dir)] == [f"step_{algo.grad_step:09d}"]
    config = run_folder.read_config(algo.run_dir)
    assert run_folder.find(tmp_path, config, (), True, ()) == algo.run_dir


def test_a_run_is_held_before_its_checkpoint_is_read(tmp_path):
    run, algo = cut_off(tmp_path, 25), BC(**TINY)
    with run_folder.locked(run), pytest.raises(TrainingError, match="another process trains in"):
        algo.fit(small_dataset("continuous"), 40, resume=run, **SETTINGS)
    assert algo._impl is None


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


def check_engine(engine, tmp_path):
    make = lambda: TD3PlusBC(**TINY, lr_schedule="cosine", observation_scaler="standard")  # noqa: E731
    settings = {**SETTINGS, "engine": engine, "out": tmp_path}
    run = cut_off(tmp_path, 45, 60, make, engine=engine)
    resumed = make().fit(small_dataset("continuous"), 60, resume="auto", **settings)
    assert resumed.run_dir == run
    whole = make().fit(small_dataset("continuous"), 60, **settings)
    same(whole, resumed)
    assert rows(whole) == rows(resumed)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_each_engine_goes_on_with_its_own_bits(engine, tmp_path):
    check_engine(engine, tmp_path)


@pytest.mark.slow
def test_compiled_updates_go_on_with_their_own_bits(tmp_path):
    """In a process of its own: the compiler cannot look into functions whose shapes are checked under pytest."""
    script = f"import pathlib, test_resuming; test_resuming.check_engine('compile', pathlib.Path({str(tmp_path)!r}))"
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


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


@pytest.mark.parametrize("n_damaged", [1, 2])
def test_it_goes_on_from_the_newest_that_is_sound(n_damaged, tmp_path):
    run = cut_off(tmp_path, 35, keep_checkpoints=3)
    found = run_folder.checkpoints(run)
    for path in found[-n_damaged:]:
        flip(path)
    with pytest.warns(UserWarning, match=f"going on from {found[-n_damaged - 1].name}"):
        same(go_on(tmp_path / "whole", resume=None), go_on(tmp_path))


@pytest.mark.filterwarnings("ignore:.* is not finished")
def test_what_reads_an_unfinished_run_takes_the_newest_that_is_sound(tmp_path):
    run = cut_off(tmp_path, 25)
    older, newest = run_folder.checkpoints(run)
    flip(newest)
    with pytest.warns(UserWarning, match=f"going on from {older.name}"):
        assert offlinekit.load(run).grad_step == 10
    with pytest.warns(UserWarning, match=f"going on from {older.name}"):
        assert runs.find(run, "last").policy == older
    flip(older)
    with pytest.raises(FileFormatError, match=rf"{newest.name} is damaged"):
        offlinekit.load(run)


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
    assert offlinekit.load(kept).grad_step == 15  # Saved before the caller had its row.


# Runs that have ended.


def members(seeds=True):
    return Population([BC(**{**TINY, "seed": seed if seeds else None}) for seed in range(3)])


def cut_off_population(population, out, at, n_steps=40):
    run = population.fitter(small_dataset("continuous"), n_steps, out=out, **SETTINGS)
    for step, _ in run:
        if step == at:
            run.close()
            return population.run_dirs
    raise AssertionError(f"there was no row of update {at}")


def alike(whole, resumed):
    """Checks that members ended as others did in another stack, by which numbers are rounded differently."""
    for one, other in zip(whole, resumed, strict=True):
        assert [row["step"] for row in one.history] == [row["step"] for row in other.history]
        for a, b in zip(one.impl.parameters(), other.impl.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def go_on_together(population, out, resume, n_steps=40):
    return population.fit(small_dataset("continuous"), n_steps, out=out, resume=resume, **SETTINGS)


def test_a_run_that_has_ended_says_so_and_stays(tmp_path):
    run = go_on(tmp_path, resume=None).run_dir
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=rf"{run} has taken 40 updates already, n_steps=40 asks for no more"):
        go_on(tmp_path, resume=run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    same(go_on(tmp_path, resume=run, n_steps=50), go_on(tmp_path, resume=None, n_steps=50))


def test_a_length_below_what_a_run_has_taken_is_refused_and_changes_nothing(tmp_path):
    run = cut_off(tmp_path, 25)
    before = (run / "config.json").read_bytes()
    with pytest.raises(ValueError, match=rf"{run} has taken 20 updates already, n_steps=5 asks for no more"):
        go_on(tmp_path, resume=run, n_steps=5)
    assert (run / "config.json").read_bytes() == before
    assert not run_folder.is_finished(run)
    assert go_on(tmp_path, resume=run, n_steps=20).grad_step == 20  # It only has to end.
    assert run_folder.is_finished(run)


def test_a_refusal_after_the_settings_were_compared_changes_nothing(tmp_path):
    ended = go_on(tmp_path, resume=None, callbacks=[lambda algo, row: False]).run_dir
    done = max(int(path.stem[5:]) for path in run_folder.checkpoints(ended))
    before = (ended / "config.json").read_bytes()
    with pytest.raises(ValueError, match=f"n_steps={done} asks for no more"):
        go_on(tmp_path, resume=ended, n_steps=done, log_interval=7)
    assert (ended / "config.json").read_bytes() == before


def test_a_population_that_has_ended_says_so_or_goes_further(tmp_path):
    ended = go_on_together(members(), tmp_path, None)
    with pytest.raises(
        ValueError, match="each member has taken 40 updates already, n_steps=40 asks for no more"
    ):
        go_on_together(members(), tmp_path, ended.run_dirs)
    further = go_on_together(members(), tmp_path, ended.run_dirs, n_steps=50)
    for one, other in zip(further, go_on_together(members(), tmp_path, None, n_steps=50), strict=True):
        same(one, other)


@pytest.mark.parametrize("auto", [False, True])
def test_members_that_have_ended_stay_while_the_others_go_on(auto, tmp_path):
    whole = go_on_together(members(), tmp_path / "whole", None)
    first, second, third = cut_off_population(members(), tmp_path / "out", 25)
    go_on_together(Population([BC(**{**TINY, "seed": 1})]), tmp_path / "out", [second])
    before = {path: path.read_bytes() for path in second.rglob("*") if path.is_file()}
    resumed = go_on_together(members(), tmp_path / "out", "auto" if auto else [first, second, third])
    assert resumed.run_dirs == [first, second, third]
    assert {path: path.read_bytes() for path in second.rglob("*") if path.is_file()} == before
    assert resumed.stacks == [[0, 2]]
    alike(whole, resumed)
    begun = go_on_together(members(), tmp_path / "out", "auto")
    assert not {*begun.run_dirs} & {first, second, third}


@pytest.mark.parametrize("ended", [False, True])
def test_members_of_a_process_killed_between_their_checkpoints_go_on_together(ended, tmp_path):
    whole = go_on_together(members(), tmp_path / "whole", None)
    folders = cut_off_population(members(), tmp_path / "out", 40 if ended else 25)
    for folder in folders[1:]:  # The first one alone has its newest checkpoint, and its policy.
        run_folder.latest_checkpoint(folder).unlink()
        (folder / "policy.okt").unlink(missing_ok=True)
    resumed = go_on_together(members(), tmp_path / "out", "auto")
    assert resumed.run_dirs == folders
    assert resumed.stacks == [[0, 1, 2]]
    for one, other in zip(whole, resumed, strict=True):
        same(one, other)


def test_members_of_a_process_killed_before_their_first_checkpoints_go_on_together(tmp_path):
    whole = go_on_together(members(), tmp_path / "whole", None)
    folders = cut_off_population(members(), tmp_path / "out", 5)
    assert [[path.stem for path in run_folder.checkpoints(folder)] for folder in folders] == [
        ["step_000000000"]
    ] * 3
    resumed = go_on_together(members(), tmp_path / "out", "auto")
    assert resumed.run_dirs == folders
    for one, other in zip(whole, resumed, strict=True):
        same(one, other)


def test_runs_go_on_from_the_newest_checkpoints_that_they_have_in_common(tmp_path):
    held = {"a": (225, 240), "b": (210, 225), "c": (90, 100), "d": ()}
    for name, steps in held.items():
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        for step in steps:
            run_folder.checkpoint_path(tmp_path / name, step).touch()
    folders = [tmp_path / name for name in held]
    assert run_folder.common_steps([*folders, None]) == [225, 225, 100, None, None]
    assert run_folder.common_steps([folders[0], folders[2]]) == [240, 100]


def test_members_of_drawn_seeds_take_a_run_each(tmp_path):
    folders = cut_off_population(members(seeds=False), tmp_path, 25)
    resumed = go_on_together(members(seeds=False), tmp_path, "auto")
    assert sorted(resumed.run_dirs) == sorted(folders)
    assert len({algo.seed for algo in resumed}) == 3


def test_seeds_that_follow_a_drawn_one_take_a_run_each(tmp_path):
    one = {name: value for name, value in TINY.items() if name != "seed"}
    folders = cut_off_population(Population.of_seeds(BC(**one), 2), tmp_path, 25)
    resumed = BC(**one).fit(small_dataset("continuous"), 40, seeds=2, out=tmp_path, resume="auto", **SETTINGS)
    assert sorted(resumed.run_dirs) == sorted(folders)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_population_that_a_scheduler_stops_saves_each_member(number, tmp_path):
    population, before = members(), signal.getsignal(number)
    run = population.fitter(small_dataset("continuous"), 40, out=tmp_path, preemptible=True, **SETTINGS)
    assert next(run)[0] == 5
    signal.raise_signal(number)
    with pytest.raises(Preempted, match="interrupted after update 5: saved; go on with resume="):
        next(run)
    assert signal.getsignal(number) is before
    assert [run_folder.latest_checkpoint(folder).stem for folder in population.run_dirs] == [
        "step_000000005"
    ] * 3


def test_a_member_whose_newest_checkpoint_is_damaged(tmp_path):
    whole = go_on_together(members(), tmp_path / "whole", None)
    folders = cut_off_population(members(), tmp_path / "out", 25)
    flip(run_folder.latest_checkpoint(folders[1]))
    with pytest.warns(UserWarning, match=r"going on from step_000000010\.okt"):
        resumed = go_on_together(members(), tmp_path / "out", "auto")
    assert resumed.run_dirs == folders
    assert resumed.stacks == [[0, 2], [1]]
    alike(whole, resumed)


def test_a_run_without_its_config_is_not_believed_in_silence(tmp_path):
    run = cut_off(tmp_path, 25)
    (run / "config.json").unlink()
    with pytest.warns(
        UserWarning, match="has no config.json any more, so that nothing says whether it has learned"
    ):
        go_on(tmp_path, resume=run)


def test_other_weights_of_rows_are_said_and_noted(tmp_path):
    data = small_dataset("continuous")
    run = cut_off(tmp_path, 25, weights=np.ones(len(data)))
    with pytest.warns(UserWarning, match="goes on with other loss_weights of its rows"):
        go_on(tmp_path, resume=run, weights=np.arange(len(data)) + 1.0)
    config = run_folder.read_config(run)
    assert config["earlier"][0]["until"] == 20
    assert config["earlier"][0]["loss_weights"] != config["loss_weights"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go_on(tmp_path, 50, resume=run, weights=np.arange(len(data)) + 1.0)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("step", ValueError),
        ("value_estimate", ValueError),
        ("value_diverged", ValueError),
        ("", TypeError),
        (0, TypeError),
    ],
)
def test_an_evaluator_cannot_take_the_place_of_a_column(name, error, tmp_path):
    with pytest.raises(error, match=r"cannot be named|must have texts as names"):
        BC(**TINY).fit(
            small_dataset("continuous"), 5, evaluators={name: lambda *_: 1.0}, out=tmp_path, **SETTINGS
        )
    assert list(tmp_path.iterdir()) == []


def test_an_evaluator_and_an_environment_cannot_give_the_same_column(tmp_path):
    env, evaluators = gymnasium.make("Pendulum-v1"), {"eval/return_mean": lambda *_: 1.0}
    with pytest.raises(ValueError, match="cannot be named 'eval/return_mean', as eval_env gives"):
        BC(**TINY).fit(
            small_dataset("continuous"), 5, eval_env=env, evaluators=evaluators, out=tmp_path, **SETTINGS
        )
    assert list(tmp_path.iterdir()) == []
