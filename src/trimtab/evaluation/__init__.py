"""What a model is worth on labelled rows: metrics with intervals, comparisons, calibration, cost, plots.

Works with NumPy alone, except that plots import matplotlib, and files of predictions PyArrow, when they are used.
"""

from trimtab.evaluation.calibration import Reliability, smooth_ece
from trimtab.evaluation.compare import compare, compare_many, holm
from trimtab.evaluation.comparison import Difference, ManyCompared, PairedEvaluation
from trimtab.evaluation.cost import Latency, measure_latency, peak_memory_megabytes
from trimtab.evaluation.crossvalidated import CrossValidated, corrected_interval, corrected_resampled_t
from trimtab.evaluation.evaluate import evaluate, evaluate_statistics
from trimtab.evaluation.evaluate_files import evaluate_files
from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.metrics import (
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    confusion_matrix,
    f1,
    matthews_corrcoef,
    precision,
    recall,
)
from trimtab.evaluation.paired import Comparison, compare_accuracy, upper_bound_of_drop
from trimtab.evaluation.result import Evaluation
from trimtab.evaluation.score_estimates import roc_auc_estimate
from trimtab.evaluation.score_metrics import average_precision, brier_score, log_loss, roc_auc, top_k_accuracy
from trimtab.evaluation.statistics import Statistics, merge
from trimtab.evaluation.temperature import apply_temperature, fit_temperature

__all__ = [
    "Comparison",
    "CrossValidated",
    "Difference",
    "Estimate",
    "Evaluation",
    "Latency",
    "ManyCompared",
    "PairedEvaluation",
    "Reliability",
    "Statistics",
    "accuracy",
    "apply_temperature",
    "average_precision",
    "balanced_accuracy",
    "brier_score",
    "cohen_kappa",
    "compare",
    "compare_accuracy",
    "compare_many",
    "confusion_matrix",
    "corrected_interval",
    "corrected_resampled_t",
    "evaluate",
    "evaluate_files",
    "evaluate_statistics",
    "f1",
    "fit_temperature",
    "holm",
    "log_loss",
    "matthews_corrcoef",
    "measure_latency",
    "merge",
    "peak_memory_megabytes",
    "precision",
    "recall",
    "roc_auc",
    "roc_auc_estimate",
    "smooth_ece",
    "top_k_accuracy",
    "upper_bound_of_drop",
]
