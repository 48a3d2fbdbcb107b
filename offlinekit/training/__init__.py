"""The run: updates, run folder, checkpoints and loggers."""

from offlinekit.training.early_stopping import EarlyStopping
from offlinekit.training.setup.settings import RunSettings

__all__ = ["EarlyStopping", "RunSettings"]
