"""More than one process, on one machine or on many: ranks, and what they say to each other."""

from .agreement import check_same
from .communicator import Communicator, Request
from .launching import init

__all__ = ["Communicator", "Request", "check_same", "init"]
