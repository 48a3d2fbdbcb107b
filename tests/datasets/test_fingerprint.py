"""Names of data: what they follow from, and how they meet the names that versions before gave."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import DiscreteBC
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.fingerprint import distinct, fingerprint, same_data, steps_fingerprint
from offlinekit.errors import DatasetError
from offlinekit.training.setup import description

N = 12
RNG = np.random.default_rng(0)
OBSERVATIONS = RNG.normal(size=(N, 2)).astype(np.float32)
OTHER = RNG.normal(size=(N, 2)).astype(np.float32)
LEGAL = np.ones((N, 3))


def data(observations=OBSERVATIONS, **options):
    """Four episodes of three rows, actions 0 to 2."""
    options = {"action_space": spaces.Discrete(3), "timeouts": np.arange(N) % 3 == 2, **options}
    return MDPDataset(observations, np.arange(N) % 3, np.arange(N) % 4, np.zeros(N), **options)


OTHERS = {
    "as it is": data,
    "finals": lambda: data(final_observations=OTHER[:4]),
    "other finals": lambda: data(final_observations=OTHER[4:8]),
    "finals, one unknown": lambda: data(final_observations=OTHER[:4], final_known=[1, 1, 1, 0]),
    "next": lambda: data(next_observations=OTHER),
    "other next": lambda: data(next_observations=OTHER + 1),
    "action space": lambda: data(action_space=spaces.Discrete(4)),
    "observation space": lambda: data(observation_space=spaces.Box(-9, 9, (2,))),
    "log-probabilities": lambda: data(behavior_log_probs=-np.ones(N)),
    "masks": lambda: data(create_mask=True, mask_size=3),
    "other masks": lambda: data(create_mask=True, mask_size=3, seed=1),
    "extras": lambda: data(extras={"cost": np.ones(N)}),
    "extras of another name": lambda: data(extras={"costs": np.ones(N)}),
    "extras of another dtype": lambda: data(extras={"cost": np.ones(N, np.float32)}),
    "extras of another order of bytes": lambda: data(extras={"cost": np.full(N, 2.5, ">f8")}),
    "texts": lambda: data(extras={"note": np.array([b"a", b"bb", b""] * 4)}),
    "extras of episodes": lambda: data(episode_extras={"cost": np.ones(4)}),
    "legal actions": lambda: data(legal_actions=LEGAL),
    "dict": lambda: data({"a": OBSERVATIONS, "b": OTHER}),
    "dict of other keys": lambda: data({"a": OBSERVATIONS, "c": OTHER}),
    "tuple": lambda: data((OBSERVATIONS, OTHER)),
    "nested tuple": lambda: data((OBSERVATIONS, (OTHER,))),
}


def test_whatever_differs_gives_another_name():
    names = {how: fingerprint(make()) for how, make in OTHERS.items()}
    for one, other in combinations(names, 2):
        assert not same_data(names[one], names[other]), (one, other)


@pytest.mark.parametrize("how", OTHERS)
def test_it_is_the_same_in_memory_and_in_files(how, tmp_path):
    dataset = OTHERS[how]()
    path = dataset.save(tmp_path / "plain.h5", compress=False)
    expected = fingerprint(OTHERS[how]())
    assert fingerprint(dataset) == expected
    assert fingerprint(MDPDataset.load(path)) == expected
    assert fingerprint(MDPDataset.open(path)) == expected
    assert fingerprint(MDPDataset.load(dataset.save(tmp_path / "packed.h5"))) == expected


def test_name_and_order_of_extras_do_not_count():
    one = data(extras={"a": np.ones(N), "b": np.zeros(N)}, name="one")
    other = data(extras={"b": np.zeros(N), "a": np.ones(N)}, name="other", metadata={"x": 1})
    assert fingerprint(one) == fingerprint(other)


def test_names_of_before_are_compared_with_what_they_follow_from():
    dataset, finals = data(), data(final_observations=OTHER[:4])
    before = steps_fingerprint(dataset)[0]
    assert before == "sha256:7abea3264ae9d1d0f03e3dee19bdc26ee4db1d0a5f6086912eb1d0ff8d3c4df8"
    assert same_data(before, fingerprint(dataset))
    assert same_data(fingerprint(finals), before)  # All that could be known of it.
    assert not same_data(before, fingerprint(data(OTHER)))
    assert not same_data(before, before[:-1])
    assert distinct([before, fingerprint(dataset), fingerprint(dataset)]) == [fingerprint(dataset)]
    assert len(distinct([before, fingerprint(dataset), fingerprint(finals)])) == 2


TINY = {"encoder": [8], "batch_size": 4, "seed": 0, "device": "cpu"}
HOW = {"progress": False, "checkpoint_interval": 2, "log_interval": 1}


def interrupted(dataset, out):
    """Returns the folder of a run that has taken two of four updates."""
    for step, _ in DiscreteBC(**TINY).fitter(dataset, 4, out=out, **HOW):
        if step == 3:
            break
    (folder,) = out.iterdir()
    return folder


def test_auto_goes_on_with_the_same_data_alone(tmp_path):
    first, other = data(final_observations=OTHER[:4]), data(final_observations=OTHER[4:8])
    folder = interrupted(first, tmp_path)
    with pytest.raises(DatasetError, match="has learned from other data"):
        DiscreteBC(**TINY).fit(other, 4, resume=folder, **HOW)
    began = DiscreteBC(**TINY).fit(other, 4, out=tmp_path, resume="auto", **HOW)
    assert began.run_dir != folder
    assert DiscreteBC(**TINY).fit(first, 4, out=tmp_path, resume="auto", **HOW).run_dir == folder


@pytest.mark.parametrize("how", ["auto", "folder"])
def test_a_run_of_an_earlier_version_goes_on(tmp_path, how, monkeypatch):
    dataset = data(final_observations=OTHER[:4])
    with monkeypatch.context() as before:
        before.setattr(description, "fingerprint", lambda data: steps_fingerprint(data)[0])
        folder = interrupted(dataset, tmp_path)
    resume = "auto" if how == "auto" else folder
    other = data(OTHER, final_observations=OTHER[:4])
    if how == "auto":
        assert DiscreteBC(**TINY).fit(other, 4, out=tmp_path, resume="auto", **HOW).run_dir != folder
    else:
        with pytest.raises(DatasetError, match="has learned from other data"):
            DiscreteBC(**TINY).fit(other, 4, resume=folder, **HOW)
    algo = DiscreteBC(**TINY).fit(dataset, 4, out=tmp_path, resume=resume, **HOW)
    assert algo.run_dir == folder
    assert algo.grad_step == 4
