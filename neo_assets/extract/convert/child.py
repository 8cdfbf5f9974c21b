"""Converts one document, in a process of its own: ``python -m neo_assets.extract.convert.child FILE SUFFIX FIRST TRUST
SKIP``.

Writes JSON lines to its output: ``{"at": page}`` before a page is touched, the page when it is done, ``{"end": true}``
at the end, or ``{"failed": reason}``. Whoever started it knows from these where it died, and begins there again. Memory
is limited by the operating system, time by whoever reads.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    path, suffix, first, settings, skip = arguments
    # What libraries print goes elsewhere: lines of the output are ours alone.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)

    def say(**told: object) -> None:
        out.write(json.dumps(told, ensure_ascii=False) + "\n")
        out.flush()

    from neo_assets.extract.convert.pages import Trust

    trust = Trust.model_validate_json(settings)
    # The recogniser needs more than anything else, and raises its own limit when it is called.
    limit = trust.max_memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, max(limit, trust.ocr_memory_mb << 20)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        if suffix == ".pdf":
            from neo_assets.extract.convert import pdf

            pages = pdf.convert(Path(path), trust, int(first), set(json.loads(skip)), lambda page: say(at=page))
        else:
            from neo_assets.extract.convert import other_kinds

            pages = other_kinds.convert(Path(path), suffix)
        for page in pages:
            say(page=page.row())
    except MemoryError:
        say(failed=f"it needs more than {trust.max_memory_mb} MB of memory", memory=True)
        return
    except Exception as error:
        # A library's own error, or one of ours, is the file's: told in one line, with the file named by who asked.
        say(failed=f"{str(error) or type(error).__name__}"[:300])
        return
    say(end=True)


if __name__ == "__main__":
    main(sys.argv[1:])
