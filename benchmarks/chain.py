"""From WARC files to token ids on one core, beside datatrove's blocks for the same job, on the same pages.

``python -m benchmarks.chain [PAGES]``. Each step of either is told by the CPU seconds that it takes for a megabyte of
the text that enters it: the sum is what a chain costs in which nothing is dropped. datatrove's blocks are called
directly: its reader, trafilatura without the process that it wraps around each page, fastText's language model,
Gopher's two filters, C4's, FineWeb's, MinHash signatures, and the factory's tokenizer by Hugging Face's library. Ours
do more: encodings and repairs, sites looked at before their pages, every signal of every rule, digests, clusters, and a
verdict for each document. Needs the extra ``[bench]``.
"""

from __future__ import annotations

import copy
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # one core for either

from datatrove.data import Document

from benchmarks.common import texts
from benchmarks.scale import recipe, steps_of, write_warc
from neo_assets.build import stages
from neo_assets.core import records
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.stage import Stage
from neo_assets.core.steps import amounts
from neo_assets.core.store import Artifact, Outcome, Store, Workspace
from neo_assets.extract.language import _model as language_model
from neo_assets.tokenizer.train import hf_folder

PAGES = 1000
LANGUAGES = {"en": "eng", "zh": "cmn"}
"""As datatrove spells them."""
PARTS = {
    "read and extract": ("raw_crawl", "page_text"),
    "language": ("documents",),
    "quality": ("signals", "clean_docs"),
    "near duplicates": ("near_dedup",),
    "tokens": ("token_shards",),
}
"""Steps of ours that do a part of the job; those that datatrove's chain lacks are left out."""


def ours(root: Path) -> dict[str, float]:
    """CPU seconds a megabyte of the text that enters, by part; a first turn compiles and is not counted."""
    made = recipe(root)
    seconds: dict[str, float] = {}
    entered: dict[str, float] = {}
    for turn in ("compiling", "measured"):
        store = Store(root / f"store-{turn}")
        store.root.mkdir()
        seconds, entered = defaultdict(float), defaultdict(float)
        for name in steps_of(made):
            entry = stages(made)[name]
            inputs = {n: store.head(made.name, n) for n in entry.reads}
            begin = time.process_time()
            artifact, _ = store.build(name, entry.made_from(inputs), partial(_work, entry, inputs))
            step, _, of = name.partition("/")
            seconds[step] += time.process_time() - begin
            store.set_head(made.name, name, name, artifact.fingerprint)
            entered[step] += _entering(store, made.name, step, of)
        whole = entered["signals"]
        entered |= dict.fromkeys(("raw_crawl", "page_text", "documents"), whole)
    return {part: sum(seconds[step] / entered[step] for step in steps) for part, steps in PARTS.items()}


def _work(entry: Stage[Any], inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    return entry.run(entry.config, inputs, out)


def _entering(store: Store, name: str, step: str, of: str) -> float:
    """Megabytes of text that enter a step; of those before the text is told, filled in later."""
    if step == "token_shards":
        return float(str(store.head(name, f"mixture/{of}").manifest.numbers["bytes"])) / 1e6
    if step == "signals":
        return _megabytes(store.head(name, "documents/pages"))
    if step == "clean_docs":
        return _megabytes(store.head(name, "documents/pages"), of)
    return _megabytes(store.head(name, f"exact_dedup/{of}")) if step == "near_dedup" else 1.0


def _megabytes(artifact: Artifact, lang: str | None = None) -> float:
    found = amounts(artifact.files(records.PART)).items()
    return sum(a.bytes for (told, _), a in found if lang in (None, told)) / 1e6


def theirs(root: Path, tokenizer: Path) -> dict[str, float]:
    """As :func:`ours`, of datatrove's blocks."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.readers import WarcReader
    from datatrove.utils.hashing import HashConfig
    from tokenizers import Tokenizer

    told: dict[str, float] = {}
    hashing = HashConfig(precision=64, hash_fc="sha1")  # its xxhash does not work with the one that is installed
    extractor = Trafilatura()
    begin = time.process_time()
    read = list(WarcReader(str(root / "warc")).run())
    extracted = [extractor.extract(document.text) for document in read]
    told["read and extract"] = time.process_time() - begin
    kept = [text for text in extracted if text.strip()]
    mb = sum(len(text.encode()) for text in kept) / 1e6
    model = language_model()
    model.predict("warm up")
    begin = time.process_time()
    langs = [model.predict(text.replace("\n", " "))[0][0].removeprefix("__label__") for text in kept]
    told["language"] = time.process_time() - begin
    told |= dict.fromkeys(("quality", "near duplicates"), 0.0)
    for lang, spelled in LANGUAGES.items():
        mine = [Document(text=text, id=str(i)) for i, text in enumerate(kept) if langs[i] == lang]
        filters = [
            GopherRepetitionFilter(language=spelled),
            GopherQualityFilter(language=spelled),
            C4QualityFilter(language=spelled, filter_no_terminal_punct=False),
            FineWebQualityFilter(language=spelled),
        ]
        config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=hashing)
        signer = MinhashDedupSignature(str(root / "unused"), config, language=spelled)
        for one in filters:
            one.filter(copy.copy(mine[0]))  # loads its tokenizer
        signer.get_signature(signer.get_shingles(mine[0].text))
        begin = time.process_time()
        for one in filters:
            for document in mine:
                one.filter(copy.copy(document))  # C4's rewrites the text
        told["quality"] += time.process_time() - begin
        begin = time.process_time()
        for document in mine:
            signer.get_signature(signer.get_shingles(document.text))
        told["near duplicates"] += time.process_time() - begin
    tokens = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    begin = time.process_time()
    for batch in range(0, len(kept), 1000):
        tokens.encode_batch(kept[batch : batch + 1000], add_special_tokens=False)
    told["tokens"] = time.process_time() - begin
    return {part: seconds / mb for part, seconds in told.items()}


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else PAGES
    built = load("laptop")
    tokenizer = hf_folder(Store(store_root()).head(built.name, "tokenizer"))
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "warc").mkdir()
        mb = write_warc(0, 0, n, root / "warc", {lang: texts(lang) for lang in ("en", "zh")}) / 1e6
        print(f"{n:,} pages, {mb:.1f} MB of HTML; CPU seconds for a megabyte of the text that enters, one core")
        mine, peer = ours(root), theirs(root, tokenizer)
    print(f"  {'part':<20}{'ours':>9}{'datatrove':>11}{'ratio':>8}")
    for part in PARTS:
        print(f"  {part:<20}{mine[part]:>9.3f}{peer[part]:>11.3f}{peer[part] / mine[part]:>7.1f}x")
    a, b = sum(mine.values()), sum(peer.values())
    print(f"  {'all':<20}{a:>9.3f}{b:>11.3f}{b / a:>7.1f}x   {1 / a:.2f} and {1 / b:.2f} MB of text a second")


if __name__ == "__main__":
    main()
