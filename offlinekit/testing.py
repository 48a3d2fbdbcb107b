"""One contract for every algorithm, third-party ones too: `check_algo(MyAlgo)`.

Each check raises AssertionError with what was expected and what came. The datasets are small and random; no
check requires an algorithm to learn anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

import offlinekit
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset
from offlinekit.errors import NotFittedError, UnsupportedError
from offlinekit.metrics import get_evaluator, known_evaluators
from offlinekit.training.engines import replay

if TYPE_CHECKING:
    from offlinekit.types import Array

Make = Callable[..., Algo]
SETTINGS: dict[str, Any] = {"out": None, "progress": False}


def check_algo(make: Make) -> list[str]:
    """Holds an algorithm to the contract.

    Args:
        make: The front class, or a function that takes `seed` and `batch_size` and makes one.

    Returns:
        The clauses that it keeps, by name: all of them.

    Raises:
        AssertionError: At the first clause that is broken; the message names it.
    """
    passed = []
    for check in CHECKS:
        check(make)
        passed.append(check.__name__.removeprefix("check_"))
    return passed


def small_dataset(action_kind: str, n_episodes: int = 6, length: int = 20) -> MDPDataset:
    """Makes random data: 4-dimensional observations, 3 discrete or 2 continuous actions in [-2, 2].

    Half of the episodes end in a terminal, the others in a timeout with its final observation.
    """
    rng = np.random.default_rng(0)
    n = n_episodes * length
    ends = np.zeros(n, np.bool_)
    ends[length - 1 :: length] = True
    terminals = ends & (np.arange(n) // length % 2 == 0)
    discrete = action_kind == "discrete"
    actions = rng.integers(0, 3, n) if discrete else rng.uniform(-2, 2, (n, 2)).astype(np.float32)
    space = gymnasium.spaces.Discrete(3) if discrete else gymnasium.spaces.Box(-2.0, 2.0, (2,))
    observations = rng.normal(size=(n + 1, 4)).astype(np.float32)
    return MDPDataset(
        observations[:-1],
        actions,
        rng.normal(size=n),
        terminals,
        timeouts=ends & ~terminals,
        next_observations=observations[1:],
        action_space=space,
        name="small",
    )


def check_catalogue(make: Make) -> None:
    """The class says its family, kind of actions, paper and one line."""
    cls = type(make(seed=0))
    assert cls.family in {"IL", "PC", "VR", "U", "MB", "Off2On", "SEQ", "TEXT", "online"}, (
        f"family {cls.family!r}"
    )
    assert cls.action_kind in {"continuous", "discrete"}, f"action_kind {cls.action_kind!r}"
    assert cls.paper, "paper is empty"
    assert cls.summary(), "the docstring is empty"
    for name, parameter in cls.hyperparameters().items():
        written = f"{name}: Annotated[{parameter.kind.split()[0]}, 'What it means.']"
        assert parameter.meaning, (
            f"hyperparameter {name!r} has no meaning; write {written} = {parameter.default!r}"
        )


def check_shapes(make: Make) -> None:
    """Actions and values have the documented shapes and dtypes, and lie in the action space."""
    algo, data = _fitted(make)
    discrete = algo.action_kind == "discrete"
    for act in (algo.predict, algo.sample_action):
        actions = act(data.observations[:5])
        wanted: tuple[int, ...] = (5,) if discrete else (5, 2)
        assert actions.shape == wanted, f"{act.__name__}: expected shape {wanted}, got {actions.shape}"
        dtype = np.int64 if discrete else np.float32
        assert actions.dtype == dtype, f"{act.__name__}: expected {dtype.__name__}, got {actions.dtype}"
        assert all(data.action_space.contains(a) for a in actions), f"{act.__name__}: outside the space"
        assert act(data.observations[0]).shape == wanted[1:], f"{act.__name__}: one observation"
    for wrong in (data.observations[:, :3], data.observations[0, :3], data.observations[None]):
        _raises(ValueError, partial(algo.predict, wrong), "predict with a wrong shape")
    if algo.has_value:
        for given in (None, data.actions[:5]):
            values = algo.predict_value(data.observations[:5], given)
            assert values.shape == (5,), f"predict_value: expected shape (5,), got {values.shape}"
            assert values.dtype == np.float32, f"predict_value: expected float32, got {values.dtype}"
    else:
        _raises(UnsupportedError, lambda: algo.predict_value(data.observations[:5]), "predict_value")


def check_not_fitted(make: Make) -> None:
    """An algorithm without networks says so."""
    _raises(NotFittedError, lambda: make(seed=0).predict(np.zeros(4, np.float32)), "predict before fit")


def check_wrong_actions(make: Make) -> None:
    """Data of the other kind of actions are refused."""
    algo = make(seed=0)
    other = "continuous" if algo.action_kind == "discrete" else "discrete"
    _raises(
        UnsupportedError, lambda: algo.fit(small_dataset(other), 1, **SETTINGS), f"fit on {other} actions"
    )


def check_determinism(make: Make) -> None:
    """The same seed gives the same bits, another seed others."""
    first, _ = _fitted(make)
    _same(_state(first), _state(_fitted(make)[0]), "two runs of one seed")
    other = make(seed=1, batch_size=8)
    other.fit(small_dataset(other.action_kind), 5, **SETTINGS)
    mine, theirs = first.impl.state_dict(), other.impl.state_dict()
    assert any(not torch.equal(mine[name], theirs[name]) for name in mine), (
        "seeds 0 and 1 gave equal networks"
    )


def check_exact_updates(make: Make) -> None:
    """`fit` takes exactly `n_steps` updates, and changes parameters."""
    algo = make(seed=0, batch_size=8)
    data = small_dataset(algo.action_kind)
    before = {k: v.clone() for k, v in algo.build(data).impl.state_dict().items()}
    steps = [step for step, _ in algo.fitter(data, 7, log_interval=3, eval_interval=5, **SETTINGS)]
    assert algo.grad_step == 7, f"expected 7 updates, got {algo.grad_step}"
    assert steps == [3, 5, 6, 7], f"expected rows at 3, 5, 6 and 7, got {steps}"
    after = algo.impl.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before), (
        "nothing was learned in 7 updates"
    )


def check_save_load(make: Make) -> None:
    """A loaded file acts and trains on bit by bit as the algorithm that was saved."""
    algo, data = _fitted(make)
    with tempfile.TemporaryDirectory() as folder:
        path = algo.save(Path(folder) / "policy.okt")
        loaded = offlinekit.load(path, device=algo.device)
    loaded.sample_batch(data)  # A look at a batch must not move the random numbers of the run.
    assert type(loaded) is type(algo), f"expected {type(algo).__name__}, got {type(loaded).__name__}"
    assert loaded.grad_step == algo.grad_step, f"expected {algo.grad_step} updates, got {loaded.grad_step}"
    np.testing.assert_array_equal(loaded.predict(data.observations), algo.predict(data.observations))
    for trained in (algo, loaded):
        trained.fit(data, 3, **SETTINGS)
    _same(_state(algo), _state(loaded), "training on after save and load")


def check_stateful(make: Make) -> None:
    """Acting step by step gives actions of the space and begins anew after `reset` and when loaded;
    without a memory each action is that of `predict`.
    """
    algo, data = _fitted(make)
    with tempfile.TemporaryDirectory() as folder:
        loaded = offlinekit.load(algo.save(Path(folder) / "policy.okt"), device=algo.device)
    played = []
    for actor in (algo.as_stateful(), loaded.as_stateful()):
        for _ in range(2):
            actor.reset()
            steps = zip(data.observations[:8], [0.0, *data.rewards[:7]], strict=True)
            played.append([actor.predict(observation, float(reward)) for observation, reward in steps])
    for action in played[0]:
        assert data.action_space.contains(action), f"as_stateful: {action!r} is outside the space"
    for again, way in zip(
        played[1:], ("after reset", "when loaded", "when loaded, after reset"), strict=True
    ):
        np.testing.assert_array_equal(np.stack(played[0]), np.stack(again), f"as_stateful {way}")
    if not algo.is_stateful:
        alone = [algo.predict(observation) for observation in data.observations[:8]]
        np.testing.assert_array_equal(np.stack(played[0]), np.stack(alone), "as_stateful and predict")


def check_resume(make: Make) -> None:
    """A run resumed from its checkpoint ends with the bits and the history of a run that went through."""
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {**SETTINGS, "out": folder, "log_interval": 4, "checkpoint_interval": 5}
        whole = make(seed=0, batch_size=8)
        data = small_dataset(whole.action_kind)
        whole.fit(data, 10, **settings)
        broken = make(seed=0, batch_size=8)
        for step, _ in broken.fitter(data, 10, **settings):
            if step == 8:
                break
        resumed = make(seed=0, batch_size=8).fit(data, 10, resume=broken.run_dir, **settings)
    _same(_state(whole), _state(resumed), "a resumed run and one that went through")
    timeless = [
        [{k: v for k, v in row.items() if k != "time"} for row in a.history] for a in (whole, resumed)
    ]
    assert timeless[0] == timeless[1], f"histories differ: {timeless[0]} and {timeless[1]}"


def check_global_random(make: Make) -> None:
    """No global random number generator is read or moved."""
    torch_state, numpy_state = torch.random.get_rng_state(), _numpy_state()
    algo, data = _fitted(make)
    state = _state(algo)
    algo.sample_action(data.observations)
    assert torch.equal(torch_state, torch.random.get_rng_state()), "torch's global generator was moved"
    assert np.array_equal(numpy_state, _numpy_state()), "numpy's global generator was moved"
    moved = torch.random.get_rng_state()
    try:
        torch.manual_seed(12345)
        _same(state, _state(_fitted(make)[0]), "runs under different global torch seeds")
    finally:
        torch.random.set_rng_state(moved)


def check_pure_losses(make: Make) -> None:
    """Losses change no network, give the same value for the same random state, and are finite scalars."""
    algo, data = _fitted(make)
    batch = algo.sample_batch(data)
    for objective in algo.impl.objectives:
        before, random_state = _state(algo), algo.impl.random.state()
        values = []
        for _ in range(2):
            algo.impl.random.set_state(random_state)
            loss, metrics = objective.reduced(batch)
            values.append(loss)
            for name, metric in metrics.items():
                assert metric.ndim == 0, f"metric {name!r} has shape {tuple(metric.shape)}, expected a scalar"
                assert not metric.requires_grad, f"metric {name!r} carries a gradient"
        algo.impl.random.set_state(random_state)
        where = f"the {objective.name} loss"
        assert values[0].shape == (), f"{where} has shape {tuple(values[0].shape)}, expected a scalar"
        assert bool(values[0].isfinite()), f"{where} is {float(values[0])}"
        assert torch.equal(values[0], values[1]), f"{where} differs between two calls of one random state"
        _same(before, _state(algo), f"state before and after {where}")


def check_gradients(make: Make) -> None:
    """Each objective moves its own parameters and no others; targets never carry a gradient."""
    algo, data = _fitted(make)
    impl, batch = algo.impl, algo.sample_batch(data)
    for target in impl.targets:
        assert not any(p.requires_grad for p in target.target.parameters()), "a target requires gradients"
    for objective in impl.objectives:
        before = {name: value.clone() for name, value in impl.named_parameters()}
        objective.minimize(batch)
        owned = {id(parameter) for parameter in objective.parameters}
        moved = {n: id(p) in owned for n, p in impl.named_parameters() if not torch.equal(before[n], p)}
        foreign = sorted(name for name, own in moved.items() if not own)
        assert not foreign, f"the {objective.name} objective moved {foreign}"
        assert moved, f"the {objective.name} objective moved nothing"


def check_engines(make: Make) -> None:
    """Recorded updates give the bits that updates as written give."""
    n_steps = 3 * replay.RECORD_AT  # Objectives of every second update are replayed too.
    states = []
    for engine in ("eager", "graph"):
        algo = make(seed=0, batch_size=8, device="cpu")
        algo.fit(small_dataset(algo.action_kind), n_steps, engine=engine, **SETTINGS)
        states.append(_state(algo))
    _same(states[0], states[1], "runs of the eager and the graph engine")


def check_evaluators(make: Make) -> None:
    """Each evaluator gives a finite number, the same twice, or refuses; none changes the algorithm."""
    algo, data = _fitted(make)
    before = _state(algo)
    for name in known_evaluators():
        results: list[Any] = []
        for _ in range(2):
            try:
                results.append(get_evaluator(name)(algo, data))
            except UnsupportedError:
                results.append(0.0)
        assert results[0] == results[1], f"{name}: {results[0]}, and {results[1]} the second time"
        numbers = results[0].values() if isinstance(results[0], dict) else results[:1]
        assert all(np.isfinite(number) for number in numbers), f"{name} is {results[0]}"
        _same(before, _state(algo), f"state before and after {name}")


CHECKS: tuple[Callable[[Make], None], ...] = (
    check_catalogue,
    check_not_fitted,
    check_wrong_actions,
    check_shapes,
    check_exact_updates,
    check_determinism,
    check_global_random,
    check_pure_losses,
    check_gradients,
    check_save_load,
    check_stateful,
    check_resume,
    check_engines,
    check_evaluators,
)


def _numpy_state() -> Array:
    key: Array = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002  # It is what must not move.
    return key


def _fitted(make: Make) -> tuple[Algo, MDPDataset]:
    algo = make(seed=0, batch_size=8)
    data = small_dataset(algo.action_kind)
    return algo.fit(data, 5, **SETTINGS), data


def _state(algo: Algo) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in algo.impl.state_tensors().items()}


def _same(first: dict[str, Tensor], second: dict[str, Tensor], what: str) -> None:
    assert set(first) == set(second), f"{what}: names differ: {sorted(set(first) ^ set(second))}"
    differing = sorted(name for name in first if not torch.equal(first[name], second[name]))
    assert not differing, f"{what}: differ in {differing[:5]}"


def _raises(kind: type[Exception], call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"{what}: expected {kind.__name__}, got {error!r}") from error
    raise AssertionError(f"{what}: expected {kind.__name__}, got no error")
