"""The run: updates, run folder, checkpoints and loggers."""

from offlinekit.training.early_stopping import EarlyStopping

__all__ = ["EarlyStopping"]
