"""Datasets joined, thinned out, converted and relabelled."""

from offlinekit.moved import forward

OLD = ("best_episodes", "first_rows", "merge", "subsample")
__getattr__ = forward(__name__, f"{__name__}.thinning", OLD)
