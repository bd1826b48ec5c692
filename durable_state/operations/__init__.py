"""The verbs that people and programs ask for, and what a stream's state is.

Knows no command line, no HTTP and no admin.
"""

from .account import Account
from .adding import add, adopt, edit
from .case import Shown
from .letters import discard, discard_all, retry, retry_all
from .lookup import databases_with_streams, find_stream
from .probing import Finding, probe
from .removal import owned_rows, remove
from .report import StreamReport
from .status import needs_reset, report, reports
from .verbs import cancel_reset, pause, reset, resume, wait_until_stopped
from .verify import Verification, verify

__all__ = [
    "Account",
    "Finding",
    "Shown",
    "StreamReport",
    "Verification",
    "add",
    "adopt",
    "cancel_reset",
    "databases_with_streams",
    "discard",
    "discard_all",
    "edit",
    "find_stream",
    "needs_reset",
    "owned_rows",
    "pause",
    "probe",
    "remove",
    "report",
    "reports",
    "reset",
    "resume",
    "retry",
    "retry_all",
    "verify",
    "wait_until_stopped",
]
