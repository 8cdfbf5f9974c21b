"""Identical ids in SentencePiece and Hugging Face, nothing lost, and a stream that says where every document is."""

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from neo_assets.core import records
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import load
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.core.withdrawn import FOUND, KEY
from neo_assets.corpus.mixture import SCHEMA
from neo_assets.tokenizer import stream as tokenizer_stream
from neo_assets.tokenizer.huggingface import export
from neo_assets.tokenizer.probes import PROBES
from neo_assets.tokenizer.stream import FertilityInput, StreamInput, measure_fertility, write_stream
from neo_assets.tokenizer.train import TokenizerInput, _train, load_processor, train_tokenizer
from tests.corpora import left_by_a_step
from tests.factory.site import _chinese, _english
from training.data.stream_files import order_key, stream_digest, stream_facts
from training.data.stream_index import rows_of
from training.data.tokens import MASKED, Tokens, segments_of

SMALL = {"vocab_size": 900, "sample_bytes": 500_000}


def document(i: int, text: str, lang: str) -> dict[str, object]:
    return {
        "doc_id": f"{i:032x}",
        "text": text,
        "lang": lang,
        "lang_score": 1.0,
        "script": "",
        "url": "",
        "source": "s",
        "licence": "",
        "title": "",
        "fetched_at": "",
        "cluster_id": f"{i:032x}",
    }


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Artifact]:
    generator = random.Random(1)
    rows = [document(i, "\n".join(_english(generator, 20)), "en") for i in range(20)] + [
        document(100 + i, "".join(_chinese(generator, 20)), "zh") for i in range(20)
    ]
    store = Store(tmp_path_factory.mktemp("store"))

    def work(out: Workspace) -> Outcome:
        for lang in ("en", "zh"):
            out.write(
                f"part-{lang}-00000.parquet",
                pa.Table.from_pylist([r for r in rows if r["lang"] == lang], schema=records.DOCUMENT),
            )
        return Outcome(digest="d")

    return store, store.build("train_pool", MadeFrom(config={}, code={}, libraries={}, inputs={}), work)[0]


def trained(pool: tuple[Store, Artifact], **changes: object) -> Artifact:
    settings = load("laptop").tokenizer.model_copy(update={**SMALL, **changes})
    store, artifact = pool
    config = TokenizerInput(languages=["en", "zh"], tokenizer=settings)
    made_from = MadeFrom(config={name: str(value) for name, value in changes.items()}, code={}, libraries={}, inputs={})
    return store.build("tokenizer", made_from, lambda out: train_tokenizer(config, {"train_pool": artifact}, out))[0]


def checks(artifact: Artifact) -> Mapping[str, bool]:
    return {c.name: c.passed for c in artifact.verdict}


def test_the_laptop_tokenizer_loses_nothing_and_both_forms_agree(pool: tuple[Store, Artifact]) -> None:
    made = trained(pool)
    assert checks(made) == {"same_ids": True, "lossless": True}
    sentencepiece, huggingface = load_processor(made), AutoTokenizer.from_pretrained(made.path / "hf")
    for text in PROBES.values():
        ids = huggingface.encode(text, add_special_tokens=False)
        assert ids == sentencepiece.encode(text)
        assert huggingface.decode(ids) == text
    assert huggingface.encode("a") == sentencepiece.encode("a")  # no token is put before a text
    assert huggingface.convert_tokens_to_ids("<EOD>") == 902


def test_the_released_flags_lose_something_and_the_check_says_so(pool: tuple[Store, Artifact]) -> None:
    made = trained(
        pool,
        normalization_rule_name="nmt_nfkc",
        remove_extra_whitespaces=True,
        add_dummy_prefix=True,
        must_be_lossless=False,
    )
    assert checks(made)["lossless"] is False
    assert not made.refused_by  # the recipe does not ask for it
    assert trained(pool, normalization_rule_name="nmt_nfkc", must_be_lossless=True).refused_by


def test_training_is_deterministic(pool: tuple[Store, Artifact], tmp_path: Path) -> None:
    config = TokenizerInput(languages=["en", "zh"], tokenizer=load("laptop").tokenizer.model_copy(update=SMALL))
    again = train_tokenizer(config, {"train_pool": pool[1]}, Workspace(tmp_path))
    assert again.digest == trained(pool).manifest.digest


def test_a_vocabulary_larger_than_the_text_is_explained(pool: tuple[Store, Artifact], tmp_path: Path) -> None:
    config = TokenizerInput(
        languages=["en", "zh"], tokenizer=load("laptop").tokenizer.model_copy(update={"vocab_size": 60_000})
    )
    with pytest.raises(BadInput, match=r"smaller tokenizer\.vocab_size"):
        train_tokenizer(config, {"train_pool": pool[1]}, Workspace(tmp_path))


