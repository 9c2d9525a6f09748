"""What a backend must do: a few whole-batch methods per role, and a frozen record of what it can."""

from asof.interfaces.executor import Executor, Partitions
from asof.interfaces.folders import FolderShelf
from asof.interfaces.inputs import FileInput, InputRecorder, SourceInput
from asof.interfaces.online import Generation, GenerationWriter, OnlineStore, ViewKey, ViewRead
from asof.interfaces.registry import Change, Registry, RegistrySnapshot, Revision
from asof.interfaces.scanner import ColumnRequest, Rejected, Scan, Scanner, ScanRequest
from asof.interfaces.tables import TableWriter

__all__ = [
    "Change",
    "ColumnRequest",
    "Executor",
    "FileInput",
    "FolderShelf",
    "Generation",
    "GenerationWriter",
    "InputRecorder",
    "OnlineStore",
    "Partitions",
    "Registry",
    "RegistrySnapshot",
    "Rejected",
    "Revision",
    "Scan",
    "ScanRequest",
    "Scanner",
    "SourceInput",
    "TableWriter",
    "ViewKey",
    "ViewRead",
]
