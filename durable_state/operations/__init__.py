"""The verbs that people and programs ask for, and what a stream's state is.

Knows no command line, no HTTP and no admin.
"""

from .account import Account
from .adding import add, adopt, edit
from .case import Shown
from .doorbells import ring_for
from .health import Health, assess_health, was_healthy_lately
from .intents import record, record_again
from .letters import discard, discard_all, retry, retry_all
from .lookup import databases_with_streams, find_stream
from .probing import Finding, probe
from .publishing import publish
from .removal import owned_rows, remove
from .report import StreamReport
from .standing import Standing, Unapplied, standings, unapplied
from .status import needs_reset, report, reports
from .verbs import cancel_reset, pause, reset, resume, wait_until_stopped
from .verifications import (
    ask_to_verify,
    carry_out,
    is_verification_asked,
    take_verification,
    verify_here,
    verifying_on_request,
)
from .verify import Verification, verify

__all__ = [
    "Account",
    "Finding",
    "Health",
    "Shown",
    "Standing",
    "StreamReport",
    "Unapplied",
    "Verification",
    "add",
    "adopt",
    "ask_to_verify",
    "assess_health",
    "cancel_reset",
    "carry_out",
    "databases_with_streams",
    "discard",
    "discard_all",
    "edit",
    "find_stream",
    "is_verification_asked",
    "needs_reset",
    "owned_rows",
    "pause",
    "probe",
    "publish",
    "record",
    "record_again",
    "remove",
    "report",
    "reports",
    "reset",
    "resume",
    "retry",
    "retry_all",
    "ring_for",
    "standings",
    "take_verification",
    "unapplied",
    "verify",
    "verify_here",
    "verifying_on_request",
    "wait_until_stopped",
    "was_healthy_lately",
]
