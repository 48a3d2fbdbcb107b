"""Decisions of one process of several; several together are in tests/faults/test_distributed.py."""

from __future__ import annotations

import itertools
from functools import partial

import click
import numpy as np
import pytest
import torch

from offlinekit.algos import AWR, BC, TD3PlusBC, catalogue
from offlinekit.cli.job import Job
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.nn.random import Random
from offlinekit.training.process_group import ProcessGroup, bounds, is_launched, local_device
from offlinekit.training.setup.data_parallel import share
from offlinekit.training.setup.row_weighting import weighted_dataset
from offlinekit.types import map_tree


def team_of(size, rank=0):
    """A team that has nobody to talk to."""
    team = object.__new__(ProcessGroup)
    team.size, team.rank, team.device = size, rank, torch.device("cpu")
    return team


@pytest.mark.parametrize(
    ("lengths", "n_parts", "expected"),
    [
        ([5, 5, 5, 5], 2, [(0, 2), (2, 4)]),
        ([9, 1, 1, 1], 2, [(0, 1), (1, 4)]),  # 9 and 3 rows are nearer to 6 and 6 than any other cut.
        ([1, 1, 1, 9], 2, [(0, 3), (3, 4)]),
        ([100, 1, 1], 3, [(0, 1), (1, 2), (2, 3)]),  # No part is empty.
        ([1, 1, 100], 3, [(0, 1), (1, 2), (2, 3)]),
        ([3, 3, 3], 1, [(0, 3)]),
    ],
)
def test_episodes_are_shared_out_by_rows(lengths, n_parts, expected):
    assert bounds(np.cumsum(lengths), n_parts) == expected


def test_parts_hold_every_episode_once_and_about_as_many_rows():
    lengths = np.random.default_rng(0).integers(1, 50, 400)
    parts = bounds(np.cumsum(lengths), 7)
    assert [parts[0][0], parts[-1][1]] == [0, 400]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(parts))
    sizes = [lengths[first:last].sum() for first, last in parts]
    assert max(sizes) - min(sizes) <= 50


def test_a_shard_holds_its_own_rows_alone():
    dataset, _ = get_dataset("cartpole-mixed")
    shards = [team_of(3, rank).shard(dataset) for rank in range(3)]
    assert sum(shard.n_episodes for shard in shards) == dataset.n_episodes
    joined = np.concatenate([shard.observations for shard in shards])
    np.testing.assert_array_equal(joined, dataset.observations)
    assert not np.shares_memory(shards[0].observations, dataset.observations)
    assert shards[0].observations.base is None or len(shards[0].observations.base) < len(dataset)


def test_a_shard_of_a_mapped_dataset_stays_in_its_file(tmp_path):
    dataset, _ = get_dataset("cartpole-mixed")
    dataset.save(tmp_path / "data.h5", compress=False)
    mapped = MDPDataset.open(tmp_path / "data.h5")
    assert np.shares_memory(team_of(2, 1).shard(mapped).observations, mapped.observations)


def test_fewer_episodes_than_processes_are_refused():
    dataset, _ = get_dataset("cartpole-mixed")
    with pytest.raises(DatasetError, match=r"3 processes need at least one episode each.*has 2; start fewer"):
        team_of(3).shard(dataset[:2])


def test_a_batch_must_be_divisible():
    dataset, _ = get_dataset("pendulum-mixed")
    algo = BC(batch_size=10).build(dataset)
    with pytest.raises(ValueError, match="batch_size=10 must be divisible by the 3 processes"):
        share(algo, team_of(3), [])


def test_what_learns_from_all_data_at_once_is_refused():
    dataset, _ = get_dataset("pendulum-mixed")
    with pytest.raises(UnsupportedError, match="AWR learns from its whole dataset at once"):
        share(AWR(batch_size=8).build(dataset), team_of(2), [])


def test_each_process_draws_its_share_of_a_batch_from_a_stream_of_its_own(monkeypatch):
    monkeypatch.setattr(ProcessGroup, "check_same", lambda *_: None)
    dataset, _ = get_dataset("pendulum-mixed")
    drawn = []
    for rank in range(3):
        algo = TD3PlusBC(batch_size=12, seed=4, device="cpu").build(dataset)
        sampler = share(algo, team_of(3, rank), [])(algo, dataset)  # Of the whole, to tell streams apart.
        drawn.append((sampler.next_rows(), algo.impl.random.normal(5)))
    alone = TD3PlusBC(batch_size=4, seed=4, device="cpu").build(dataset)
    drawn.append((alone.make_sampler(dataset).next_rows(), alone.impl.random.normal(5)))
    assert all(rows.shape == (4,) for rows, _ in drawn)
    for one, other in itertools.combinations(range(4), 2):
        for mine, theirs in zip(drawn[one], drawn[other], strict=True):
            assert torch.equal(mine, theirs) == ((one, other) == (0, 3))  # Rank 0 is as one process is.


