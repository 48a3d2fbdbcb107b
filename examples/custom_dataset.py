"""Bring your own data: register a dataset, then use it by name like any other.

A ward records every four hours how ill a patient is (0 well .. 10) and the dose that the staff gave
(0, 1 or 2). The reward is the improvement until the next record; leaving well ends the episode with +10.

    python examples/custom_dataset.py
"""

from __future__ import annotations

import numpy as np

from offlinekit.algos import DiscreteBC
from offlinekit.datasets import MDPDataset, get_dataset, register_dataset

PATIENTS = {"train": 200, "test": 50}
STAY = 20  # Records after which a patient is moved elsewhere: a timeout, not an end of the illness.


@register_dataset("ward-{split}")
def get_ward(split: str, *, seed: int = 0) -> tuple[MDPDataset, None]:
    """Simulated ward rounds, ward-train or ward-test; there is no environment to evaluate in."""
    generator = np.random.default_rng([seed, len(split)])
    rows: list[tuple[float, int, int, float, bool, bool]] = []
    for _ in range(PATIENTS[split]):
        illness = generator.uniform(4, 9)
        for hour in range(STAY):
            needed = int(np.clip(illness // 3, 0, 2))
            dose = needed if generator.random() < 0.8 else int(generator.integers(3))
            later = float(np.clip(illness + generator.normal(0.5 - 1.2 * (dose == needed), 0.5), 0, 10))
            well = later < 1
            rows.append((illness, hour, dose, illness - later + 10 * well, well, hour == STAY - 1))
            illness = later
            if well:
                break
    seen, hours, doses, rewards, well_again, moved = map(np.asarray, zip(*rows, strict=True))
    observations = np.stack([seen, hours / STAY], axis=1)
    return MDPDataset(observations, doses, rewards, well_again, timeouts=moved), None


def main(n_steps: int = 500) -> None:
    train, _ = get_dataset("ward-train")
    test, _ = get_dataset("ward-test", seed=1)
    print(train)
    algo = DiscreteBC(seed=0).fit(train, n_steps=n_steps, out=None, progress=False)
    agreement = np.mean(algo.predict(test.observations) == test.actions)
    print(f"doses given as the staff gave them, on patients not seen in training: {agreement:.0%}")


if __name__ == "__main__":
    main()
