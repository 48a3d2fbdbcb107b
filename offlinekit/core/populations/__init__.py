"""Populations: algorithms of one architecture trained as one stacked program."""

from offlinekit.core.populations.population import Population

__all__ = ["Population"]
