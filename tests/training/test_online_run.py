"""The online run: what it counts, mixes and keeps, and that a killed run goes on as the unbroken one."""

from __future__ import annotations

import json
import signal
from functools import partial
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from walk_env import Walk, recorded_walk

from offlinekit.algos import (
    AWR,
    IQL,
    QC,
    SAC,
    TD3,
    CalQL,
    DecisionTransformer,
    DoubleDQN,
    MLPEncoder,
    ReBRAC,
    TD3PlusBC,
)
from offlinekit.datasets import MDPDataset
from offlinekit.errors import TrainingError, UnsupportedError
from offlinekit.sampling.replay.mixture import MixedSampler
from offlinekit.training.online.acting import interleaved
from offlinekit.training.online.experience import load_experience
from offlinekit.training.online.explorer import n_passed
from offlinekit.training.online.online_run import OnlineRun

QUICK = {"eval_episodes": 2, "progress": False, "log_interval": 20, "eval_interval": 40}


def small(front=SAC, **options):
    return front(**{"seed": 1, "batch_size": 8, "device": "cpu", "encoder": MLPEncoder((8,)), **options})


def tensors(algo):
    return algo.impl.state_tensors()


def rows(algo):
    return [{name: value for name, value in row.items() if name != "time"} for row in algo.history]


def same(first, second):
    assert rows(first) == rows(second)
    for name, value in tensors(first).items():
        assert torch.equal(value, tensors(second)[name]), name


@pytest.mark.parametrize(("ups", "updates"), [(1.0, 30), (0.5, 15), (3.0, 90), (0.3, 9)])
def test_updates_belong_to_steps_after_the_warm_up(ups, updates):
    algo = small()
    counts = []
    for step, row in algo.fitter_online(Walk(), 50, warmup_steps=20, updates_per_step=ups, out=None, **QUICK):
        counts.append((step, row["updates"]))
        assert algo.grad_step == row["updates"]
    # 50 - 20 = 30 steps with updates: 30, 15, 90 and 9 of them; none in the first 20.
    assert counts[0] == (0, 0)
    assert all(made == 0 for step, made in counts if step <= 20)
    assert counts[-1] == (50, updates)


def test_no_update_is_lost_to_rounding():
    settings = {"warmup_steps": 20, "updates_per_step": 0.29, "update_every": 1}
    run = SimpleNamespace(online=settings, n_steps=120)
    assert OnlineRun._updates_by(run, 120) == 29  # 0.29 (120 - 20) = 28.999999999999996.
    assert OnlineRun._updates_by(run, 119) == 28


