"""The run: rows, folders, best and last policies, interrupts, early stopping, failures."""

from __future__ import annotations

import csv
import json
import os
import signal

import numpy as np
import pytest
import torch

import offlinekit
from offlinekit.algos import BC, PLAS, TD3, DiscreteBC, DoubleDQN
from offlinekit.algos.torch.double_dqn_impl import DoubleDQNImpl
from offlinekit.errors import FileFormatError, TrainingError
from offlinekit.testing import small_dataset
from offlinekit.training import EarlyStopping, run_folder
from offlinekit.training.engines.engine import Engine

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3}


def fit(algo, n_steps, **settings):
    return algo.fit(small_dataset(algo.action_kind), n_steps, progress=False, **settings)


def test_run_folder(tmp_path):
    algo = fit(
        DiscreteBC(**TINY), 10, out=tmp_path, log_interval=4, checkpoint_interval=3, keep_checkpoints=2
    )
    folder = algo.run_dir
    assert folder.parent == tmp_path
    assert folder.name.startswith("DiscreteBC_small_20")
    config = json.loads((folder / "config.json").read_text())
    assert config["algo"] == "DiscreteBC"
    assert config["hyperparameters"]["batch_size"] == 8
    assert config["hyperparameters"]["seed"] == config["seed"] == 3
    assert config["n_steps"] == 10
    system = json.loads((folder / "system.json").read_text())
    assert system["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert {"click", "scikit-learn", "numpy"} <= system["versions"].keys()  # All that could matter.
    assert system["threads"] == torch.get_num_threads()
    names = [path.name for path in run_folder.checkpoints(folder)]
    assert names == ["step_000000009.okt", "step_000000010.okt"]
    assert offlinekit.load(folder / "policy.okt").grad_step == 10
    assert not (folder / "best.okt").exists()
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["4", "8", "10"]
    assert [float(row["actor_loss"]) for row in rows] == [row["actor_loss"] for row in algo.history]


def test_every_run_has_a_folder_of_its_own(tmp_path):
    folders = {run_folder.create(tmp_path, "BC", "a b/../c") for _ in range(20)}
    assert len(folders) == 20
    assert all(folder.parent == tmp_path for folder in folders)


def test_out_none_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit(BC(**TINY), 3, out=None).run_dir is None
    assert list(tmp_path.iterdir()) == []


def test_rows_hold_the_mean_since_the_last_row():
    every = fit(BC(**TINY), 6, out=None, log_interval=1).history
    pairs = fit(BC(**TINY), 6, out=None, log_interval=3).history
    losses = [row["actor_loss"] for row in every]
    assert [row["actor_loss"] for row in pairs] == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])])


def test_delayed_losses_are_averaged_over_their_own_updates():
    history = fit(TD3(**TINY), 3, out=None, log_interval=1).history
    assert ["actor_loss" in row for row in history] == [False, True, False]


def test_evaluators_and_best(tmp_path):
    scores = iter([1.0, 5.0, 2.0])
    seen = []

    def judge(algo, dataset):
        seen.append((algo.grad_step, len(dataset)))
        return next(scores) if algo.grad_step else 9.0  # Tried before the first update, on one episode.

    algo = fit(
        BC(**TINY), 9, out=tmp_path, eval_interval=3, log_interval=100, evaluators={"eval/return_mean": judge}
    )
    n_rows, one = len(small_dataset("continuous")), small_dataset("continuous").episode_lengths()[0]
    assert seen == [(0, one), (3, n_rows), (6, n_rows), (9, n_rows)]
    assert [row["eval/return_mean"] for row in algo.history] == [1.0, 5.0, 2.0]
    assert offlinekit.load(algo.run_dir / "best.okt").grad_step == 6
    assert offlinekit.load(algo.run_dir / "policy.okt").grad_step == 9


def test_early_stopping(tmp_path):
    scores = iter([1.0, 5.0, 4.0, 5.0, 9.0])
    algo = fit(
        BC(**TINY),
        50,
        out=tmp_path,
        eval_interval=2,
        evaluators={"judge": lambda algo, _: next(scores) if algo.grad_step else 0.0},
        early_stopping=EarlyStopping("judge", patience=2, maximize=True),
    )
    # 5 at update 4 is the best; 4 and 5 again are not better, so two in a row end the run at update 8.
    assert algo.grad_step == 8
    assert offlinekit.load(algo.run_dir / "policy.okt").grad_step == 8


@pytest.mark.parametrize(
    ("values", "options", "stops"),
    [
        ([1, 2, 3], {}, False),
        ([3, 2, 1], {}, True),
        ([3, 2, 1], {"maximize": False}, False),
        ([1, 1.05, 1.1], {"minimum_change": 0.2}, True),
        ([3, 2, 4], {}, False),
        ([3, 2], {"patience": 2}, False),
    ],
)
def test_when_to_stop(values, options, stops):
    stopping = EarlyStopping("m", **{"patience": 2, "maximize": True, **options})
    assert stopping.should_stop([{"m": value} for value in values]) is stops