def stream(
    pool: tuple[Store, Artifact], folder: Path, rounds: dict[str, int], withdrawn: Sequence[str] = ()
) -> tuple[Outcome, Tokenizer, Artifact]:
    settings = load("laptop").tokenizer.model_copy(update=SMALL)
    store, artifact = pool
    tokenizer = trained(pool)

    def work(out: Workspace) -> Outcome:
        for path in artifact.files(records.PART):
            ids = [i for i in records.read_table(path, columns=["doc_id"])["doc_id"].to_pylist() if i in rounds]
            told = [{"doc_id": i, "source": "s", "lang": "en", "rounds": rounds[i], "bytes": 1} for i in ids]
            out.write(f"rounds/{path.name}", pa.Table.from_pylist(told, schema=SCHEMA))
        return Outcome(digest="d")

    mixture = store.build("mixture/p", MadeFrom(config=dict(rounds), code={}, libraries={}, inputs={}), work)[0]

    def withdraw(out: Workspace) -> Outcome:
        for path in artifact.files(records.PART):
            ids = set(records.read_table(path, columns=["doc_id"])["doc_id"].to_pylist()) & set(withdrawn)
            if ids:
                out.write(f"corpus/train_pool/{path.name}", pa.table([sorted(ids)] * 2, schema=FOUND))
        return Outcome(digest="d")

    made_from = MadeFrom(config={"ids": list(withdrawn)}, code={}, libraries={}, inputs={})
    gone = {KEY: store.build(KEY, made_from, withdraw)[0]} if withdrawn else {}
    inputs = {"mixture/p": mixture, "tokenizer": tokenizer, "train_pool": artifact, **gone}
    return write_stream(StreamInput(phase="p", tokenizer=settings), inputs, Workspace(folder)), settings, tokenizer


def test_the_stream_holds_every_document_as_often_as_asked(pool: tuple[Store, Artifact], tmp_path: Path) -> None:
    rounds = {f"{3:032x}": 2, f"{101:032x}": 1, f"{5:032x}": 3}
    outcome, _, tokenizer = stream(pool, tmp_path, rounds)
    assert all(c.passed for c in outcome.checks)
    facts = stream_facts(tmp_path)
    tokens, offsets = Tokens(tmp_path, str(facts["dtype"])), np.load(tmp_path / "offsets.npy")
    index = rows_of(tmp_path, np.arange(len(offsets) - 1)).to_pylist()
    assert [row["position"] for row in index] == offsets[:-1].tolist() and len(tokens) == offsets[-1]
    assert [row["round"] for row in index] == sorted(row["round"] for row in index)
    assert stream_digest(tmp_path) == facts["digest"] == outcome.digest
    texts = {r["doc_id"]: r["text"] for r in pool[1].documents().to_pylist()}
    assert sorted(r["doc_id"] for r in index) == sorted(d for d, n in rounds.items() for _ in range(n))
    processor = load_processor(tokenizer)
    for row, begin, after in zip(index, offsets[:-1], offsets[1:], strict=True):
        piece = tokens[begin:after].tolist()
        assert piece[-1] == facts["end_of_document"] == 902
        assert processor.decode(piece[:-1]) == texts[row["doc_id"]]


def test_of_withdrawn_documents_a_stream_has_nothing_but_their_places(
    pool: tuple[Store, Artifact], tmp_path: Path
) -> None:
    rounds = {f"{3:032x}": 2, f"{101:032x}": 1, f"{5:032x}": 3, f"{9:032x}": 1}
    for name in ("whole", "less", "none"):
        (tmp_path / name).mkdir()
    whole, *_ = stream(pool, tmp_path / "whole", rounds)
    gone = [f"{5:032x}", f"{101:032x}"]
    less, *_ = stream(pool, tmp_path / "less", rounds, gone)
    facts, before = stream_facts(tmp_path / "less"), stream_facts(tmp_path / "whole")
    assert order_key(facts) == before["digest"] == order_key(before)
    assert facts["digest"] == less.digest == stream_digest(tmp_path / "less") != whole.digest
    offsets = np.load(tmp_path / "less" / "offsets.npy")
    assert offsets.tolist() == np.load(tmp_path / "whole" / "offsets.npy").tolist()
    now, then = (Tokens(tmp_path / name, str(facts["dtype"])) for name in ("less", "whole"))
    index = rows_of(tmp_path / "less", np.arange(len(offsets) - 1)).to_pylist()
    masked = [number for number, row in enumerate(index) if row["doc_id"] in gone]
    assert np.load(tmp_path / "less" / MASKED).tolist() == masked and len(masked) == 4
    for number, (begin, after) in enumerate(pairwise(offsets.tolist())):
        expected = [902] * (after - begin) if number in masked else then[begin:after].tolist()
        assert now[begin:after].tolist() == expected
    assert less.numbers["masked_documents"] == 4
    assert less.numbers["masked_tokens"] == sum(index[number]["tokens"] for number in masked)
    assert all(check.passed for check in less.checks)
    # Of what the mixture does not draw nothing has to be masked: the stream is as it was.
    same, *_ = stream(pool, tmp_path / "none", rounds, [f"{7:032x}"])
    assert same.digest == whole.digest and stream_facts(tmp_path / "none") == before


def test_a_stream_made_again_is_the_same(pool: tuple[Store, Artifact], tmp_path: Path) -> None:
    rounds = {f"{3:032x}": 2, f"{101:032x}": 1}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, *_ = stream(pool, tmp_path / "a", rounds)
    b, *_ = stream(pool, tmp_path / "b", rounds)
    assert a.digest == b.digest


