"""Callbacks: what is done beside training, after a step or an epoch; one's own are subclasses of `Callback`."""

from .best_checkpoint import BestCheckpoint
from .callback import Callback, only_looks
from .early_stopping import EarlyStopping
from .logs import CSVLog, JSONLinesLog
from .tensorboard import TensorBoardLog

__all__ = ["BestCheckpoint", "CSVLog", "Callback", "EarlyStopping", "JSONLinesLog", "TensorBoardLog", "only_looks"]
