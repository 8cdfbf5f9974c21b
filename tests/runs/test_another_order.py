"""A branch goes on in the middle of a data order: of the one that was begun, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.runs.job import PretrainInput, refuse_another_order
from tests.training.runs import small_run
from training.data.tokens import ORDER_KEY
from training.spec import Start


def refused(tmp_path: Path, facts: dict[str, str], seed: int | None = None) -> str:
    """What is said of a branch from a checkpoint over stream "before", to one over a stream with these facts."""
    run = small_run(phase="p")
    folder = tmp_path / "checkpoint" / "main" / "0000010-abcdef01"
    folder.mkdir(parents=True)
    (folder / "certificate.json").write_text(
        json.dumps({"stream": "before", "seed": run.seed if seed is None else seed})
    )
    (tmp_path / "stream").mkdir()
    (tmp_path / "stream" / "stream.json").write_text(json.dumps(facts))
    config = PretrainInput(name="main", run=run, tokenizer=load("ci").tokenizer)
    start = Start(folder="checkpoint/main/0000010-abcdef01", digest="d", step=10, next_sample=80, take="everything")
    inputs = {"token_shards/p": cast("Any", SimpleNamespace(path=tmp_path / "stream"))}
    try:
        refuse_another_order(config, start, inputs, Store(tmp_path))
    except BadInput as error:
        return str(error)
    return ""


def test_the_same_text_and_what_was_withdrawn_from_it_go_on(tmp_path: Path) -> None:
    assert refused(tmp_path / "a", {"digest": "before"}) == ""
    assert refused(tmp_path / "b", {"digest": "masked", ORDER_KEY: "before"}) == ""


@pytest.mark.parametrize(
    ("facts", "seed", "says"),
    [
        ({"digest": "other"}, None, "the text of token_shards/p, or its sequences, is not what it was then"),
        ({"digest": "masked", ORDER_KEY: "other"}, None, "the text of token_shards/p, or its sequences,"),
        ({"digest": "before"}, -1, "the seed is not what it was then"),
    ],
)
def test_another_order_is_refused_with_what_differs(
    tmp_path: Path, facts: dict[str, str], seed: int | None, says: str
) -> None:
    said = refused(tmp_path, facts, seed)
    assert says in said and "0000010-abcdef01" in said and "begins anew" in said