def test_a_model_is_taken_over_as_it_is_and_what_does_not_fit_is_named(
    pool: tuple[Store, Artifact], tmp_path: Path
) -> None:
    made = trained(pool)
    taken = trained(pool, from_model=str(made.file("tokenizer.model").parent))
    assert taken.file("tokenizer.model").read_bytes() == made.file("tokenizer.model").read_bytes()
    assert taken.manifest.digest == made.manifest.digest and all(checks(taken).values())
    with pytest.raises(BadInput, match=r"has 900 pieces, tokenizer\.vocab_size is 800"):
        trained(pool, from_model=str(made.file("tokenizer.model")), vocab_size=800)
    (tmp_path / "other.model").write_bytes(b"no model")
    with pytest.raises(BadInput, match="not a SentencePiece model"):
        trained(pool, from_model=str(tmp_path / "other.model"))
    with pytest.raises(BadInput, match="is not there"):
        trained(pool, from_model=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("special", [["<EOD>"], ["<EOD>", "<PAD>"]])
def test_every_reader_is_told_what_it_needs(tmp_path: Path, special: list[str]) -> None:
    """What each of these lines is for, and what goes wrong without it: tests/training/test_readers.py (slow) asks
    transformers 4.57, 5 and llama.cpp's converter.
    """
    settings = load("laptop").tokenizer.model_copy(update={"vocab_size": 400, "special_tokens": special})
    made = export(_train(settings, {"en": _english(random.Random(1), 500)}), settings, tmp_path)
    assert made.pad_token == special[-1] and made.padding_side == "left" and (tmp_path / "tokenizer.model").is_file()
    batch = made(["One sentence is long.", "The other </s> and <EOD> spell tokens", "短"], padding=True)
    assert set(batch) == {"input_ids", "attention_mask"} and len({len(row) for row in batch["input_ids"]}) == 1
    assert made.eos_token_id not in batch["input_ids"][1][-5:] and made.decode(made.encode("a <EOD> b")) == "a <EOD> b"


def test_a_stream_that_was_cut_off_tokenises_no_file_twice_and_is_the_same(
    pool: tuple[Store, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = {f"{i:032x}": 1 + i % 3 for i in [*range(1, 20, 2), *range(100, 120, 3)]}
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, *_ = stream(pool, tmp_path / "whole", rounds)
    encoded: list[int] = []
    write = tokenizer_stream._write_tokens

    def counted(file: Path, documents: Any) -> str:
        encoded.append(len(documents))
        if len(encoded) == 4:
            raise KeyboardInterrupt
        return write(file, documents)

    monkeypatch.setattr(tokenizer_stream, "_write_tokens", counted)
    with pytest.raises(KeyboardInterrupt):
        stream(pool, tmp_path / "cut", rounds)
    again, *_ = stream(pool, tmp_path / "cut", rounds)
    assert again.digest == whole.digest and all(check.passed for check in again.checks)
    files = [segment.name for segment in segments_of(tmp_path / "cut") or []]
    assert files == sorted(files) and {name[:4] for name in files} == {"000-", "001-", "002-"}
    assert len(encoded) == 3 + 1 + 2  # the English file was whole: three rounds; the Chinese one, of two, begins anew
    assert list((tmp_path / "cut" / "tokens").glob("*.tmp")) == []


def test_a_mixture_of_other_documents_than_the_pools_is_refused(pool: tuple[Store, Artifact], tmp_path: Path) -> None:
    path = pool[1].files(records.PART)[0]
    mixture = tmp_path / path.name
    told = [{"doc_id": "f" * 32, "source": "s", "lang": "en", "rounds": 1, "bytes": 1}]
    records.write_table(pa.Table.from_pylist(told, schema=SCHEMA), mixture)
    model = trained(pool).file("tokenizer.model")
    with pytest.raises(BadInput, match="its documents are not all in"):
        tokenizer_stream._tokenise(model, 1, "uint16", tmp_path, tmp_path / "told", (path, mixture, []))


def test_fertility_reads_no_more_files_than_it_needs(
    pool: tuple[Store, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [document(i, "Some words of text, again. " * 3, "en") for i in range(40)]
    held = left_by_a_step(tmp_path / "store", rows, shards=8, key="train_pool")
    read: list[str] = []
    table = records.read_table

    def counted(path: Path, *more: Any, **named: Any) -> pa.Table:
        read.append(path.name)
        return table(path, *more, **named)

    monkeypatch.setattr(records, "read_table", counted)
    (tmp_path / "out").mkdir()
    inputs = {"tokenizer": trained(pool), "train_pool": held}
    read.clear()
    outcome = measure_fertility(FertilityInput(sample_documents=8), inputs, Workspace(tmp_path / "out"))
    assert read == ["part-00000.parquet", "part-00001.parquet"]  # five documents each
    (row,) = outcome.tables["by language and source"]
    assert row["documents"] == 8 and float(str(row["bytes per token"])) > 1
