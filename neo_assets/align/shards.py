"""``conversation_shards/‹stage›``: what a stage of fine-tuning reads: conversations as tokens, each whole in a window,
and what is learnt of them; and, as far as the recipe asks for it, windows of pre-training text between them.

The files are those of ``token_shards``, so that order, ledger and certificate are: ``tokens.bin``, ``offsets.npy``,
``index.parquet``. ``learnt.bin`` says which tokens are learnt. What fills a window up is a document without a name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sentencepiece import SentencePieceProcessor

from neo_assets.align.packing import packed
from neo_assets.align.sets import CONVERSATION, FILE
from neo_assets.align.windows import Piece, rounds_of, write_windows
from neo_assets.align.wording import Wording
from neo_assets.core import records
from neo_assets.core.recipe.align import Sft
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.model import Tokenizer
from neo_assets.core.records import DROPPED, EDITED, Verdict, verdict_table
from neo_assets.core.scalars import whole
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.tasks.drawing import keyed
from training.data.masked_stream import MaskedStream
from training.data.order import DataOrder, TokenStream
from training.data.stream_files import open_stream, order_key, stream_facts
from training.data.stream_index import rows_of
from training.ledger import FILLING
from training.templates import ASSISTANT, Encoded, Turn

NOT_ASCII = 0x80
"""Bytes from this one on are part of a character of several (UTF-8)."""
TOO_LONG, CUT, BYTES = "too_long", "cut_to_window", "spelled_in_bytes"
"""Rules of conversations whose first answer does not fit into a window, of which only the first turns do, and that the
tokenizer does not know the words of.
"""


class ShardsInput(Section):
    """What these stages take. ``window``: tokens, the sequence_length of the runs that read it."""

    stage: str
    settings: Sft
    template: str
    tokenizer: Tokenizer
    window: int


def write_conversations(config: ShardsInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Conversations of a stage as a token stream, each whole in one window, and windows of pre-training text.

    Learnt is what the assistant wrote and the token that ends it; of replayed text everything. A conversation that is
    longer than a window is cut after its last answer that fits; one whose first answer does not fit is dropped.

    Raises:
        BadInput: the tokenizer lacks a token of the template.
    """
    wording = Wording.of(config.template, config.tokenizer, inputs["tokenizer"])
    parts = _bytes_of_characters(wording.processor)
    verdicts: list[Verdict] = []
    conversations: list[Piece] = []
    read, answers, broken = 0, 0, 0
    for name in sorted(config.settings.rounds):
        table = records.read_table(inputs[f"instructions/{name}"].file(FILE), CONVERSATION)
        for row in table.to_pylist():
            turns = [Turn(turn["role"], turn["text"]) for turn in row["turns"]]
            key, lang = str(row["conversation_id"]), str(row["lang"])
            stage = f"conversation_shards/{config.stage}"
            rounds = rounds_of(config.settings.rounds[name], config.settings.seed, key)
            if not rounds:
                continue
            read += 1
            fitted, encoded = _fitted(turns, wording, config.window)
            if encoded is None:
                shortest = wording.encode(turns[: _first_answer(turns)])
                verdicts.append(Verdict(key, stage, DROPPED, TOO_LONG, len(shortest.ids), config.window, source=name))
                continue
            spelled = sum(token in parts for token in encoded.ids) / len(encoded.ids)
            if spelled > config.settings.max_byte_share:
                most = config.settings.max_byte_share
                verdicts.append(Verdict(key, stage, DROPPED, BYTES, spelled, most, source=name))
                continue
            cut = len(fitted) < len(turns)
            verdicts.append(
                Verdict(
                    key, stage, EDITED if cut else "kept", CUT if cut else "", source=name,
                    detail=f"{len(fitted)} of {len(turns)} turns" if cut else "",
                )
            )  # fmt: skip
            answers += sum(turn.role == ASSISTANT for turn in fitted)
            broken += not _begins_with_its_prompts(wording, fitted, encoded)
            ids, learnt = np.array(encoded.ids, np.int64), np.array(encoded.learnt, np.uint8)
            conversations += [Piece(ids, learnt, key, name, lang, number) for number in range(rounds)]
    conversations.sort(key=lambda piece: keyed(config.settings.seed, piece.doc_id, piece.round))
    windows = _windows(conversations, config.window)
    replayed = _replayed(config, inputs, len(windows))
    facts = write_windows([*windows, *replayed], config.window, wording, out)
    out.write("verdicts.parquet", verdict_table(verdicts))
    found = _Found(read, answers, broken, wording.markers[wording.template.stop], facts)
    return _outcome(config, conversations, verdicts, windows, replayed, found)


