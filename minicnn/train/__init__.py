"""Training: the Trainer, what it measures, and the file from which it goes on."""

from .callbacks import BestCheckpoint, Callback, CSVLog, EarlyStopping, JSONLinesLog, TensorBoardLog, only_looks
from .ensemble import Ensemble
from .learning_rate_finder import LearningRateCurve, find_learning_rate
from .metrics import ClassReport, accuracy, class_report, confusion_matrix, format_report, top_k_accuracy
from .trainer import Trainer

__all__ = [
    "BestCheckpoint",
    "CSVLog",
    "Callback",
    "ClassReport",
    "EarlyStopping",
    "Ensemble",
    "JSONLinesLog",
    "LearningRateCurve",
    "TensorBoardLog",
    "Trainer",
    "accuracy",
    "class_report",
    "confusion_matrix",
    "find_learning_rate",
    "format_report",
    "only_looks",
    "top_k_accuracy",
]
