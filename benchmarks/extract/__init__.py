"""Main content, measured and learnt: ``python -m benchmarks.extract COPIES``, ``python -m benchmarks.extract.train``.

``COPIES`` holds clones of public repositories as ``owner/name`` (or ``owner+name/repo``, bare): mozilla/readability,
adbar/trafilatura, GeneralNewsExtractor/GeneralNewsExtractor and what else ``annotations.jsonl`` names, as many as are
wanted. Nothing of theirs is in this repository: an annotation says by selectors which elements of a page are its
article and which parts of them are not, and lines that no selector reaches by their digests. The documentation of the
demo is read from where ``make demo`` puts it.
"""