def test_updates_come_in_blocks():
    algo, seen = small(), []
    for step, row in algo.fitter_online(
        Walk(), 50, warmup_steps=20, updates_per_step=2.0, update_every=8, out=None, **QUICK
    ):
        seen.append((step, row["updates"]))
    # Blocks of 16 updates after 28, 36 and 44 steps, and those of the last 6 at the end.
    assert seen[-1] == (50, 60)
    assert seen[:-1] == [(step, 16 * ((max(step, 20) - 20) // 8)) for step, _ in seen[:-1]]


def test_rows_come_at_ends_of_episodes_and_the_steps_are_exact():
    algo = small(DoubleDQN).fit_online(Walk(discrete=True), 47, out=None, epsilon=0.3, **QUICK)
    steps = [row["step"] for row in algo.history]
    ends = np.cumsum(algo.experience.episode_lengths())
    assert steps[0] == 0
    assert steps[-1] == 47 == len(algo.experience)
    assert set(steps[1:]) <= set(ends.tolist())
    assert "eval/return_mean" in algo.history[0]
    assert "eval/return_mean" in algo.history[-1]


def test_time_outs_never_end_the_mdp(monkeypatch):
    algo = small(gamma=0.9)
    seen = []
    original = SAC.impl_class.compute_target
    monkeypatch.setattr(
        SAC.impl_class, "compute_target", lambda self, batch: (seen.append(batch), original(self, batch))[1]
    )
    algo.fit_online(Walk(), 60, out=None, engine="eager", **QUICK)
    ends = algo.experience.terminals
    assert ends.any()
    assert algo.experience.timeouts.any()
    for batch in seen:
        # Beyond 2 the walk ends; at its sixth step it is cut.
        over = batch.next_observations[:, 0].abs() > 2
        np.testing.assert_array_equal(batch.discounts, torch.where(over, 0.0, 0.9))


@pytest.mark.parametrize(("mixing", "expected"), [(0.25, 2), ("symmetric", 4), ("none", 0), ("0.75", 6)])
def test_every_minibatch_of_a_block_of_updates_has_its_share(monkeypatch, mixing, expected):
    shares = []
    original = MixedSampler.sample
    monkeypatch.setattr(MixedSampler, "sample", lambda self: (shares.append(original(self)), shares[-1])[1])
    algo = small().fit_online(
        Walk(), 30, dataset=recorded_walk(reward=1000.0), mixing=mixing, updates_per_step=5, out=None, **QUICK
    )
    assert algo.grad_step == 150
    assert len(shares) == (0 if mixing == "none" else 150)
    for batch in shares:
        assert int((batch.rewards == 1000.0).sum()) == expected


def test_a_share_goes_from_one_number_to_another(monkeypatch):
    counts = []
    original = MixedSampler.sample

    def sample(self):
        batch = original(self)
        counts.append(int((batch.rewards == 1000.0).sum()))
        return batch

    monkeypatch.setattr(MixedSampler, "sample", sample)
    small().fit_online(Walk(), 40, dataset=recorded_walk(reward=1000.0), mixing=(1.0, 0.0), out=None, **QUICK)
    # Of 8 rows round(8 (1 - step / 40)), with halves to the even number.
    assert counts == [round(8 * (1 - step / 40)) for step in range(1, 41)]


CASES = {
    "sac": (small, None, {"warmup_steps": 10, "random_steps": 10}),
    "sac of two": (small, None, {"n_envs": 2, "updates_per_step": 2}),
    "appended": (partial(small, TD3PlusBC, n_step=3), recorded_walk, {"noise": 0.1}),
    "mixed": (partial(small, IQL), recorded_walk, {"mixing": 0.5, "reset": "critics,moments"}),
    "next actions": (partial(small, ReBRAC), recorded_walk, {"mixing": (0.5, 0.1), "n_envs": 3}),
    "returns": (partial(small, CalQL), recorded_walk, {"mixing": "symmetric"}),
    "priorities": (partial(small, TD3PlusBC), recorded_walk, {"priorities": "critic", "n_envs": 2}),
    "chunks": (partial(small, QC, n_step=2), recorded_walk, {"mixing": 0.5}),
    "cosine": (partial(small, TD3, lr_schedule="cosine"), None, {"buffer_size": 20, "epsilon": 0.2}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:this run ends at update")
def test_a_killed_run_goes_on_as_the_unbroken_one(case, tmp_path):
    make, data, settings = CASES[case]
    dataset = data() if data else None
    settings = {**QUICK, "dataset": dataset, "checkpoint_interval": 20, **settings}
    env = Walk if "n_envs" in settings else Walk()

    def trained():
        algo = make()
        return algo.fit(dataset, 20, out=None, progress=False, value_alarm="off") if dataset else algo

    whole = trained().fit_online(env, 60, out=tmp_path / "whole", **settings)
    broken = trained()
    for step, _ in broken.fitter_online(env, 60, out=tmp_path / "broken", **settings):
        if step > 25:
            break  # What it played after its last checkpoint is lost.
    gone_on = make().fit_online(env, 60, resume=broken.run_dir, **settings)
    same(whole, gone_on)
    assert (
        load_experience(whole.run_dir).rewards.tolist() == load_experience(gone_on.run_dir).rewards.tolist()
    )
    assert gone_on.grad_step == whole.grad_step > 20


def test_experience_is_a_dataset_that_learns_offline_and_joins_others(tmp_path):
    algo = small().fit_online(Walk(), 60, dataset=recorded_walk(), out=tmp_path, **QUICK)
    played = load_experience(algo.run_dir)
    assert len(played) == 60
    joined = recorded_walk().concat(played)
    assert len(joined) == 84
    small().fit(joined, 5, out=None, progress=False)
    algo.fit(played, 5, out=None, progress=False, value_alarm="off")
    assert isinstance(played, MDPDataset)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("raise", "RuntimeError: the arm is stuck"),
        ("nan", "reward of the environment's step .* is nan"),
    ],
)
def test_an_environment_that_fails_saves_and_stops(what, message, tmp_path):
    algo = small()
    with pytest.raises(
        TrainingError,
        match=rf"the environment failed after step 32: .*{message}.*resume=.*the last checkpoint is in",
    ):
        algo.fit_online(Walk(fault=33, what=what), 60, out=tmp_path, eval_env=Walk(), **QUICK)
    assert len(load_experience(algo.run_dir)) == 32
    algo = small().fit_online(Walk(), 60, resume=algo.run_dir, **QUICK)
    assert algo.history[-1]["step"] == 60
    assert len(algo.experience) == 60  # The step that failed was none.


def test_an_environment_that_fails_in_an_evaluation_saves_and_stops(tmp_path):
    algo = small()
    env = Walk(fault=5)  # Without `eval_env` the first evaluation runs in it.
    with pytest.raises(
        TrainingError, match=r"failed in an evaluation: RuntimeError: the arm.*the last checkpoint is in"
    ):
        algo.fit_online(env, 60, out=tmp_path, **QUICK)
    assert small().fit_online(env, 60, resume=algo.run_dir, **QUICK).history[-1]["step"] == 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_at_the_end_of_the_episode(number, tmp_path):
    algo = small()
    env = Walk(fault=27, what=lambda: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after step \d+: saved; go on with resume="):
        algo.fit_online(env, 60, out=tmp_path, eval_env=Walk(), preemptible=True, **QUICK)
    assert 27 <= len(load_experience(algo.run_dir)) < 33
    again = small().fit_online(Walk(), 60, resume=algo.run_dir, **QUICK)
    assert again.history[-1]["step"] == 60


def test_actions_stay_in_bounds_and_random_ones_come_first():
    env = Walk()
    small().fit_online(env, 40, noise=3.0, random_steps=20, out=None, eval_env=Walk(), **QUICK)
    acted = np.concatenate(env.acted)
    assert np.abs(acted).max() == 2.0  # Noise of three half-ranges is clipped.
    assert (np.abs(acted[:20]) < 2.0).all()
    assert (np.abs(acted[20:]) == 2.0).mean() > 0.4


def test_a_guide_acts_first_and_ever_less():
    env = Walk()
    small(TD3).fit_online(
        env, 600, guide=lambda seen: np.full((len(seen), 1), 0.125), guide_steps=6, warmup_steps=599,
        out=None, eval_env=Walk(), **QUICK
    )  # fmt: skip
    guided = np.concatenate(env.acted) == 0.125
    # Of 6 steps round(6 (1 - t / 600)) are the guide's: all at the start, none at the end, half of them on the whole.
    assert guided[:6].all()
    assert not guided[-40:].any()
    assert 0.4 < guided.mean() < 0.65


def test_a_guide_gives_way_by_returns():
    # Means of three: 2, 3, 2.96, 2, 4. Against the best before: the first has none; 3 >= 1.9; 2.96 >= 2.85; 2 < 2.85;
    # 4 >= 2.85. So three were passed.
    returns = [2.0, 2.0, 2.0, 5.0, 1.88, -0.88, 11.0]
    assert [round(float(np.mean(returns[i : i + 3])), 2) for i in range(5)] == [2.0, 3.0, 2.96, 2.0, 4.0]
    assert [n_passed(returns[:n]) for n in range(8)] == [0, 0, 0, 0, 1, 2, 2, 3]
    # Of negative returns the best is -10, and -10.4 is within 5% of it, -10.6 is not.
    assert n_passed([-10.0, -10.4, -10.6], window=1) == 1


@pytest.mark.parametrize("rule", ["return", "random"])
def test_rules_of_a_guide(rule, tmp_path):
    env = Walk()
    settings = {
        "guide": lambda seen: np.full((len(seen), 1), 0.125), "guide_steps": 4, "guide_rule": rule,
        "warmup_steps": 299, "eval_env": Walk, "eval_episodes": 1, "progress": False, "log_interval": 12,
    }  # fmt: skip
    algo = small(TD3).fit_online(env, 300, out=tmp_path / "whole", **settings, checkpoint_interval=60)
    guided = (np.concatenate(env.acted) == 0.125).astype(int)
    lengths = algo.experience.episode_lengths()
    first = np.split(guided, np.cumsum(lengths)[:-1])
    counts = [
        part.sum() if (np.sort(part)[::-1] == part).all() else -1 for part in first
    ]  # The guide acts first.
    whole = [n for n, length in zip(counts, lengths, strict=True) if length >= 4]
    if rule == "random":
        assert set(whole) == {0, 1, 2, 3, 4}
    else:
        assert whole[0] == 4
        assert whole == sorted(whole, reverse=True)
        assert whole[-1] < 4
    broken = small(TD3)
    for step, _ in broken.fitter_online(Walk(), 300, out=tmp_path / "b", **settings, checkpoint_interval=60):
        if step > 200:
            break
    again = small(TD3).fit_online(Walk(), 300, resume=broken.run_dir, **settings)
    assert again.experience.actions.tolist() == algo.experience.actions.tolist()


def test_schedules_begin_anew_and_leave_no_trace():
    data = recorded_walk()
    algo = small(TD3, lr_schedule="cosine", policy_delay=1).fit(
        data, 150, out=None, progress=False, value_alarm="off"
    )
    rates = []
    for _ in algo.fitter_online(Walk(), 100, out=None, **QUICK):
        rates.append(algo.impl.objectives[0].optimizer.learning_rate)
    # A cosine that ended offline would stay at 0.
    assert rates[1] > 0.5 * algo.critic_learning_rate
    assert rates[-1] < 0.01 * algo.critic_learning_rate
    assert algo.impl.schedule_start == 0


def test_config_says_how_it_was_run(tmp_path):
    algo = small().fit_online(Walk(), 20, dataset=recorded_walk(), mixing=(0.5, 0.25), out=tmp_path, **QUICK)
    config = json.loads((algo.run_dir / "config.json").read_text())
    assert (config["online"], config["n_steps"], config["mixing"]) == ("Walk", 20, [0.5, 0.25])
    assert config["updates_per_step"] == 1.0


def test_order_of_steps_side_by_side():
    # Three episodes of 2, 1 and 2 steps in two environments: the third begins where the second ended.
    assert list(interleaved([2, 1, 2], 2)) == [(0, 0), (1, 0), (0, 1), (2, 0), (2, 1)]
    assert list(interleaved([1], 3)) == [(0, 0)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixing": 1.5}, r"mixing must be 'append'.* got 1.5"),
        ({"mixing": "symetric"}, "did you mean 'symmetric'"),
        ({"reset": "critic"}, r"reset must name some of .*did you mean 'critics'"),
        ({"n_envs": 2}, "n_envs=2 environments need a function that makes one"),
        ({"guide_steps": 5}, "guide_steps needs a policy that acts first"),
        ({"updates_per_step": 0.0}, r"updates_per_step must be in \(0, inf\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small().fit_online(Walk(), 10, out=None, **settings)


def test_what_cannot_go_online_is_refused():
    with pytest.raises(TypeError, match="fit_online has no keyword 'value_alarm'"):
        small().fit_online(Walk(), 10, value_alarm="off")
    with pytest.raises(UnsupportedError, match="DecisionTransformer learns from windows of trajectories"):
        small(DecisionTransformer).fit_online(Walk(), 10, out=None)
    with pytest.raises(UnsupportedError, match="noise needs actions in a bounded Box"):
        small(DoubleDQN).fit_online(Walk(discrete=True), 10, noise=0.1, out=None)
    with pytest.raises(
        ValueError, match="observation_scaler and reward_scaler are fitted on data; give dataset="
    ):
        small(observation_scaler="standard").fit_online(Walk(), 10, out=None)


@pytest.mark.parametrize(
    ("scaler", "expected"),
    [
        ({"type": "multiply", "multiplier": 0.1}, -0.2),
        ({"type": "shift", "shift": 1.0}, -1.0),
        ({"type": "clip", "low": -1.0}, -1.0),
    ],
)
def test_scalers_with_numbers_of_their_own_need_no_data(scaler, expected):
    algo = small(reward_scaler=scaler).fit_online(Walk(), 10, out=None, **QUICK)
    assert algo.scaling.reward.transform(np.array([-2.0])).tolist() == pytest.approx([expected])


def test_rewards_and_observations_are_scaled_as_those_of_the_data(monkeypatch):
    data = recorded_walk()
    algo = small(reward_scaler="standard", observation_scaler="standard").fit(
        data, 2, out=None, progress=False, value_alarm="off"
    )
    before, seen = algo.scaling.to_json(), []
    original = SAC.impl_class.compute_target
    monkeypatch.setattr(
        SAC.impl_class, "compute_target", lambda self, batch: (seen.append(batch), original(self, batch))[1]
    )
    algo.fit_online(Walk(), 20, dataset=data, mixing="none", out=None, engine="eager", **QUICK)
    assert algo.scaling.to_json() == before
    # (r - mean) / (standard deviation + 0.001) of the recorded rewards, and so the observations.
    played = algo.experience
    rewards = (played.rewards - data.rewards.mean()) / (data.rewards.std() + 1e-3)
    observations = (played.observations - data.observations.mean(0)) / (data.observations.std(0) + 1e-3)
    for batch in seen:
        for row, reward in zip(batch.observations.numpy(), batch.rewards.numpy(), strict=True):
            near = np.abs(observations - row).max(1) < 1e-3
            assert np.abs(rewards[near] - reward).min() < 1e-3


def test_what_learns_from_whole_datasets_learns_from_those_that_grow():
    algo = small(AWR).fit_online(Walk(), 40, dataset=recorded_walk(), out=None, **QUICK)
    assert algo.history[-1]["updates"] == 40


def test_statistics_of_wrappers_stay_as_they_were_in_evaluations():
    env = gymnasium.wrappers.NormalizeReward(gymnasium.wrappers.NormalizeObservation(Walk()))
    counts = []
    for _ in small().fitter_online(env, 60, out=None, **QUICK):
        counts.append((env.env.obs_rms.count, env.return_rms.count))
    # One observation a step and one a reset, and one reset to see what observations are like; none of evaluations.
    algo_steps = 60
    assert counts[-1][1] - counts[0][1] == pytest.approx(algo_steps)
    assert counts[-1][0] < algo_steps + 40


@pytest.mark.slow
def test_sac_learns_pendulum_from_nothing():
    algo = small(
        encoder=MLPEncoder((64, 64)), batch_size=128, actor_learning_rate=1e-3, critic_learning_rate=1e-3
    )
    settings = {**QUICK, "eval_episodes": 10, "eval_interval": 6_000, "log_interval": 6_000}
    algo.fit_online(
        gymnasium.make("Pendulum-v1"), 6_000, random_steps=500, warmup_steps=500, out=None, **settings
    )
    scores = [row["eval/return_mean"] for row in algo.history if "eval/return_mean" in row]
    assert scores[0] < -900  # As random actions.
    assert scores[-1] > -300
