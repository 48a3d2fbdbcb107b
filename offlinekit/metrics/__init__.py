"""Judging policies: evaluation in an environment, metrics on a dataset, statistics, figures and films."""

from __future__ import annotations

from offlinekit.datasets.policies import Policy, RandomPolicy, as_policy
from offlinekit.metrics.evaluation import Evaluation, evaluate, normalized_score
from offlinekit.metrics.evaluators import Evaluator, get_evaluator, known_evaluators
from offlinekit.metrics.evaluators.action_difference import action_difference
from offlinekit.metrics.evaluators.action_match import action_match
from offlinekit.metrics.evaluators.initial_value import initial_value
from offlinekit.metrics.plots import plot_learning_curves
from offlinekit.metrics.statistics import bootstrap_interval, mean, standard_error
from offlinekit.metrics.video import Recording, record_video

__all__ = [
    "Evaluation",
    "Evaluator",
    "Policy",
    "RandomPolicy",
    "Recording",
    "action_difference",
    "action_match",
    "as_policy",
    "bootstrap_interval",
    "evaluate",
    "get_evaluator",
    "initial_value",
    "known_evaluators",
    "mean",
    "normalized_score",
    "plot_learning_curves",
    "record_video",
    "standard_error",
]
