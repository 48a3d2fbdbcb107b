"""What an online run takes from environments and between calls: what is wrong is named, and nothing played is lost."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import BC, SAC, TD3, DoubleDQN, MLPEncoder, Population
from offlinekit.envs.evaluation import evaluate
from offlinekit.errors import TrainingError, TrainingWarning
from offlinekit.training.online.experience import load_experience

QUICK = {
    "eval_episodes": 1,
    "progress": False,
    "log_interval": 20,
    "eval_interval": 20,
    "updates_per_step": 0.1,
}
BOX = spaces.Box(-1, 1, (2,), np.float32)


class Doors(gymnasium.Env):
    """Shows [seed, t]; each episode has 5 steps, and `wrong` changes the answer of the second step of seed 3."""

    def __init__(self, wrong=lambda o, r: (o, r), actions=BOX, is_dict=False):
        flat = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = spaces.Dict(a=flat, b=flat) if is_dict else flat
        self.action_space, self.wrong, self.is_dict = actions, wrong, is_dict
        self.seeds, self.actions, self.n_closed = [], [], 0

    def shown(self):
        flat = np.array([self.seeds[-1] % 1000, self.t], np.float64)
        return {"a": flat, "b": flat} if self.is_dict else flat

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.t = 0
        return self.shown(), {}

    def step(self, action):
        self.actions.append(action)
        self.t += 1
        answer = self.shown(), 1.0
        if (self.seeds[-1], self.t) == (3, 2):
            answer = self.wrong(*answer)
        return *answer, self.t == 5, False, {}

    def close(self):
        self.n_closed += 1


def small(front=SAC, **options):
    return front(**{"seed": 0, "batch_size": 8, "device": "cpu", "encoder": MLPEncoder((8,)), **options})


WRONG = {
    "a reward beyond float32": (False, lambda o, r: (o, 1e39)),
    "an observation beyond float32": (False, lambda o, r: (o * 1e39, r)),
    "another shape": (False, lambda o, r: (o[:1], r)),
    "nothing": (False, lambda o, r: (None, r)),
    "a leaf of another shape": (True, lambda o, r: ({**o, "a": o["a"][:1]}, r)),
    "a key less": (True, lambda o, r: ({"a": o["a"]}, r)),
    "a key more": (True, lambda o, r: ({**o, "c": o["a"]}, r)),
    "no dict": (True, lambda o, r: (o["a"], r)),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_was_played_before_a_wrong_answer_is_saved(name, tmp_path):
    is_dict, wrong = WRONG[name]
    algo, env = small(), Doors(wrong, is_dict=is_dict)
    with pytest.raises(
        TrainingError, match=r"environment failed after step 16: .*seed 3; .*go on with resume="
    ):
        algo.fit_online(env, 30, eval_env=Doors(is_dict=is_dict), out=tmp_path, **QUICK)
    # Three whole episodes of 5 steps, and one step of the fourth.
    assert load_experience(algo.run_dir).episode_lengths().tolist() == [5, 5, 5, 1]
    assert len(algo.experience) == 16


def test_without_a_folder_what_was_played_is_in_the_experience():
    algo = small()
    with pytest.raises(TrainingError, match=r"algorithm's `experience`.*dataset=algo.experience"):
        algo.fit_online(Doors(lambda o, r: (o, np.nan)), 30, eval_env=Doors(), out=None, **QUICK)
    assert len(algo.experience) == 16
    algo.fit_online(Doors(), 10, dataset=algo.experience, eval_env=Doors(), out=None, **QUICK)
    assert algo.sampler is None
    assert len(algo.experience) == 10


def test_an_error_elsewhere_keeps_what_was_played_too():
    def stop(algo, row):
        if row["step"] >= 20:
            raise RuntimeError("enough")

    algo = small()
    with pytest.raises(RuntimeError, match="enough"):
        algo.fit_online(Doors(), 30, eval_env=Doors(), out=None, callbacks=[stop], **QUICK)
    assert len(algo.experience) == 20


def test_a_function_must_make_a_new_environment_at_each_call():
    env = Doors()
    for make in (lambda: env, lambda: gymnasium.wrappers.TimeLimit(env, 4)):
        with pytest.raises(ValueError, match="twice"):
            small().fit_online(make, 20, n_envs=2, out=None, **QUICK)
        with pytest.raises(ValueError, match="twice"):
            Population.of_seeds(small(), 2).fit_online(make, 20, out=None, **QUICK)


def test_environments_that_were_made_are_closed_and_those_given_are_not():
    made = []

    def make(**wrong):
        made.append(Doors(**wrong))
        return made[-1]

    given = Doors()
    small().fit_online(make, 20, n_envs=2, eval_env=given, out=None, **QUICK)
    with pytest.raises(TrainingError):
        small().fit_online(
            lambda: make(wrong=lambda o, r: (o, np.nan)), 30, eval_env=given, out=None, **QUICK
        )
    small().fit_online(given, 10, out=None, **QUICK)
    assert [env.n_closed for env in made] == [1, 1, 1]
    assert given.n_closed == 0


def test_evaluations_have_seeds_of_their_own():
    env, other = Doors(), Doors()
    small().fit_online(env, 40, eval_env=other, out=None, **QUICK)
    assert not set(env.seeds) & set(other.seeds)
    assert set(other.seeds) == {10**9}


def test_evaluations_clip_actions_as_acting_does():
    env = Doors(actions=spaces.Box(-0.5, 0.5, (2,), np.float32))
    evaluate(lambda o: np.full((len(o), 2), 3.0), env, 1)
    assert np.all(np.array(env.actions) == 0.5)


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 4, (1,), np.int64), spaces.Dict(x=spaces.Box(0, 4, (1,), np.int64))]
)
def test_whole_numbers_are_rounded_then_clipped(space):
    env = Doors(actions=space)
    for meant, taken in ((2.4, 2), (2.6, 3), (9.0, 4), (-0.6, 0)):
        env.actions.clear()
        evaluate(lambda o, meant=meant: np.full((len(o), 1), meant, np.float32), env, 1)
        got = {int(action["x"][0] if isinstance(action, dict) else action[0]) for action in env.actions}
        assert got == {taken}


def test_noise_about_a_whole_number_is_rounded_once():
    algo, env = small(TD3), Doors(actions=spaces.Box(0, 4, (1,), np.int64))
    guide = {"guide": lambda o: np.full((len(o), 1), 2), "guide_steps": 10**6}
    algo.fit_online(env, 400, eval_env=Doors(actions=env.action_space), out=None, noise=0.3, **guide, **QUICK)
    assert abs(algo.experience.actions.mean() - 2) < 0.1


def test_a_second_call_says_that_it_begins_a_new_memory():
    algo = small().fit_online(Doors(), 10, out=None, **QUICK)
    with pytest.warns(TrainingWarning, match=r"without the 10 rows .*dataset=algo.experience"):
        algo.fit_online(Doors(), 10, out=None, **QUICK)


@pytest.mark.parametrize(("share", "which"), [(0.05, "recorded"), (0.95, "new"), ((0.02, 0.05), "recorded")])
def test_a_share_that_rounds_to_no_row_is_said(share, which):
    # round(0.05 * 8) = 0; of 11 rows round(0.55) = 1.
    data = small().fit_online(Doors(), 20, out=None, **QUICK).experience
    with pytest.warns(
        TrainingWarning, match=rf"of 8 rows .*of {which} ones .*at least 0.125, or batch_size=11 or"
    ):
        small().fit_online(Doors(), 10, dataset=data, mixing=share, out=None, **QUICK)


def test_imitation_of_nothing_is_said():
    with pytest.warns(TrainingWarning, match="imitates .*its own actions"):
        small(BC).fit_online(Doors(), 10, out=None, **QUICK)


def test_epsilon_and_noise_may_change_over_the_run():
    space = spaces.Discrete(3)
    algo, seen = small(DoubleDQN), []

    def falling(done):
        seen.append(done)
        return 1.0 - done

    algo.fit_online(Doors(actions=space), 10, out=None, epsilon=falling, **QUICK)
    np.testing.assert_allclose(seen, np.arange(10) / 10)
    small(DoubleDQN).fit_online(Doors(actions=space), 10, out=None, epsilon=(1.0, 0.1), **QUICK)
    small(TD3).fit_online(Doors(), 10, out=None, noise="0.3,0.1", **QUICK)
    for wrong, error in (
        ((1.0, 2.0), ValueError),
        ("fast", TypeError),
        (-0.1, ValueError),
        ((1, 2, 3), TypeError),
    ):
        with pytest.raises(error, match="epsilon must be"):
            small(DoubleDQN).fit_online(Doors(actions=space), 10, out=None, epsilon=wrong, **QUICK)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_run_goes_on_in_an_environment_that_a_wrapper_mends(wrapped, tmp_path):
    broken = Doors(lambda o, r: (o, np.nan))
    algo = small()
    with pytest.raises(TrainingError):
        algo.fit_online(broken, 30, eval_env=Doors(), out=tmp_path, **QUICK)
    mended = gymnasium.wrappers.TransformReward(broken, np.nan_to_num) if wrapped else Doors()
    on = small()
    if wrapped:
        with pytest.warns(UserWarning, match=r"begun in Doors.* goes on in TransformReward.* same spaces"):
            on.fit_online(mended, 30, eval_env=Doors(), resume=algo.run_dir, **QUICK)
    else:
        on.fit_online(mended, 30, eval_env=Doors(), resume=algo.run_dir, **QUICK)
    assert len(on.experience) == 30
