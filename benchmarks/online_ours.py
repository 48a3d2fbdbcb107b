"""offlinekit as a process of `online.py`."""

from __future__ import annotations

import sys

import torch
from online_worker import BEGIN, Clock, serve

from offlinekit.algos import MLPEncoder, get_algo


def go(name: str, env: Clock, n_steps: int, learns: bool) -> None:
    """Goes online from nothing with an ordinary run that writes nothing."""
    algo = get_algo(name)(seed=0, device="cpu", batch_size=256, encoder=MLPEncoder((256, 256)))
    algo.fit_online(
        env,
        n_steps,
        warmup_steps=BEGIN if learns else n_steps,
        eval_env=Clock(name, 10**9, episode=1),
        eval_episodes=1,
        eval_interval=10**9,
        log_interval=10**9,
        out=None,
        progress=False,
        precision=sys.argv[1],
    )


if __name__ == "__main__":
    serve(go, torch.set_num_threads)
