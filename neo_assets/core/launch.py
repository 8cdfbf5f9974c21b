"""Every job starts here: ``python -m neo_assets.core.launch ‹job folder›/spec.json``, once a rank.

Before the program is imported, what would be imported and which libraries are installed are held to the job's
specification (``frozen.py``). A program is a module with a function ``main(job: RunningJob)`` that returns an exit code
or None.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import signal
import sys
from pathlib import Path

from neo_assets.core.errors import ChangedCode, NeoError
from neo_assets.core.frozen import CODE, Claimed, imported_elsewhere, running
from neo_assets.core.jobs import JobFolder, RunningJob
from neo_assets.core.place import share_with_group
from neo_assets.core.words import counted, titled

REFUSED = 78
"""Exit code of a process that found other code or libraries than it was asked with (EX_CONFIG: trying again changes
nothing).
"""


def launch(spec_file: Path) -> int:
    """Check, then run the program of a job. Returns its exit code."""
    folder = JobFolder(spec_file.resolve().parent)
    share_with_group(folder.root)
    try:
        spec = folder.spec()
        ran = running(Claimed(code=spec.code, libraries=spec.libraries), folder.path / CODE)
        if os.environ.get("RANK", "0") == "0":  # before what libraries say when they are imported
            print(
                f"{titled(spec.title)}, job {folder.fingerprint[:12]}: {counted(len(spec.code), 'module')} and"
                f" {len(spec.libraries)} libraries are those it was asked with",
                flush=True,
            )
        program = importlib.import_module(spec.program)
        if strangers := imported_elsewhere(spec.code):
            raise ChangedCode(f"not what was asked, nothing was run: {strangers[0]}")
    except ChangedCode as error:
        folder.mark_refused(int(os.environ.get("NEO_JOB_ATTEMPT", "0")), str(error))
        return _end(str(error), REFUSED)
    try:
        return int(program.main(RunningJob(spec.at(folder.root), folder, ran)) or 0)
    except NeoError as error:
        return _end(str(error), 1)
    except SystemExit as reason:
        if not isinstance(reason.code, str):
            raise
        return _end(reason.code, 1)


def _end(why: str, code: int) -> int:
    """Say why, marked as torch marks a rank's errors: its launcher prints much after it, and this line is the one that
    counts.
    """
    rank = os.environ.get("RANK")
    print(f"[rank{rank}]: {why}" if rank is not None else why, file=sys.stderr, flush=True)
    if rank is not None:
        os._exit(code)  # other ranks may never come to a collective that an orderly end would wait for
    return code


def leave(code: int) -> None:
    """End this process here and now. A rank that lets Python take torch apart instead is at times aborted in it
    ("terminate called without an active exception"): gloo's threads still want what is gone by then.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Launch, and end without taking torch apart object by object, which costs a second of every job: threads are
    waited for and what was registered for the end is done as always, this before all others registered being last.
    """
    code = 1  # what Python gives for an exception nobody caught
    atexit.register(lambda: leave(code))
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:  # as Dagster leaves it where it was started with `&`
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        code = launch(Path(sys.argv[1]))
    except SystemExit as reason:
        code = reason.code if isinstance(reason.code, int) else int(reason.code is not None)
        raise
    sys.exit(code)


if __name__ == "__main__":
    main()