def _windows(conversations: Sequence[Piece], window: int) -> list[list[Piece]]:
    """Each round by itself, so that no window holds a conversation twice."""
    out = []
    for number in sorted({piece.round for piece in conversations}):
        mine = [piece for piece in conversations if piece.round == number]
        out += [[mine[i] for i in items] for items in packed([len(piece.ids) for piece in mine], window)]
    return out


@dataclass(frozen=True)
class _Found:
    """Conversations read, answers in those that are kept, and conversations that do not begin with their prompts; the
    token that ends an answer; ``stream.json``.
    """

    read: int
    answers: int
    broken: int
    stop: int
    facts: dict[str, object]


def _bytes_of_characters(processor: SentencePieceProcessor) -> frozenset[int]:
    """Tokens that are one byte of a character of several: what the tokenizer has no piece for. A line's end is one byte
    as well, and known.
    """
    tokens = (token for token in range(processor.vocab_size()) if processor.is_byte(token))
    return frozenset(token for token in tokens if int(processor.id_to_piece(token)[1:-1], 16) >= NOT_ASCII)


def _first_answer(turns: Sequence[Turn]) -> int:
    """Turns up to the first answer, that one included."""
    return next(i for i, turn in enumerate(turns, 1) if turn.role == ASSISTANT)


def _fitted(turns: list[Turn], wording: Wording, window: int) -> tuple[list[Turn], Encoded | None]:
    """The turns that fit into a window, an answer last, and their tokens; None where not even the first answer does."""
    while turns:
        encoded = wording.encode(turns)
        if len(encoded.ids) <= window:
            return turns, encoded
        turns = turns[:-2] if len(turns) > _first_answer(turns) else []
    return [], None


def _begins_with_its_prompts(wording: Wording, turns: list[Turn], whole_one: Encoded) -> bool:
    """Whether what is asked for an answer, when somebody chats, has the tokens that it had in training."""
    for i, turn in enumerate(turns):
        if turn.role == ASSISTANT:
            asked = wording.prompt(turns[:i])
            if whole_one.ids[: len(asked)] != asked or any(whole_one.learnt[len(asked) - 1 : len(asked)]):
                return False
    return True


def _replayed(config: ShardsInput, inputs: Mapping[str, Artifact], windows: int) -> list[list[Piece]]:
    """Windows of pre-training text, so many that they are the recipe's share of all: drawn as training draws them."""
    replay = config.settings.replay
    if replay is None:
        return []
    shards = inputs[f"token_shards/{replay.phase}"]
    stream, key = open_stream(shards.path, config.window), order_key(stream_facts(shards.path))
    order = DataOrder(stream.sequences, config.settings.seed, f"{key}/replay/{config.stage}")
    count = round(windows * replay.share / (1 - replay.share))
    sequences = [int(sequence) for sequence in order.sequences_of(np.arange(count))]
    held = np.unique([number for sequence in sequences for number in stream.documents_in(sequence)]).astype(np.int64)
    index = dict(zip(held.tolist(), rows_of(stream.folder, held).to_pylist(), strict=True))
    return [_pieces_of(stream, sequence, index) for sequence in sequences]


