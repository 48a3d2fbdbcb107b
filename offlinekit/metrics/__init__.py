"""Judging policies: evaluation in an environment, metrics on a dataset, statistics, figures and films."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from offlinekit.directions import less_is_better, more_is_better
from offlinekit.envs.callable_policies import RandomPolicy, as_policy
from offlinekit.envs.evaluation import Evaluation, evaluate, normalized_score
from offlinekit.envs.video import Recording, record_video
from offlinekit.ground.hints import no_attribute
from offlinekit.interfaces import Evaluator, Policy
from offlinekit.metrics.evaluators import get_evaluator, known_evaluators, on_dataset, register_evaluator
from offlinekit.metrics.evaluators.action_difference import action_difference
from offlinekit.metrics.evaluators.action_match import action_match
from offlinekit.metrics.evaluators.discounted_advantage_sum import discounted_advantage_sum
from offlinekit.metrics.evaluators.initial_value import initial_value
from offlinekit.metrics.evaluators.log_likelihood import log_likelihood
from offlinekit.metrics.evaluators.out_of_distribution_distance import out_of_distribution_distance
from offlinekit.metrics.evaluators.overestimation_gap import overestimation_gap
from offlinekit.metrics.evaluators.perplexity import perplexity
from offlinekit.metrics.evaluators.soft_opc import soft_opc
from offlinekit.metrics.evaluators.td_error import td_error
from offlinekit.metrics.evaluators.token_cross_entropy import token_cross_entropy
from offlinekit.metrics.evaluators.token_value import token_value
from offlinekit.metrics.evaluators.validation_losses import validation_losses
from offlinekit.metrics.evaluators.value import value
from offlinekit.metrics.reporting.plots import plot_learning_curves
from offlinekit.metrics.statistics.aggregates import (
    average_score_profile,
    best_over_training,
    difference_of_means,
    final_score,
    iqm,
    mean_score,
    median_score,
    optimality_gap,
    probability_of_improvement,
    run_score_profile,
)
from offlinekit.metrics.statistics.budget import Budget, check_seeds_apart, reporting_seeds
from offlinekit.metrics.statistics.deployment import deployment_curve, expected_online_performance
from offlinekit.metrics.statistics.means import bootstrap_interval, mean, standard_error
from offlinekit.metrics.statistics.stratified import stratified_band, stratified_interval

__all__ = [
    "Budget",
    "Evaluation",
    "Evaluator",
    "Policy",
    "RandomPolicy",
    "Recording",
    "action_difference",
    "action_match",
    "as_policy",
    "average_score_profile",
    "best_over_training",
    "bootstrap_interval",
    "check_seeds_apart",
    "deployment_curve",
    "difference_of_means",
    "discounted_advantage_sum",
    "evaluate",
    "expected_online_performance",
    "final_score",
    "get_evaluator",
    "initial_value",
    "iqm",
    "known_evaluators",
    "less_is_better",
    "log_likelihood",
    "mean",
    "mean_score",
    "median_score",
    "more_is_better",
    "normalized_score",
    "on_dataset",
    "optimality_gap",
    "out_of_distribution_distance",
    "overestimation_gap",
    "perplexity",
    "plot_learning_curves",
    "probability_of_improvement",
    "record_video",
    "register_evaluator",
    "reporting_seeds",
    "run_score_profile",
    "soft_opc",
    "standard_error",
    "stratified_band",
    "stratified_interval",
    "td_error",
    "token_cross_entropy",
    "token_value",
    "validation_losses",
    "value",
]

if not TYPE_CHECKING:
    __getattr__ = partial(no_attribute, __name__, __all__)
