"""What a model is worth on labelled rows: metrics with intervals, paired comparisons, cost, plots.

Works with NumPy alone, the plots apart, which import matplotlib when one is drawn.
"""

from trimtab.evaluation.cost import Latency, measure_latency, peak_memory_megabytes
from trimtab.evaluation.evaluate import Evaluation, evaluate
from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.metrics import accuracy, confusion_matrix, f1, log_loss, precision, recall, roc_auc
from trimtab.evaluation.paired import Comparison, compare_accuracy, upper_bound_of_drop
from trimtab.evaluation.plots import plot_confusion, plot_learning_curves, plot_roc

__all__ = [
    "Comparison",
    "Estimate",
    "Evaluation",
    "Latency",
    "accuracy",
    "compare_accuracy",
    "confusion_matrix",
    "evaluate",
    "f1",
    "log_loss",
    "measure_latency",
    "peak_memory_megabytes",
    "plot_confusion",
    "plot_learning_curves",
    "plot_roc",
    "precision",
    "recall",
    "roc_auc",
    "upper_bound_of_drop",
]
