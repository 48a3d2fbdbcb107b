"""Processor time that a member of a population takes for an environment step online, beside one that trains alone.

    python benchmarks/online_members.py                                  # 8 members of 2 x 64 units, batch 64
    python benchmarks/online_members.py --width 256 --batch 256 --members 4 --steps 60

SAC from nothing with an update in each step, on one thread, in the environment of `online.py`. The cost of acting is
that of a run without updates.
"""

from __future__ import annotations

import click
import torch
from online_worker import BEGIN, WARM, Clock

from offlinekit.algos import SAC, MLPEncoder, Population


@click.command()
@click.option("--width", default=64, show_default=True, help="Units of the two hidden layers.")
@click.option("--batch", default=64, show_default=True, help="Rows of a batch.")
@click.option("--members", default=8, show_default=True, help="Of the population.")
@click.option("--steps", default=300, show_default=True, help="Measured ones of each member.")
def main(width: int, batch: int, members: int, steps: int) -> None:
    """Prints microseconds a step of one member, alone and in the population, and the ratio."""
    torch.set_num_threads(1)
    for learns in (True, False):
        alone, together = (seconds(width, batch, n, steps, learns) for n in (1, members))
        what = "acting and learning" if learns else "acting"
        click.echo(
            f"{what:<20} alone {1e6 * alone:>6.0f}  member of {members} {1e6 * together:>6.0f}  "
            f"{alone / together:.2f} times"
        )


def seconds(width: int, batch: int, members: int, steps: int, learns: bool) -> float:
    """Returns the processor time of a member's step."""
    envs: list[Clock] = []

    def make() -> Clock:
        envs.append(Clock("sac", steps))
        return envs[-1]

    encoder = MLPEncoder((width, width))
    population = Population(
        [SAC(seed=seed, device="cpu", batch_size=batch, encoder=encoder) for seed in range(members)]
    )
    population.fit_online(
        make,
        WARM + steps,
        warmup_steps=BEGIN if learns else WARM + steps,
        eval_env=lambda: Clock("sac", 10**9, episode=1),
        eval_episodes=1,
        eval_interval=10**9,
        log_interval=10**9,
        out=None,
        progress=False,
    )
    began, ended = min(env.began for env in envs), max(env.began + env.seconds for env in envs)
    return (ended - began) / steps / members


if __name__ == "__main__":
    main()
