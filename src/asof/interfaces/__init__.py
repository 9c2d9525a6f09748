"""What a backend must do: a few whole-batch methods per role, and a frozen record of what it can."""

from asof.interfaces.executor import Executor, Partitions
from asof.interfaces.expressions import ExpressionEngine
from asof.interfaces.online import Generation, GenerationWriter, OnlineStore, ViewKey, ViewRead
from asof.interfaces.registry import Change, Registry, RegistrySnapshot, Revision
from asof.interfaces.scanner import ColumnRequest, Rejected, Scan, Scanner, ScanRequest
from asof.interfaces.tables import TableWriter

__all__ = [
    "Change",
    "ColumnRequest",
    "Executor",
    "ExpressionEngine",
    "Generation",
    "GenerationWriter",
    "OnlineStore",
    "Partitions",
    "Registry",
    "RegistrySnapshot",
    "Rejected",
    "Revision",
    "Scan",
    "ScanRequest",
    "Scanner",
    "TableWriter",
    "ViewKey",
    "ViewRead",
]
