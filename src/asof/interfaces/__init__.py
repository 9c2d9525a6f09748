"""What a backend must do: a few whole-batch methods per role, and a frozen record of what it can."""

from asof.interfaces.deadletters import DeadLetter, DeadLetterStore, Replaying, SourceDeadLetters
from asof.interfaces.executor import Executor, Partitions
from asof.interfaces.expressions import ExpressionEngine
from asof.interfaces.files import FileItem, Files, OfflinePlace
from asof.interfaces.folders import FolderList, FolderShelf
from asof.interfaces.inputs import FileInput, InputRecorder, SourceInput
from asof.interfaces.log import LogHead, OfflineLog, SourceLog
from asof.interfaces.online import (
    Generation,
    GenerationWriter,
    OnlineStore,
    Progress,
    SnapshotStore,
    Update,
    ViewKey,
    ViewRead,
)
from asof.interfaces.registry import Change, Registry, RegistryContent, RegistrySnapshot, Revision, Run
from asof.interfaces.scanner import ColumnRequest, Rejected, Scan, Scanner, ScanRequest
from asof.interfaces.stream import Decoded, Decoder, Messages, Positions, StreamBackend, StreamConsumer
from asof.interfaces.tables import TableWriter
from asof.interfaces.transformer import BatchInputs, Transformer

__all__ = [
    "BatchInputs",
    "Change",
    "ColumnRequest",
    "DeadLetter",
    "DeadLetterStore",
    "Decoded",
    "Decoder",
    "Executor",
    "ExpressionEngine",
    "FileInput",
    "FileItem",
    "Files",
    "FolderList",
    "FolderShelf",
    "Generation",
    "GenerationWriter",
    "InputRecorder",
    "LogHead",
    "Messages",
    "OfflineLog",
    "OfflinePlace",
    "OnlineStore",
    "Partitions",
    "Positions",
    "Progress",
    "Registry",
    "RegistryContent",
    "RegistrySnapshot",
    "Rejected",
    "Replaying",
    "Revision",
    "Run",
    "Scan",
    "ScanRequest",
    "Scanner",
    "SnapshotStore",
    "SourceDeadLetters",
    "SourceInput",
    "SourceLog",
    "StreamBackend",
    "StreamConsumer",
    "TableWriter",
    "Transformer",
    "Update",
    "ViewKey",
    "ViewRead",
]
