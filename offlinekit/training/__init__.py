"""The run: updates, run folder, checkpoints and loggers."""

from functools import partial
from typing import TYPE_CHECKING

from offlinekit.ground.hints import no_attribute
from offlinekit.training.early_stopping import EarlyStopping
from offlinekit.training.setup.settings import RunSettings

__all__ = ["EarlyStopping", "RunSettings"]

if not TYPE_CHECKING:
    __getattr__ = partial(no_attribute, __name__, __all__)
