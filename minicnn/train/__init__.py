"""Training: the Trainer, what it measures, and the file from which it goes on."""

from .metrics import ClassReport, accuracy, class_report, confusion_matrix, format_report
from .trainer import Trainer

__all__ = ["ClassReport", "Trainer", "accuracy", "class_report", "confusion_matrix", "format_report"]