def test_joining_needs_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert not is_launched()
    with pytest.raises(ValueError, match="torchrun --nproc-per-node N"), ProcessGroup.join():
        pass


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_device("cuda") == torch.device("cuda:3")
    assert local_device("cuda:1") == torch.device("cuda:1")
    assert local_device("cpu") == torch.device("cpu")


def test_seeds_and_torchrun_do_not_go_together():
    with pytest.raises(click.UsageError, match="--seeds trains in one process"):
        Job.from_options({"algo": "bc", "dataset": "pendulum-mixed", "seeds": 2, "out": None}, team_of(2))


OF_A_BATCH = {  # docs/distributed.md says which statistic it is.
    *("td3_plus_bc", "rebrac", "spot", "tacr", "ispic", "ispis", "xql", "mobrac"),
    *("decision_transformer", "discrete_decision_transformer", "diffusion_ql", "qc", "qc_fql"),
    *("text_bc", "ilql"),
}
APART = ("awr", "prdc", "leq")  # LEQ deals rows out to members of its model.
FRONTS = {n: a for n, a in catalogue().items() if a.family != "OPE" and n not in APART}


def _half(number, leaf):
    """Half of the rows, which are the second axis of masks."""
    return None if leaf is None else leaf.split(8, dim=leaf.shape.index(16))[number]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FRONTS))
def test_gradients_of_halves_average_to_that_of_the_whole(name, monkeypatch):
    """With noise that is the same everywhere: numbers that do not depend on the shape."""
    noise = (
        0.03 if name == "diffusion_ql" else 0.3
    )  # More ends at the actions' bounds, where nothing moves them.
    monkeypatch.setattr(Random, "normal", lambda _, *shape: torch.full(shape, noise))
    monkeypatch.setattr(
        Random, "uniform", lambda _, *shape, low=0.0, high=1.0: torch.full(shape, 0.37) * (high - low) + low
    )
    front = FRONTS[name]
    dataset, _ = get_dataset("cartpole-mixed" if front.action_kind == "discrete" else "pendulum-mixed")
    whole = {"max_length": 400} if name in ("text_bc", "ilql") else {}  # Their rows are episodes.
    unclipped = {**whole, "clip_grad_norm": None}  # What is clipped is the average of processes.
    impl = front(seed=0, batch_size=16, device="cpu", **unclipped).build(dataset).impl.train()
    batch = impl.config.sample_batch(dataset)
    halves = [type(batch)(*map_tree(half, tuple(batch))) for half in (partial(_half, 0), partial(_half, 1))]
    gaps = []
    for objective in impl.objectives:
        whole, one, other = (objective.gradients(b)[0] for b in (batch, *halves))
        for all_rows, first, second in zip(whole, one, other, strict=True):
            if all_rows is not None:
                gap = (all_rows - (first + second) / 2).abs().max()
                gaps.append(float(gap) / max(float(all_rows.abs().max()), 1.0))
    assert (max(gaps) > 3e-5) == (name in OF_A_BATCH), f"largest difference {max(gaps):.1e}"


def test_weights_have_mean_1_over_the_rows_of_all_processes():
    # Shards of 3 rows each weigh (1, 0, 2) and (3, 6, 6): of mean 1 and 5, together 3. Each draws equally many rows,
    # the first from two: the mean of a row drawn there is 1 / 3, of one drawn in the other 5 / 3, their mean 1.
    means = {"weights": 3.0}
    for weights, expected in (([1.0, 0.0, 2.0], 1 / 3), ([3.0, 6.0, 6.0], 5 / 3)):
        team = team_of(2)
        team.means = lambda own: means
        ones = np.ones((3, 1), np.float32)
        shard = MDPDataset(ones, ones, ones[:, 0], ones[:, 0])
        learned = weighted_dataset(shard, np.array(weights), team)
        drawn = (
            BC(seed=0, batch_size=4_000, device="cpu").build(learned).make_sampler(learned).sample().weights
        )
        assert float(drawn.mean()) == pytest.approx(expected, abs=0.02)