def test_second_fit_goes_on():
    algo = fit(BC(**TINY), 4, out=None)
    assert fit(algo, 3, out=None).grad_step == 7
    assert [row["step"] for row in algo.history] == [7]


def interrupt(algo, dataset):
    """Sends Ctrl-C, but not when it is tried."""
    if algo.grad_step:
        os.kill(os.getpid(), signal.SIGINT)
    return 0.0


def test_ctrl_c_saves_and_a_resumed_run_ends_with_the_same_bits(tmp_path):
    whole = fit(BC(**TINY), 40, out=tmp_path, log_interval=20)
    broken, handler = BC(**TINY), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="interrupted after update 10: saved; go on with resume="):
        fit(
            broken,
            40,
            out=tmp_path,
            log_interval=20,
            eval_interval=10,
            evaluators={"interrupt": interrupt},
        )
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = fit(BC(**TINY), 40, resume=broken.run_dir, log_interval=20)
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, resumed.impl.state_tensors()[name]), name


def test_resume_refuses_another_algorithm_or_config(tmp_path):
    folder = fit(BC(**TINY), 4, out=tmp_path).run_dir
    with pytest.raises(ValueError, match=r"with other \['batch_size'\]"):
        fit(BC(**{**TINY, "batch_size": 16}), 8, resume=folder)
    with pytest.raises(ValueError, match="is a run of BC"):
        fit(TD3(**TINY), 8, resume=folder)
    with pytest.raises(ValueError, match="has taken 4 updates already, n_steps=4 asks for no more"):
        fit(BC(**TINY), 4, resume=folder)
    with pytest.raises(FileNotFoundError, match="holds no checkpoints"):
        fit(BC(**TINY), 8, resume=tmp_path)


def test_a_run_folder_loads_as_its_last_policy(tmp_path):
    algo = fit(BC(**TINY), 4, out=tmp_path)
    observations = small_dataset("continuous").observations[:2]
    for load in (offlinekit.load, BC.load):
        loaded = load(algo.run_dir)
        assert loaded.grad_step == 4
        np.testing.assert_array_equal(loaded.predict(observations), algo.predict(observations))
    policy = algo.run_dir / "policy.okt"
    policy.rename(tmp_path / "elsewhere.okt")
    with pytest.warns(UserWarning, match=r"is not finished; its checkpoint step_000000004.okt is read"):
        assert offlinekit.load(algo.run_dir).grad_step == 4
    policy.symlink_to(tmp_path / "elsewhere.okt")
    with pytest.raises(FileFormatError, match="is a link out of its folder"):
        offlinekit.load(algo.run_dir)
    with pytest.raises(FileNotFoundError, match="holds no checkpoints"):
        offlinekit.load(tmp_path)


def test_resume_takes_the_seed_of_the_run(tmp_path):
    options = {k: v for k, v in TINY.items() if k != "seed"}
    first = fit(BC(**options), 4, out=tmp_path)
    assert fit(BC(**options), 6, resume=first.run_dir).seed == first.seed


class NoLongerFinite(DoubleDQNImpl):
    def compute_critic_loss(self, batch, q_tpn):
        return super().compute_critic_loss(batch, q_tpn) * (float("nan") if self.grad_step > 5 else 1.0)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    algo = DoubleDQN(**TINY, impl_class=NoLongerFinite)
    with pytest.raises(TrainingError, match=r"critic_loss is no longer finite.*last checkpoint is in"):
        fit(algo, 300, out=tmp_path, checkpoint_interval=5)
    kept = run_folder.latest_checkpoint(algo.run_dir)
    loaded = offlinekit.load(kept)
    assert loaded.grad_step == 5
    assert all(bool(value.isfinite().all()) for value in loaded.impl.state_dict().values())
    assert not (algo.run_dir / "policy.okt").exists()


