"""What an evaluation looks like: each function draws one picture and writes it as an SVG file.

matplotlib is imported when the first one is drawn. The page that shows them is made in `trimtab.report`.
"""

from trimtab.evaluation.plots.classes import plot_classes
from trimtab.evaluation.plots.confusion import plot_confusion
from trimtab.evaluation.plots.drawing import ACCENT, GRID, INK, MUTED, PAPER
from trimtab.evaluation.plots.folds import plot_fold_curves
from trimtab.evaluation.plots.learning import plot_learning_curves, plot_range_test
from trimtab.evaluation.plots.ranking import plot_precision_recall, plot_roc
from trimtab.evaluation.plots.reliability import plot_reliability
from trimtab.evaluation.plots.scores import plot_scores
from trimtab.evaluation.plots.together import plot_evaluation

__all__ = [
    "ACCENT",
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "plot_classes",
    "plot_confusion",
    "plot_evaluation",
    "plot_fold_curves",
    "plot_learning_curves",
    "plot_precision_recall",
    "plot_range_test",
    "plot_reliability",
    "plot_roc",
    "plot_scores",
]
