"""Makes the files beside it with d3rlpy 2.8.1: small networks, two updates each, and what they do.

python tests/d3rlpy/make.py
"""

import dataclasses
import gzip
import json
import tempfile
from pathlib import Path

import d3rlpy
import numpy as np
import torch
from d3rlpy import algos, preprocessing
from d3rlpy.models import PixelEncoderFactory, QRQFunctionFactory, VectorEncoderFactory

HERE = Path(__file__).parent
KINDS = {
    "IQL": {},
    "SAC": {"reward_scaler": preprocessing.MinMaxRewardScaler(multiplier=2.0)},
    "TD3PlusBC": {"observation_scaler": preprocessing.MinMaxObservationScaler()},
    "DiscreteCQL": {"q_func_factory": QRQFunctionFactory(n_quantiles=5)},
    "PRDC": {"alpha": 1.5, "beta": 3.0},
    "PLAS": {},
    "PLASWithPerturbation": {"action_flexibility": 0.2},
    "BCQ": {"n_action_samples": 3},
    "BEAR": {"n_action_samples": 3},
    "CQL": {"conservative_weight": 2.0, "alpha_threshold": 3.0},
}
IMAGES = {
    "DoubleDQN": {"observation_scaler": preprocessing.PixelObservationScaler()},
    "DiscreteSAC": {"observation_scaler": preprocessing.PixelObservationScaler()},
    "DQN": {},
    "TD3": {"observation_scaler": preprocessing.PixelObservationScaler()},
}
DEFAULTS = (
    *("AWAC", "BC", "BCQ", "BEAR", "CQL", "CalQL", "DDPG", "DQN", "DiscreteBC", "DiscreteBCQ", "DiscreteCQL"),
    *(
        "DiscreteSAC",
        "DoubleDQN",
        "IQL",
        "NFQ",
        "PLAS",
        "PLASWithPerturbation",
        "PRDC",
        "ReBRAC",
        "SAC",
        "TD3",
    ),
    "TD3PlusBC",
)
PIXELS = PixelEncoderFactory(filters=[[3, 4, 2], [2, 3, 1]], feature_size=5)
LAYERS = VectorEncoderFactory(hidden_units=[4, 3], activation="swish", use_layer_norm=True)


class Drawn:
    """Keeps the normal numbers that torch draws within it."""

    def __enter__(self):
        self.numbers, self.draw = [], torch.randn
        torch.randn = self
        return self

    def __call__(self, *size, **options):
        self.numbers.append(self.draw(*size, **options))
        return self.numbers[-1]

    def __exit__(self, *error):
        torch.randn = self.draw


def main():
    rng = np.random.default_rng(0)
    d3rlpy.seed(0)
    ends = (np.arange(40) % 10 == 9).astype(np.float32)
    observations, rewards = (
        rng.normal(size=(40, 2)).astype(np.float32),
        rng.normal(size=40).astype(np.float32),
    )
    actions = {
        "continuous": rng.uniform(-2, 1, (40, 1)).astype(np.float32),
        "discrete": rng.integers(0, 3, (40, 1)),
    }
    images = rng.integers(0, 256, (40, 2, 9, 9), np.uint8)
    expected = {"observations": observations[:6].tolist(), "images": images[:2].tolist()}
    every = [(name, options, False) for name, options in KINDS.items()]
    every += [(name, options, True) for name, options in IMAGES.items()]
    for name, options, sees_images in every:
        kind = "discrete" if name.startswith("Discrete") or name.endswith("DQN") else "continuous"
        config = getattr(algos, f"{name}Config")
        layers = PIXELS if sees_images else LAYERS
        given = {f.name: layers for f in dataclasses.fields(config) if f.name.endswith("encoder_factory")}
        if not sees_images:
            given["observation_scaler"] = preprocessing.StandardObservationScaler()
        given |= options
        if kind == "continuous":
            given["action_scaler"] = preprocessing.MinMaxActionScaler()
        algo = config(batch_size=4, **given).create()
        seen, n_seen = (images, 2) if sees_images else (observations, 6)
        data = d3rlpy.dataset.MDPDataset(seen, actions[kind], rewards, ends)
        quiet = {"show_progress": False, "logger_adapter": d3rlpy.logging.NoopAdapterFactory()}
        algo.fit(data, n_steps=2, n_steps_per_epoch=2, save_interval=9, **quiet)
        with Drawn() as drawn:
            acted = algo.predict(seen[:n_seen])
        values = algo.predict_value(seen[:n_seen], acted)
        expected[name] = {"actions": acted.tolist(), "values": values.tolist()}
        if drawn.numbers:
            (numbers,) = drawn.numbers
            expected[name]["drawn"] = numbers.reshape(n_seen, 3, -1).tolist()
        with tempfile.TemporaryDirectory() as folder:
            algo.save(f"{folder}/policy.d3")
            (HERE / f"{name}.d3.gz").write_bytes(
                gzip.compress(Path(folder, "policy.d3").read_bytes(), mtime=0)
            )
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1))
    configs = [getattr(algos, f"{name}Config")() for name in DEFAULTS]
    defaults = {config.get_type(): config.serialize_to_dict() for config in configs}
    (HERE / "defaults.json").write_text(json.dumps(defaults, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