def test_fitter_is_the_same_run(tmp_path):
    algo = BC(**TINY)
    rows = list(algo.fitter(small_dataset("continuous"), 5, log_interval=2, out=tmp_path, progress=False))
    assert [step for step, _ in rows] == [2, 4, 5]
    assert "actor_loss" in rows[0][1]
    assert (algo.run_dir / "policy.okt").exists()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_steps": 0}, ValueError, r"n_steps must be in \[1, inf\), got 0"),
        ({"n_steps": 1.5}, TypeError, r"n_steps must be an integer in \[1, inf\), got 1.5"),
        ({"n_steps": 1, "eval_interval": -1}, ValueError, r"eval_interval must be in \[1, inf\), got -1"),
        ({"n_steps": 1, "log_interval": True}, TypeError, "log_interval must be an integer"),
        ({"n_steps": 1, "tensorboard": True}, ValueError, "tensorboard=True writes into the run folder"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        BC(**TINY).fit(small_dataset("continuous"), out=None, **settings)


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    algo = fit(BC(**TINY), 4, out=tmp_path, tensorboard=True)
    assert list((algo.run_dir / "tensorboard").glob("events.out.tfevents.*"))


def test_engine_counts_and_stops():
    class Counter:
        grad_step = 0
        objectives = ()

        def update(self, batch):
            self.grad_step += 1
            return {"loss": torch.tensor(float(self.grad_step))}

        def train(self, mode=True):
            self.training = mode

    impl = Counter()
    engine = Engine(impl, type("Sampler", (), {"sample": lambda self: None})(), "eager")
    assert engine.run(10, lambda: impl.grad_step >= 4) == 4
    assert engine.take_means() == {"loss": 2.5}
    assert engine.take_means() == {}
    assert impl.training is False


def test_metrics_csv_gains_columns(tmp_path):
    from offlinekit.training.loggers import CSVLogger

    logger = CSVLogger(tmp_path / "metrics.csv", [])
    logger.log({"step": 1, "time": 0.5, "b": 1.0})
    logger.log({"step": 2, "time": 1.0, "a": 2.0, "b": 3.0})
    logger.log({"step": 3, "time": 1.5, "b": 4.0})
    text = (tmp_path / "metrics.csv").read_text().splitlines()
    assert text == ["step,time,a,b", "1,0.5,,1.0", "2,1.0,2.0,3.0", "3,1.5,,4.0"]


def test_a_run_that_ends_before_a_warm_up_says_so():
    algo = PLAS(warmup_steps=50, vae_encoder={"type": "mlp", "hidden_sizes": [8]}, **TINY)
    with pytest.warns(UserWarning, match=r"ends at update 20 and does not learn all: .*from update 51 on"):
        fit(algo, 20, out=None)
    fit(algo, 40, out=None)


def test_work_is_saved_before_an_evaluator_fails_and_the_evaluation_is_made_up_for(tmp_path):
    """The run goes on from the update of the evaluation, with the bits and rows of one that was not cut off."""
    settings = {"out": tmp_path, "eval_interval": 10, "log_interval": 4}
    whole = fit(BC(**TINY), 20, evaluators={"mine": lambda algo, _: algo.grad_step}, **settings)

    def fails(algo, dataset):
        if algo.grad_step:
            raise RuntimeError("the user's own mistake")
        return 0.0

    broken = BC(**TINY)
    with pytest.raises(RuntimeError, match="own mistake"):
        fit(broken, 20, evaluators={"mine": fails}, **settings)
    assert [path.stem for path in run_folder.checkpoints(broken.run_dir)] == ["step_000000010"]
    given = {**settings, "evaluators": {"mine": lambda algo, _: algo.grad_step}}
    resumed = fit(BC(**TINY), 20, resume=broken.run_dir, **given)
    plain = [
        [{k: v for k, v in row.items() if k != "time"} for row in algo.history] for algo in (whole, resumed)
    ]
    assert plain[0] == plain[1]
    assert [row["step"] for row in resumed.history if "mine" in row] == [10, 20]
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, resumed.impl.state_tensors()[name]), name


@pytest.mark.parametrize("name", ["step", "time", "updates", "eval", "online", "actor_loss"])
def test_names_of_columns_are_no_names_of_evaluators(name):
    with pytest.raises(ValueError, match=f"an evaluator cannot be named '{name}'"):
        fit(BC(**TINY), 4, out=None, evaluators={name: lambda *_: 0.0})


@pytest.mark.parametrize("wrong", [[len], len, {"mine": 3}])
def test_evaluators_are_functions_by_name(wrong):
    with pytest.raises(TypeError, match=r"evaluators must be a list of names.* or a dict .* got "):
        fit(BC(**TINY), 1, out=None, evaluators=wrong)


def test_evaluators_are_tried_before_the_first_update_and_the_run_folder(tmp_path):
    algo = BC(**TINY)
    with pytest.raises(ZeroDivisionError):
        fit(algo, 4, out=tmp_path, evaluators={"mine": lambda *_: 1 / 0})
    assert algo.grad_step == 0
    assert list(tmp_path.iterdir()) == []


def test_a_return_that_is_no_number_is_never_the_best(tmp_path):
    scores = iter([float("nan"), 2.0, 1.0, 3.0, float("inf")])
    algo = fit(
        BC(**TINY),
        10,
        out=tmp_path,
        eval_interval=2,
        evaluators={"eval/return_mean": lambda algo, _: next(scores) if algo.grad_step else 0.0},
    )
    assert offlinekit.load(algo.run_dir / "best.okt").grad_step == 8  # Of 3.0, the fourth.
