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
from d3rlpy import algos, preprocessing
from d3rlpy.models import QRQFunctionFactory, VectorEncoderFactory

HERE = Path(__file__).parent
KINDS = {
    "IQL": {},
    "SAC": {"reward_scaler": preprocessing.MinMaxRewardScaler(multiplier=2.0)},
    "TD3PlusBC": {"observation_scaler": preprocessing.MinMaxObservationScaler()},
    "DiscreteCQL": {"q_func_factory": QRQFunctionFactory(n_quantiles=5)},
}
LAYERS = VectorEncoderFactory(hidden_units=[4, 3], activation="swish", use_layer_norm=True)


def main():
    rng = np.random.default_rng(0)
    ends = (np.arange(40) % 10 == 9).astype(np.float32)
    observations, rewards = (
        rng.normal(size=(40, 2)).astype(np.float32),
        rng.normal(size=40).astype(np.float32),
    )
    actions = {
        "continuous": rng.uniform(-2, 1, (40, 1)).astype(np.float32),
        "discrete": rng.integers(0, 3, (40, 1)),
    }
    expected = {"observations": observations[:6].tolist()}
    for name, options in KINDS.items():
        kind = "discrete" if name.startswith("Discrete") else "continuous"
        config = getattr(algos, f"{name}Config")
        given = {f.name: LAYERS for f in dataclasses.fields(config) if f.name.endswith("encoder_factory")}
        given |= {"observation_scaler": preprocessing.StandardObservationScaler(), **options}
        if kind == "continuous":
            given["action_scaler"] = preprocessing.MinMaxActionScaler()
        algo = config(batch_size=4, **given).create()
        data = d3rlpy.dataset.MDPDataset(observations, actions[kind], rewards, ends)
        quiet = {"show_progress": False, "logger_adapter": d3rlpy.logging.NoopAdapterFactory()}
        algo.fit(data, n_steps=2, n_steps_per_epoch=2, save_interval=9, **quiet)
        acted = algo.predict(observations[:6])
        values = algo.predict_value(observations[:6], acted)
        expected[name] = {"actions": acted.tolist(), "values": values.tolist()}
        with tempfile.TemporaryDirectory() as folder:
            algo.save(f"{folder}/policy.d3")
            (HERE / f"{name}.d3.gz").write_bytes(
                gzip.compress(Path(folder, "policy.d3").read_bytes(), mtime=0)
            )
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1))


if __name__ == "__main__":
    main()
