"""What a person sees of a Dagster run in a terminal: one line when a step starts, what the stage says, one line when it
ends.

Dagster's own console prints some fifteen lines a step; they stay in the event log and the UI.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import dagster as dg

CONSOLE: dict[str, Any] = {"loggers": {"console": {"config": {}}}}
"""Run config that selects this console for a job."""

_ENDINGS = {"STEP_FAILURE": "FAILED", "RUN_FAILURE": "FAILED", "RUN_SUCCESS": "done", "RUN_CANCELED": "cancelled"}


class TerseFormatter(logging.Formatter):
    """Formats the records that :class:`TerseFilter` lets through."""

    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "dagster_event", None) or getattr(record, "dagster_meta", {}).get("dagster_event")
        meta = getattr(record, "dagster_meta", {})
        step = str(meta.get("step_key") or "")
        clock = self.formatTime(record, "%H:%M:%S")
        if event is None:
            return f"{clock}  {step:<24} {meta.get('orig_message') or record.getMessage()}"
        kind = event.event_type_value
        if kind == "STEP_START":
            return f"{clock}  {step:<24} ..."
        if kind == "STEP_FAILURE":
            error = event.step_failure_data.error
            while error and error.cause:
                error = error.cause
            return f"{clock}  {step:<24} FAILED: {_told(error) if error else event.message}"
        return f"{clock}  {_ENDINGS.get(kind, kind)}: {event.message}"


def _told(error: Any) -> str:
    """What an error says; of one that nobody meant for a reader (a ``KeyError``), with the last place of ours."""
    said = error.message.strip()
    places = re.findall(r'File ".*?((?:neo_assets|resources|training)/[^"]+)", line (\d+)', "\n".join(error.stack))
    return said if "neo_assets.core.errors." in said or not places else f"{said} ({places[-1][0]}:{places[-1][1]})"


EVENT_SECONDS = 600.0
"""How often progress goes into Dagster's event log; a line every five seconds would be 17,000 a day. Checkpoints always
do.
"""


def progress_of(context: dg.AssetExecutionContext) -> Callable[[str], None]:
    """How a step tells its progress: each line on this console, one in ten minutes in the event log."""
    step, last = context.op_execution_context.op.name, time.monotonic()

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= EVENT_SECONDS:
            last = time.monotonic()
            context.log.info(text)
        else:
            print(f"{time.strftime('%H:%M:%S')}  {step:<24} {text}", file=sys.stderr, flush=True)

    return tell


class TerseFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is None:
            return record.levelno >= logging.INFO
        return event.event_type_value in ("STEP_START", *_ENDINGS)


def _logger(context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("neofoundry", level=logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TerseFormatter())
    handler.addFilter(TerseFilter())
    logger.addHandler(handler)
    return logger


terse_console = dg.LoggerDefinition(
    _logger, description="One line where a step starts and ends, and what it says in between."
)
