"""What a backend must do: a few whole-batch methods per role, and a frozen record of what it can."""

from asof.interfaces.online import Generation, GenerationWriter, OnlineStore, ViewKey, ViewRead
from asof.interfaces.registry import Change, Registry, RegistrySnapshot, Revision
from asof.interfaces.scanner import ColumnRequest, Rejected, Scan, Scanner, ScanRequest

__all__ = [
    "Change",
    "ColumnRequest",
    "Generation",
    "GenerationWriter",
    "OnlineStore",
    "Registry",
    "RegistrySnapshot",
    "Rejected",
    "Revision",
    "Scan",
    "ScanRequest",
    "Scanner",
    "ViewKey",
    "ViewRead",
]
