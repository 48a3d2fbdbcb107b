"""offlinekit: offline reinforcement learning, from a fixed dataset to an evaluated policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from offlinekit.version import __version__

if TYPE_CHECKING:
    from offlinekit import algos, datasets, envs, metrics, nn, sampling, sweeps, testing, training
    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl

__all__ = [
    "__version__",
    "algos",
    "datasets",
    "envs",
    "from_d3rlpy",
    "load",
    "metrics",
    "nn",
    "sampling",
    "sweeps",
    "testing",
    "training",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Imports a module of this package when it is used first, such as `offlinekit.algos`."""
        import importlib

        if name in __all__:
            return importlib.import_module(f"{__name__}.{name}")
        from offlinekit.ground.hints import no_attribute

        return no_attribute(__name__, __all__, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def load(
    path: str | Path,
    *,
    device: str = "auto",
    impl_class: type[Impl] | None = None,
    max_bytes: int | None = None,
    **given: Any,
) -> Algo:
    """Reads a policy file and returns the algorithm it holds, of the right class.

    Args:
        path: Of a file that `algo.save` wrote, or of a run folder, whose last policy is read; or a name such as
            "zoo:cartpole-mixed/discrete_cql" of a policy that comes with the package.
        device: Where the networks go.
        impl_class: The implementation it was trained with, if this process has not defined it.
        max_bytes: That its networks may take; None goes by the file's tensors, see docs/reliability.md.
        given: Hyperparameters that files cannot hold: `encoder` and `critic_encoder` factories.

    Raises:
        FileNotFoundError: If there is no file, or no policy of that name.
        FileFormatError: For a file that is none of ours, is damaged, or needs a class not known here.
    """
    import offlinekit.algos

    return offlinekit.algos.Algo.load(
        path, device=device, impl_class=impl_class, max_bytes=max_bytes, **given
    )


def from_d3rlpy(
    path: str | Path,
    *,
    params: str | Path | None = None,
    device: str = "auto",
    max_bytes: int | None = None,
) -> Algo:
    """Reads a policy that d3rlpy 2 wrote, as the algorithm of the same name; nothing in the file is run.

    Networks, their targets and scalers are taken over, and hyperparameters of the same meaning; the states of
    optimizers are not. docs/from_d3rlpy.md lists the algorithms.

    Args:
        path: Of a file of its `algo.save("policy.d3")`, or of `algo.save_model("model.pt")`, as its runs write them.
        params: The `params.json` of a run, for a file of `save_model`; None takes the one beside it.
        device: Where the networks go.
        max_bytes: That contents and networks may take; None goes by the file, see docs/reliability.md.

    Raises:
        FileNotFoundError: If there is no file, or no `params.json`.
        FileFormatError: For a file that is damaged, or holds anything but tensors and their names.
        UnsupportedError: For an algorithm, an encoder or a scaler that is not there.
    """
    from offlinekit.algos import catalogue
    from offlinekit.core.d3rlpy.d3rlpy_files import load_d3rlpy
    from offlinekit.load_budget import budgeted

    with budgeted(max_bytes):
        given = None if params is None else Path(params)
        return load_d3rlpy(Path(path), catalogue(), given, device, max_bytes)