def _pieces_of(stream: TokenStream, sequence: int, index: Mapping[int, Mapping[str, object]]) -> list[Piece]:
    """A window's pieces; ``index``: what is said of its documents, by their numbers. Of one that was withdrawn only
    the place is left, which fills the window up.
    """
    begin, end = sequence * stream.length, (sequence + 1) * stream.length
    out = []
    for number in stream.documents_in(sequence):
        row = index[number]
        first, last = max(begin, int(stream.offsets[number])), min(end, int(stream.offsets[number + 1]))
        learnt = np.ones(last - first, np.uint8)
        learnt[0] = 0  # nothing comes before it
        doc_id = str(row["doc_id"])
        if isinstance(stream, MaskedStream) and stream.is_masked(np.array([number]))[0]:
            learnt[:], doc_id = 0, FILLING
        out.append(
            Piece(
                stream.tokens[first:last].astype(np.int64), learnt, doc_id, str(row["source"]),
                str(row["lang"]), whole(row["round"]), first - int(stream.offsets[number]),
            )
        )  # fmt: skip
    return out


def _outcome(
    config: ShardsInput,
    conversations: Sequence[Piece],
    verdicts: Sequence[Verdict],
    windows: Sequence[Sequence[Piece]],
    replayed: Sequence[Sequence[Piece]],
    found: _Found,
) -> Outcome:
    rules = Counter(v.rule for v in verdicts if v.rule)
    sets: list[Row] = [
        {
            "set": name,
            "conversations": len({p.doc_id for p in conversations if p.source == name}),
            "rounds": config.settings.rounds[name],
            "tokens": sum(len(p.ids) for p in conversations if p.source == name),
            "learnt tokens": sum(int(p.learnt.sum()) for p in conversations if p.source == name),
        }
        for name in sorted(config.settings.rounds)
    ]
    asked = sum(whole(s["tokens"]) for s in sets)
    first_round = [p for p in conversations if p.round == 0]
    ends = sum(int(((p.ids == found.stop) & (p.learnt == 1)).sum()) for p in first_round)
    dropped = rules[TOO_LONG] + rules[BYTES]
    kept = found.read - dropped
    inside = all(sum(len(p.ids) for p in pieces) <= config.window for pieces in (*windows, *replayed))
    return Outcome(
        digest=str(found.facts["digest"]),
        rows_in=found.read,
        rows_kept=kept,
        rows_dropped=dropped,
        numbers={
            "tokens": whole(found.facts["tokens"]),
            "windows": len(windows) + len(replayed),
            "replayed_windows": len(replayed),
            "learnt_tokens": int(sum(int(p.learnt.sum()) for pieces in (*windows, *replayed) for p in pieces)),
            "filling": round(1 - asked / max(1, len(windows) * config.window), 4),
            "cut_to_window": rules[CUT],
            "too_long": rules[TOO_LONG],
            "spelled_in_bytes": rules[BYTES],
            "template": config.template,
        },
        tables={"by set": sets},
        checks=[
            Check(
                name="rows_balance",
                passed=kept == len({(p.source, p.doc_id) for p in conversations}),
                detail=f"{found.read} conversations read, {kept} in the stream, {dropped} dropped",
            ),
            Check(name="not_empty", passed=bool(conversations), detail=f"{len(conversations)} conversations"),
            Check(
                name="whole_in_a_window",
                passed=inside and sum(map(len, windows)) == len(conversations),
                detail=f"{len(conversations)} conversations in {len(windows)} windows of {config.window} tokens",
            ),
            Check(
                name="answers_end",
                passed=ends == found.answers,
                detail=f"{ends} tokens that end an answer are learnt, {found.answers} answers",
            ),
            Check(
                name="prompts_begin",
                passed=not found.broken,
                detail=f"{found.broken} conversations do not begin with their prompts",
            ),
        ],
    )
