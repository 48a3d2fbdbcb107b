"""What learned dynamics reach and cost: known truths, and seconds beside the same arithmetic in plain PyTorch.

    OMP_NUM_THREADS=1 python benchmarks/learned_models.py

Appends a row to benchmarks/results/learned_models.csv as each measurement is done, and goes on from there when started
again. Seconds are those of the processor, so that other programs beside it change little. Seconds of a million rows
follow from those of some updates, at 3,903 an epoch.
"""

from __future__ import annotations

import csv
import itertools
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from offlinekit.algos import MOPO, Dynamics
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.metrics.model_diagnosis import diagnose_model
from offlinekit.nn.encoders import MLPEncoder

RESULTS = Path(__file__).parent / "results" / "learned_models.csv"
COLUMNS = ("what", "value", "unit", "seconds", "threads")
SIZE, ACTED, MEMBERS, WIDTH, BATCH = 11, 3, 7, 200, 256
EPOCH = -(-999_000 // BATCH)
"""Updates of an epoch of a million rows, 1,000 of which are held out."""


def made(n: int) -> MDPDataset:
    """Returns n rows of hopper's shape, of numbers drawn at random."""
    rng = np.random.default_rng(0)
    ends = np.arange(n) % 1_000 == 999
    return MDPDataset(
        rng.normal(size=(n, SIZE)).astype(np.float32), rng.uniform(-1, 1, (n, ACTED)), rng.normal(size=n), np.zeros(n),
        timeouts=ends,
    )  # fmt: skip


def one_step_of_pendulum() -> Iterator[tuple[str, float, str]]:
    """Yields the explained share of the change of each number on held-out episodes; 0.99 is asked for."""
    dataset, _ = get_dataset("pendulum-mixed")
    learned, held = dataset.split(0.9, seed=0)
    algo = Dynamics(termination="pendulum", batch_size=64, max_epochs=60, seed=0, device="cpu")
    algo.fit(learned, 10**9, out=None, progress=False)
    found = diagnose_model(algo, held, horizon=10)
    for name, share in zip(found.names, found.explained, strict=True):
        yield f"pendulum, one step, {name}: explained share", float(share), "1"
    yield "pendulum: calibration error", found.calibration_error, "1"
    yield "pendulum: error 10 steps ahead", float(found.growth[-1]), "deviations"


def spread_of_a_toy() -> Iterator[tuple[str, float, str]]:
    """Yields the largest relative error of a learned deviation over |x| <= 1; 10% is asked for."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (40_000, 1)).astype(np.float32)
    true = 0.3 + 0.2 * np.sin(3 * x)
    after = x + true * rng.normal(size=x.shape)
    data = MDPDataset(
        x, np.zeros_like(x), rng.normal(size=len(x)) * 0.1, np.zeros(len(x)), timeouts=np.ones(len(x)),
        next_observations=after.astype(np.float32),
    )  # fmt: skip
    encoder = MLPEncoder((64, 64), "silu", init="truncated_normal")
    algo = Dynamics(encoder=encoder, termination="never", max_epochs=25, patience=None, seed=0, device="cpu")
    algo.fit(data, 10**9, out=None, progress=False)
    grid = np.linspace(-0.95, 0.95, 39, dtype=np.float32)[:, None]
    _, stds = algo.predict_steps(grid, np.zeros_like(grid))
    errors = np.abs(stds[..., 0].mean(0) / (0.3 + 0.2 * np.sin(3 * grid[:, 0])) - 1.0)
    yield "toy: largest relative error of a deviation", float(errors.max()), "1"
    yield "toy: mean relative error of deviations", float(errors.mean()), "1"


def updates_of_dynamics() -> Iterator[tuple[str, float, str]]:
    """Yields milliseconds of an update of dynamics of hopper's shape, and seconds of an epoch of a million rows."""
    algo = Dynamics(termination="hopper", patience=None, seed=0, device="cpu")
    data = made(20_000)
    algo.fit(data, 10, out=None, progress=False)
    began, n = time.process_time(), 60
    algo.fit(data, n, out=None, progress=False)
    each = (time.process_time() - began) / n
    yield "dynamics: an update", 1e3 * each, "ms"
    yield "dynamics: an epoch of 1M rows, by 60 updates", each * EPOCH, "s"


class Plain(nn.Module):
    """The same members as tensors, without the library."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [SIZE + ACTED, *[WIDTH] * 4, 2 * (SIZE + 1)]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(MEMBERS, a, b) / (2 * a**0.5)) for a, b in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(MEMBERS, 1, b)) for b in sizes[1:])
        self.low, self.high = (nn.Parameter(torch.full((SIZE + 1,), bound)) for bound in (-10.0, 0.5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means and log variances."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = nn.functional.silu(x) if i < 4 else x
        means, raw = x.chunk(2, -1)
        raw = self.high - nn.functional.softplus(self.high - raw)
        return means, self.low + nn.functional.softplus(raw - self.low)


def updates_in_plain_pytorch() -> Iterator[tuple[str, float, str]]:
    """Yields milliseconds of the same update written by hand."""
    model = Plain()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    x, y = torch.randn(20_000, SIZE + ACTED), torch.randn(20_000, SIZE + 1)
    decays = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)

    def update() -> None:
        rows = torch.randint(20_000, (MEMBERS, BATCH))
        means, log_vars = model(x[rows])
        fits = ((means - y[rows]).square() * (-log_vars).exp() + log_vars).mean((1, 2)).sum()
        decay = sum(0.5 * d * w.square().sum() for d, w in zip(decays, model.weights, strict=True))
        loss = fits + decay + 0.01 * (model.high.sum() - model.low.sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(10):
        update()
    began = time.process_time()
    for _ in range(60):
        update()
    yield "plain PyTorch: an update", 1e3 * (time.process_time() - began) / 60, "ms"


def rollouts_and_updates() -> Iterator[tuple[str, float, str]]:
    """Yields seconds of a round of 50,000 rollouts of 5 steps, updates a second beside it, and the peak of memory."""
    data = made(100_000)
    algo = MOPO(
        dynamics={"termination": "hopper", "max_epochs": 1, "batch_size": 4_096}, seed=0, device="cpu"
    )
    algo.fit(data, 20, out=None, progress=False)
    starts = torch.from_numpy(data.observations[:50_000])
    began = time.process_time()
    steps = list(algo.impl.rollouts(starts, 5))
    yield "MOPO: a round of 50,000 rollouts of 5 steps", time.process_time() - began, "s"
    del steps
    batch = algo.sampler.recorded.sample()
    began = time.process_time()
    for _ in range(50):
        algo.impl.update(batch)
    yield "MOPO: updates a second, without rollouts, eager", 50 / (time.process_time() - began), "1/s"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield "MOPO: peak memory of the process, 100,000 rows", peak / 1024, "MB"


MEASUREMENTS: dict[str, Callable[[], Iterator[tuple[str, float, str]]]] = {
    "plain": updates_in_plain_pytorch,
    "update": updates_of_dynamics,
    "rollouts": rollouts_and_updates,
    "spread": spread_of_a_toy,
    "pendulum": one_step_of_pendulum,
}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(MEASUREMENTS)), help="Only these.")
@click.option(
    "--out", default=str(RESULTS), show_default=True, type=click.Path(path_type=Path), help="CSV file."
)
def main(only: tuple[str, ...], out: Path) -> None:
    """Measure learned dynamics."""
    for name in only or MEASUREMENTS:
        there = list(csv.DictReader(out.read_text().splitlines())) if out.exists() else []
        if any(row["what"].startswith(f"{name}: ") for row in there):
            continue
        began = time.process_time()
        found = list(MEASUREMENTS[name]())
        seconds = round(time.process_time() - began, 1)
        with out.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if not there:
                writer.writeheader()
            for what, value, unit in found:
                row = {"what": f"{name}: {what}", "value": f"{value:.5g}", "unit": unit}
                writer.writerow({**row, "seconds": seconds, "threads": torch.get_num_threads()})
                click.echo(row)


if __name__ == "__main__":
    main()
