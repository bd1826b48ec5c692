"""The example's settings for the acceptance run:
small batches and short leases, so that there is much to interrupt.
"""

from __future__ import annotations

import os

from example_project.settings import *  # noqa: F403
from example_project.settings import DURABLE_STATE as EXAMPLE

DURABLE_STATE = EXAMPLE | {"BATCH_ROWS": 40, "LEASE_SECONDS": 2.0, "SLICE_SECONDS": 6.0}
CELERY_TASK_DEFAULT_QUEUE = os.environ["ACCEPTANCE_QUEUE"]
