"""Populations: algorithms of one architecture trained as one stacked program."""

from offlinekit.algos.population.front import Population

__all__ = ["Population"]
