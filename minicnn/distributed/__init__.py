"""More than one process, on one machine or on many: ranks, and what they say to each other.

mpiexec -n 4 python train.py

communicator = mc.distributed.init()
trainer = mc.Trainer(model, optimizer, communicator=communicator)
"""

from .agreement import check_same
from .communicator import Communicator, Request
from .launching import init

__all__ = ["Communicator", "Request", "check_same", "init"]
