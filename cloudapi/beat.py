"""Beat's scheduler: the schedule is in the settings, and it remembers nothing."""

import logging
from typing import Any

from celery import beat

logger = logging.getLogger(__name__)


class Scheduler(beat.Scheduler):  # type: ignore[misc]
    """Says in one line that Redis is away; Celery's own says it in a hundred, every time."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send a task that is due; if that fails, its next turn comes soon."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except beat.SchedulingError as error:
            logger.warning("%s", error)
