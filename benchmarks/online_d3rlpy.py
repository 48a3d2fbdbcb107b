"""d3rlpy 2.8.1 as a process of `online.py`; it runs in an environment of its own."""

from __future__ import annotations

import d3rlpy
import torch
from d3rlpy import algos
from online_worker import BEGIN, Clock, serve

CONFIGS = {"sac": algos.SACConfig, "td3": algos.TD3Config, "dqn": algos.DQNConfig}


def go(name: str, env: Clock, n_steps: int, learns: bool) -> None:
    """Goes online from nothing, without its logger and progress bar."""
    algo = CONFIGS[name](batch_size=256).create(device="cpu:0")
    algo.fit_online(
        env,
        n_steps=n_steps,
        n_steps_per_epoch=10**9,
        update_start_step=BEGIN if learns else n_steps,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
    )


if __name__ == "__main__":
    serve(go, torch.set_num_threads)
