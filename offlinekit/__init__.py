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
        path: Of a file that `algo.save` wrote, or of a run folder, whose last policy is read.
        device: Where the networks go.
        impl_class: The implementation it was trained with, if this process has not defined it.
        max_bytes: That its networks may take; None goes by the file's tensors, see docs/reliability.md.
        given: Hyperparameters that files cannot hold: `encoder` and `critic_encoder` factories.

    Raises:
        FileNotFoundError: If there is no file.
        FileFormatError: For a file that is none of ours, is damaged, or needs a class not known here.
    """
    import offlinekit.algos

    return offlinekit.algos.Algo.load(
        path, device=device, impl_class=impl_class, max_bytes=max_bytes, **given
    )
