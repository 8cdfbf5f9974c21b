"""The ledger tells one corpus: what the build holds now, not what an earlier recipe or a
half-failed run left behind.
"""

from __future__ import annotations

from pathlib import Path

from neo_assets.core import records
from neo_assets.core.records import DROPPED, Verdict
from neo_assets.core.store import InputRef, MadeFrom, Outcome, Store, Workspace
from resources.ledger import Ledger


def made(store: Store, name: str, digest: str, verdict: Verdict, reads: dict[str, str], turn: int = 0) -> None:
    def work(out: Workspace) -> Outcome:
        out.write("verdicts.parquet", records.verdict_table([verdict]))
        return Outcome(digest=digest, parts={"en": f"{digest}-en"})

    inputs = {n: InputRef(fingerprint="f", digest=d) for n, d in reads.items()}
    artifact, _ = store.build(name, MadeFrom(config={"turn": turn}, code={}, libraries={}, inputs=inputs), work)
    store.set_head("r", name, name, artifact.fingerprint)


def stages(ledger: Ledger) -> list[str]:
    return [str(row["stage"]) for row in ledger.rows("select stage from verdicts order by place, stage")]


def test_what_a_changed_input_left_behind_is_not_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {})
    made(store, "exact_dedup/en", "b", Verdict("d", "exact_dedup/en"), {"clean_docs/en": "a"})
    made(store, "matrix", "c", Verdict("d", "matrix"), {"exact_dedup/en": "b-en"})
    assert stages(Ledger(store, "r")) == ["clean_docs/en", "exact_dedup/en", "matrix"]
    made(
        store, "clean_docs/en", "other", Verdict("d", "clean_docs/en", DROPPED, "min_words"), {}, turn=1
    )  # and the run failed there
    assert stages(Ledger(store, "r")) == ["clean_docs/en"]
    assert Ledger(store, "r").fate("d")[-1]["rule"] == "min_words"


def test_an_input_made_again_with_equal_content_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {})
    made(store, "exact_dedup/en", "b", Verdict("d", "exact_dedup/en"), {"clean_docs/en": "a"})
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {}, turn=1)
    assert stages(Ledger(store, "r")) == ["clean_docs/en", "exact_dedup/en"]


def test_steps_that_the_recipe_no_longer_has_are_not_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made(store, "clean_docs/en", "a", Verdict("d", "clean_docs/en"), {})
    made(store, "exact_dedup/en", "b", Verdict("d", "exact_dedup/en"), {"clean_docs/en": "a"})
    made(
        store, "matrix", "c", Verdict("d", "matrix"), {"exact_dedup/en": "b"}
    )  # made from the step that is gone: of another corpus
    assert stages(Ledger(store, "r", lambda name: name != "exact_dedup/en")) == ["clean_docs/en"]
