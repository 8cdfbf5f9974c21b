"""Documents on this machine or at a remote place, to be converted: PDF, EPUB and the like. They stay where they are;
the log names each, with the digest of its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe.sources import BooksSource
from neo_assets.core.records import document_id
from neo_assets.core.store import Artifact, Outcome, Workspace
from neo_assets.crawl.catalogue import described_files
from neo_assets.crawl.files_source import files_outcome, log_name
from neo_assets.crawl.stored_pages import write_index
from neo_assets.web.fetch_log import FETCHED, LogRow, log_table, now, storable


def read_books_source(config: BooksSource, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """The files of a source of documents, by name, size and digest; nothing is copied.

    Raises:
        BadInput: a path or pattern matches no file, a remote place cannot be read, or a file is of no kind that is
            converted.
    """
    files = described_files(config, inputs)
    entries = []
    for file in files:
        if file.suffix not in config.SUFFIXES or file.packed not in ("", ".gz"):
            raise BadInput(f"{file.name}: documents are files of {', '.join(config.SUFFIXES)}, also packed as .gz")
        digest = file.digest()
        url = storable(file.name)
        entries.append(
            LogRow(
                url=url,
                address=url,
                final_url=url,
                doc_id=document_id(url, digest.encode()),
                outcome=FETCHED if file.size else "empty",
                reason="" if file.size else "the file is empty",
                bytes=file.size,
                content_type=file.suffix,
                payload_digest=digest if file.size else "",
                fetched_at=now(),
                file=file.name,
            )
        )
    out.write(log_name(0), log_table(entries))
    write_index(out, files)
    return files_outcome(config, inputs, out, files, [log_name(0)])
