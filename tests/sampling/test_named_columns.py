"""Columns that batches carry by name: values, what an unasked one costs, and what is said of one that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from offlinekit.algos import QC, SAC, DecisionTransformer, MLPEncoder, PercentBC, Population, ReBRAC
from offlinekit.algos.torch.decision_transformer_impl import DecisionTransformerImpl
from offlinekit.algos.torch.percent_bc_impl import PercentBCImpl
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.blocks import BlockSampler
from offlinekit.sampling.loss_weights import weighted
from offlinekit.sampling.named_columns import with_extras
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Scaling
from offlinekit.sampling.windows import TrajectorySampler

QUIET: dict[str, Any] = {"out": None, "progress": False}
SMALL: dict[str, Any] = {"batch_size": 4, "seed": 0, "device": "cpu"}
HUGE = 2**53 + 1
"""No float64 is this number."""


def dataset(n_rows: int = 12, **extras: Any) -> MDPDataset:
    """Two episodes of equal length; costs count by tenths, goals are pairs, ids are huge, flags alternate."""
    row = np.arange(n_rows)
    rng = np.random.default_rng(0)
    given = {
        "costs": row / 10,
        "goals": np.stack([row, -row], 1).astype(np.float64),
        "ids": row + HUGE,
        "flags": row % 2 == 0,
        **extras,
    }
    ends = row % (n_rows // 2) == n_rows // 2 - 1
    return MDPDataset(
        rng.normal(size=(n_rows, 3)).astype(np.float32),
        rng.uniform(-0.9, 0.9, (n_rows, 2)).astype(np.float32),
        rng.normal(size=n_rows).astype(np.float32),
        ends,
        extras=given,
    )


def sampler_of(data: MDPDataset, *needs: str, **options: Any) -> TransitionSampler:
    settings = {"batch_size": 4, "gamma": 0.5, "n_step": 1, "seed": 0, "scaling": Scaling(), **options}
    return TransitionSampler(data, device=torch.device("cpu"), needs=needs, **settings)


class CostlySACImpl(SACImpl):
    """SAC that pays costs, and reads columns of whole numbers and flags."""

    needs: ClassVar[tuple[str, ...]] = (*SACImpl.needs, "costs", "ids", "flags")

    def compute_target(self, batch: Batch) -> Tensor:
        odd = (batch.ids % 2).float() * batch.flags
        return super().compute_target(batch) - batch.costs - odd


def test_columns_of_rows_by_hand() -> None:
    batch = sampler_of(dataset(), "goals", "costs", "ids", "flags", "rows").gather(torch.tensor([3, 10]))
    assert batch._fields[5:] == ("goals", "costs", "ids", "flags", "rows")
    assert batch.goals.tolist() == [[3.0, -3.0], [10.0, -10.0]]
    torch.testing.assert_close(batch.costs, torch.tensor([0.3, 1.0]))
    assert batch.ids.tolist() == [HUGE + 3, HUGE + 10]  # Which no float holds.
    assert batch.flags.tolist() == [False, True]
    assert batch.rows.tolist() == [3, 10]
    types = [batch.goals.dtype, batch.costs.dtype, batch.ids.dtype, batch.flags.dtype]
    assert types == [torch.float32, torch.float32, torch.int64, torch.bool]


@pytest.mark.parametrize("n_step", [1, 2])
def test_sampled_rows_bring_their_own_columns(n_step: int) -> None:
    data = dataset()
    sampler, same = (
        sampler_of(data, "next_observations", "costs", "ids", "rows", n_step=n_step) for _ in range(2)
    )
    for _ in range(70):  # Row numbers are drawn for 64 minibatches at once.
        batch = sampler.sample()
        assert torch.equal(batch.rows, same.next_rows())
        assert torch.equal(batch.ids, batch.rows + HUGE)
        torch.testing.assert_close(batch.costs, batch.rows / 10)


def test_refilled_batches_bring_all_columns_anew() -> None:
    names = ("next_observations", "next_actions", "costs", "ids", "flags", "rows", "returns")
    sampler, other = (sampler_of(dataset(), *names) for _ in range(2))
    batch = sampler.sample()
    other.sample()
    for _ in range(3):
        assert sampler.refill(batch)
        for name, found, wanted in zip(batch._fields, batch, other.sample(), strict=True):
            assert torch.equal(found, wanted), name


def test_a_column_that_nobody_needs_is_neither_kept_nor_gathered() -> None:
    data = dataset(create=np.zeros(12))
    # A row: 3 observations, 2 actions, reward and discount; gathered with the 3 observations of the next one.
    plain = sampler_of(data, "next_observations", "masks").columns
    assert (plain.packed.table.shape[1], sum(plain.packed.window_sizes)) == (7, 7 + 3)
    assert not plain.apart
    # Next actions lie in the table already, returns and costs do not.
    wide = sampler_of(data, "next_actions", "returns", "costs").columns
    assert (wide.packed.table.shape[1], sum(wide.packed.window_sizes)) == (9, 9 + 3 + 2)


def test_given_columns_stand_before_those_of_the_dataset() -> None:
    data = dataset()
    columns = {"costs": np.full(12, 7.0), "mine": np.arange(12.0)}
    batch = sampler_of(data, "costs", "mine", "goals", columns=columns).gather(torch.tensor([2]))
    assert (batch.costs.tolist(), batch.mine.tolist(), batch.goals.tolist()) == ([7.0], [2.0], [[2.0, -2.0]])
    joined = with_extras(data, columns)
    assert joined.extras["costs"][0] == 7.0
    assert data.extras["costs"][0] == 0.0
    assert joined[1].extras["mine"].tolist() == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]


def test_written_columns_are_those_of_the_next_batches() -> None:
    columns = sampler_of(dataset(), "costs", "goals").columns
    columns.write("goals", torch.arange(24.0).view(12, 2))
    batch = columns.gather(torch.tensor([5]))
    assert batch.goals.tolist() == [[10.0, 11.0]]
    torch.testing.assert_close(batch.costs, torch.tensor([0.5]))


def test_a_column_that_was_not_asked_for_fails_by_name() -> None:
    batch = SAC(**SMALL).sample_batch(dataset())
    with pytest.raises(
        AttributeError, match="'costs': SACImpl does not need 'costs'; add it to `needs` of SACImpl"
    ):
        _ = batch.costs
    with pytest.raises(AttributeError, match="did you mean 'rewards'"):
        _ = batch.reward
    wider = batch.with_columns(costs=torch.ones(4), rewards=torch.zeros(4))
    assert (wider.costs.sum(), wider.rewards.sum()) == (4.0, 0.0)
    assert isinstance(wider, Batch)
    with pytest.raises(AttributeError, match="`needs` of SACImpl"):
        _ = wider.goals


def test_a_column_that_the_dataset_lacks_fails_before_the_run(tmp_path: Path) -> None:
    data = dataset()
    del data.extras["costs"]
    data.extras["cost"] = np.zeros(12)
    algo = SAC(impl_class=CostlySACImpl, **SMALL)
    with pytest.raises(DatasetError, match=r"CostlySACImpl needs a column 'costs'.*did you mean 'cost'"):
        algo.fit(data, 1, out=tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("wrong", np.array([0.0] * 7 + [np.nan] + [0.0] * 4), "wrong must be finite, got nan at row 7"),
        ("wrong", np.zeros(12, "S3"), "column 'wrong' must hold numbers"),
        ("infos/cost", np.zeros(12), "call this extra 'infos_cost'"),
        ("_hidden", np.zeros(12), "call this extra"),
        ("class", np.zeros(12), "call this extra"),
    ],
)
@pytest.mark.filterwarnings("ignore:extras.'wrong'. holds nan")  # As building says.
def test_what_cannot_be_a_column(name: str, column: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        sampler_of(dataset(**{name: column}), name)


def test_given_columns_have_an_entry_a_row() -> None:
    with pytest.raises(
        DatasetError, match=r"'mine' must have one entry for each of the 12 rows, got shape \[11\]"
    ):
        sampler_of(dataset(), "mine", columns={"mine": np.zeros(11)})


def test_blocks_bring_the_columns_of_the_whole_dataset() -> None:
    data = dataset(600)
    settings: dict[str, Any] = {"batch_size": 10, "gamma": 0.9, "n_step": 1, "seed": 3, "scaling": Scaling()}
    settings |= {"device": torch.device("cpu"), "needs": ("costs", "ids", "mine", "rows")}
    settings |= {"columns": {"mine": np.arange(600.0)}}
    memory = TransitionSampler(data, **settings)
    blocks = BlockSampler(data, block_bytes=1, pool_bytes=6_000, **settings)
    assert blocks.n_pools > 1
    seen = set()
    for _ in range(200):
        batch = blocks.sample()
        seen.update(batch.rows.tolist())
        for name, found, wanted in zip(batch._fields, batch, memory.gather(batch.rows), strict=True):
            assert torch.equal(found, wanted), name
    assert len(seen) > 550


def test_windows_bring_the_columns_of_their_steps() -> None:
    names = ("rows", "ids", "goals")
    sampler = TrajectorySampler(dataset(), context=3, batch_size=2, needs=names)
    batch = sampler.gather(torch.tensor([7, 6]))
    # The second episode begins with row 6: before it stands padding.
    assert batch.goals[..., 0].tolist() == [[0.0, 6.0, 7.0], [0.0, 0.0, 6.0]]
    assert batch.ids.tolist() == [[0, HUGE + 6, HUGE + 7], [0, 0, HUGE + 6]]
    assert batch.rows.tolist() == [7, 6]
    assert batch.goals.shape == (2, 3, 2)
    with pytest.raises(AttributeError, match="the impl does not need 'costs'"):
        _ = batch.costs
    with pytest.raises(DatasetError, match="windows of steps have no column 'returns'"):
        TrajectorySampler(dataset(), context=3, batch_size=2, needs=("returns",))


def test_sequence_models_ask_for_columns_too() -> None:
    class CostlyTransformerImpl(DecisionTransformerImpl):
        needs: ClassVar[tuple[str, ...]] = (*DecisionTransformerImpl.needs, "costs")

    algo = DecisionTransformer(impl_class=CostlyTransformerImpl, context=3, **SMALL)
    assert algo.sample_batch(dataset()).costs.shape == (4, 3)


def test_the_best_episodes_keep_their_columns() -> None:
    class CostlyCloneImpl(PercentBCImpl):
        needs: ClassVar[tuple[str, ...]] = ("ids", "rows")

    data = dataset()
    data = data[np.argsort(data.episode_returns())]  # The best episode comes last.
    data.extras["ids"] = np.arange(12) + HUGE
    batch = PercentBC(impl_class=CostlyCloneImpl, **SMALL).sample_batch(data)
    assert torch.equal(batch.ids, batch.rows + HUGE)
    assert (batch.rows >= 6).all()


def without_the_first(n_rows: int = 12) -> MDPDataset:
    """The dataset of a run whose weights leave out the first episode; `ids` - HUGE are the numbers in the whole."""
    return weighted(dataset(n_rows), np.repeat([0.0, 1.0], n_rows // 2))


@pytest.mark.parametrize("options", [{}, {"n_step": 2}])
def test_rows_keep_their_numbers_if_weights_leave_out_an_episode(options: dict[str, int]) -> None:
    sampler = sampler_of(without_the_first(), "ids", "rows", **options)
    batch = sampler.sample()
    assert torch.equal(batch.rows, batch.ids - HUGE)
    assert (batch.rows >= 6).all()
    assert sampler.gather(torch.tensor([0, 5])).rows.tolist() == [6, 11]


def test_windows_and_blocks_keep_the_numbers_of_their_rows() -> None:
    windows = TrajectorySampler(without_the_first(), context=3, batch_size=2, needs=("rows", "ids"))
    batch = windows.gather(torch.tensor([1, 0]))
    assert batch.rows.tolist() == [7, 6]
    assert batch.ids[:, -1].tolist() == [HUGE + 7, HUGE + 6]
    settings: dict[str, Any] = {"batch_size": 10, "gamma": 0.9, "n_step": 1, "seed": 3, "scaling": Scaling()}
    settings |= {"device": torch.device("cpu"), "needs": ("ids", "rows")}
    blocks = BlockSampler(without_the_first(1_200), block_bytes=1, pool_bytes=3_000, **settings)
    assert blocks.n_pools > 1
    for _ in range(100):
        batch = blocks.sample()
        assert torch.equal(batch.rows, batch.ids - HUGE)


@pytest.mark.parametrize("front", [SAC, QC])
def test_a_run_with_weights_sees_the_numbers_of_the_rows_that_it_was_given(front: Any) -> None:
    seen: list[Any] = []

    class NumberedImpl(front.impl_class):  # type: ignore[misc, name-defined]  # Of either front.
        needs: ClassVar[tuple[str, ...]] = (*front.impl_class.needs, "rows", "ids")

        def update(self, batch: Any) -> Any:
            seen.append((batch.rows, batch.ids))
            return super().update(batch)

    settings = {**SMALL, **({"n_step": 2} if front is QC else {})}  # Of six rows most begin a chunk.
    algo = front(impl_class=NumberedImpl, encoder=MLPEncoder((8,)), **settings)
    algo.fit(dataset(), 3, weights=np.repeat([0.0, 1.0], 6), engine="eager", **QUIET)
    assert len(seen) == 3
    assert all(torch.equal(rows, ids - HUGE) for rows, ids in seen)


def trained(data: MDPDataset, seed: int = 0, **settings: Any) -> dict[str, Tensor]:
    algo = SAC(impl_class=CostlySACImpl, encoder=MLPEncoder((8,)), **{**SMALL, "seed": seed})
    state: dict[str, Tensor] = algo.fit(
        data, 12, progress=False, **{"out": None, **settings}
    ).impl.state_tensors()
    return state


def same(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 0.0) -> bool:
    return all(torch.allclose(one[name], other[name], rtol=0, atol=tolerance) for name in one)


def test_recorded_updates_see_the_columns_that_written_ones_see() -> None:
    data = dataset(60)
    eager, recorded = (trained(data, engine=engine) for engine in ("eager", "graph"))
    assert same(eager, recorded)
    assert not same(eager, trained(with_extras(data, {"costs": data.extras["costs"] + 1}), engine="eager"))


def test_a_run_resumes_with_its_columns(tmp_path: Path) -> None:
    data = dataset(60)
    algo = SAC(impl_class=CostlySACImpl, encoder=MLPEncoder((8,)), **SMALL)
    for step, _ in algo.fitter(data, 12, out=tmp_path, progress=False, log_interval=4, checkpoint_interval=4):
        if step == 8:
            break
    assert same(trained(data), trained(data, resume=algo.run_dir))


def test_members_of_a_population_see_the_columns_that_they_would_see_alone() -> None:
    data = dataset(60)
    settings = {**SMALL, "impl_class": CostlySACImpl, "encoder": MLPEncoder((8,))}
    members = Population([SAC(**{**settings, "seed": seed}) for seed in (0, 1)]).fit(data, 12, **QUIET)
    alone = trained(data, seed=1)
    networks = {name: value for name, value in alone.items() if name.startswith("networks.")}
    assert same(networks, members[1].impl.state_tensors(), 1e-5)


def test_next_actions_are_brought_where_they_are_needed() -> None:
    data = dataset()
    batch = ReBRAC(action_scaler=None, **SMALL).build(data).make_sampler(data).gather(torch.tensor([0, 5]))
    torch.testing.assert_close(
        batch.next_actions, torch.from_numpy(np.stack([data.actions[1], np.zeros(2)])).float()
    )
