"""The policy that recorded a D4RL dataset, from the weights that its file carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.formats import hdf5
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

if TYPE_CHECKING:
    import h5py

LAYERS = ("fc0", "fc1", "last_fc", "last_fc_log_std")


class TanhGaussianPolicy:
    """A Gaussian squashed by tanh, whose mean and log standard deviation two ReLU layers compute.

    Source: Haarnoja et al. 2018, arXiv:1812.05905, appendix C.

    Args:
        weights: (matrix [outputs, inputs], bias [outputs]) of each of `LAYERS`.
        seed: Of the drawn actions.
        log_std_range: Bounds of the log standard deviation before squashing.
    """

    def __init__(
        self,
        weights: dict[str, tuple[Array, Array]],
        seed: int = 0,
        log_std_range: tuple[float, float] = (-20.0, 2.0),
    ) -> None:
        self._layers = {
            name: (np.ascontiguousarray(matrix.T, np.float32), bias.astype(np.float32))
            for name, (matrix, bias) in weights.items()
        }
        self.log_std_range = log_std_range
        self.seed(seed)

    @classmethod
    def from_d4rl(cls, path: str | Path, seed: int = 0) -> TanhGaussianPolicy:
        """Reads the policy under `metadata/policy` of a D4RL file, such as hopper_medium-v2.hdf5.

        Raises:
            FileNotFoundError: If there is no file.
            FileFormatError: For a file without such a policy, or with one of another kind.
        """
        with hdf5.open_hdf5(Path(path)) as file:
            group: h5py.Group = file
            for name in ("metadata", "policy"):
                group = hdf5.member(group, name)
            weights = {name: _layer(hdf5.member(group, name)) for name in LAYERS}
        _check_shapes(weights, str(path))
        return cls(weights, seed)

    def seed(self, seed: int) -> None:
        """Seeds the random numbers."""
        self._rng = np.random.default_rng(seed)

    def __call__(self, observations: Array) -> tuple[Array, Array]:
        """Draws actions [B, A] in [-1, 1]; returns them with their log-densities [B]."""
        means, log_stds = self._moments(observations)
        noise = self._rng.standard_normal(means.shape, np.float32)
        raw = means + np.exp(log_stds) * noise
        return np.tanh(raw), _log_density(raw, means, log_stds)

    def log_prob(self, observations: Array, actions: Array) -> Array:
        """Returns the log-densities [B] of actions [B, A]; the edges are pulled in by 1e-6."""
        raw = np.arctanh(np.clip(actions.astype(np.float64), -1 + 1e-6, 1 - 1e-6))
        return _log_density(raw, *self._moments(observations))

    def _moments(self, observations: Array) -> tuple[Array, Array]:
        hidden = observations.astype(np.float32)
        for name in LAYERS[:2]:
            matrix, bias = self._layers[name]
            hidden = np.maximum(hidden @ matrix + bias, 0.0)
        means, log_stds = (hidden @ matrix + bias for matrix, bias in (self._layers[k] for k in LAYERS[2:]))
        return means, np.clip(log_stds, *self.log_std_range)


def _log_density(raw: Array, means: Array, log_stds: Array) -> Array:
    """Returns the log-density [B] of tanh(raw), raw being Gaussian; all [B, A].

    d tanh(x) / dx = 1 - tanh(x)**2, whose logarithm is 2 (log 2 - x - softplus(-2 x)).
    """
    raw, means, log_stds = (array.astype(np.float64) for array in (raw, means, log_stds))
    gaussian = -0.5 * ((raw - means) / np.exp(log_stds)) ** 2 - log_stds - 0.5 * np.log(2 * np.pi)
    log_slope = 2 * (np.log(2) - raw - np.logaddexp(0, -2 * raw))
    density: Array = (gaussian - log_slope).sum(axis=1)
    return density


def _layer(group: h5py.Group) -> tuple[Array, Array]:
    return hdf5.read_array(group, "weight"), hdf5.read_array(group, "bias")


def _check_shapes(weights: dict[str, tuple[Array, Array]], path: str) -> None:
    """Raises FileFormatError unless each layer fits the one before it."""
    width = None
    for name in LAYERS:
        matrix, bias = weights[name]
        fits = matrix.ndim == 2 and bias.shape == matrix.shape[:1]
        if not fits or (width is not None and matrix.shape[1] != width):
            raise FileFormatError(
                f"{path} has layer {name!r} of shapes {list(matrix.shape)} and {list(bias.shape)}, expected "
                f"[outputs, {'inputs' if width is None else width}] and [outputs]; is it a policy of D4RL?"
            )
        width = width if name == "last_fc" else matrix.shape[0]
