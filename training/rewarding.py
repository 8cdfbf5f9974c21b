"""What a reward model gives answers: a job's program, one process.

Reads tables of prompts and answers, writes a reward for each. A reward is read at the last token of an answer and
nowhere else: answers of one length share a batch, so that nothing is padded, whatever the model's padding token is.
A model of ours is asked in its template; one from elsewhere by the template in its folder, one answer at a time.

    ‹out›/rewards.parquet    a row an answer: set, id, answer (the column it stands in), reward, tokens; reward is null
                             where an answer says nothing, or does not fit into the model with its prompt
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from neo_assets.core import records
from neo_assets.core.jobs import Reporter, RunningJob
from training.spelling import Spelling
from training.templates import ASSISTANT, TEMPLATE, Turn

FILE = "rewards.parquet"
REWARDS = pa.schema(
    [
        ("set", pa.string()),
        ("id", pa.string()),
        ("answer", pa.string()),
        ("reward", pa.float32()),
        ("tokens", pa.int64()),
    ]
)
MODEL = "model"
"""Name of the input that is the reward model's folder; each other input is a folder with a table of answers."""


class RewardingConfig(BaseModel):
    """What ``training.rewarding`` needs besides its folders: the file in each folder of answers, the column with a
    row's id, the columns with an answer to ``prompt``; ``dtype`` as in ``training.evaluate``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    id: str
    answers: list[str]
    batch_size: int
    threads: int
    dtype: str = "fp32"


@dataclass(frozen=True)
class Asked:
    """An answer with its prompt, as tokens; none where it says nothing."""

    name: str
    key: str
    answer: str
    ids: list[int]


class Judge:
    """A reward model and how it is asked."""

    def __init__(self, folder: Path, dtype: str) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = (
            AutoModelForSequenceClassification.from_pretrained(folder, dtype=kind, local_files_only=True)
            .to(device)
            .eval()
        )
        if self.model.config.num_labels != 1:
            raise SystemExit(
                f"{folder} is no reward model: it gives {self.model.config.num_labels} numbers an answer, not one"
            )
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        template = getattr(self.model.config, TEMPLATE, None)
        self.own = Spelling.of(self.tokenizer, template) if template else None
        if self.own is None and not self.tokenizer.chat_template:
            raise SystemExit(f"{folder} does not say how conversations are told to it: it has no chat template")
        self.model.config.pad_token_id = None  # what is read is the last token, whatever it is
        self.room = int(getattr(self.model.config, "max_position_embeddings", 1 << 30))

    def encode(self, turns: Sequence[Turn]) -> list[int]:
        if self.own is not None:
            return self.own.conversation(turns).ids
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        made = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)
        return list(made["input_ids"])

    def rewards(self, ids: Sequence[list[int]]) -> list[float]:
        """Of texts of one length."""
        import torch

        with torch.no_grad():
            given = torch.tensor(ids, device=self.model.device)
            if self.own is None:
                return [float(self.model(input_ids=row[None]).logits[0, 0]) for row in given]
            last = self.model.model(input_ids=given, use_cache=False).last_hidden_state[:, -1]
            return [float(reward) for reward in self.model.score(last)[:, 0].float().cpu()]


def read_asked(judge: Judge, config: RewardingConfig, folders: dict[str, Path]) -> Iterator[Asked]:
    for name, folder in sorted(folders.items()):
        for row in pq.read_table(folder / config.file).to_pylist():
            prompt = [Turn(turn["role"], turn["text"]) for turn in row["prompt"]]
            for column in config.answers:
                said = Turn(ASSISTANT, row[column])
                ids = judge.encode([*prompt, said]) if said.text.strip() else []
                yield Asked(name, str(row[config.id]), column, ids)


def main(job: RunningJob) -> None:
    import torch

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    config = RewardingConfig.model_validate(job.spec.config)
    torch.set_num_threads(config.threads)
    folders = {name: Path(folder) for name, folder in job.spec.inputs.items()}
    judge = Judge(folders.pop(MODEL), config.dtype)
    reporter = Reporter(job.folder.path)
    by_length: dict[int, list[Asked]] = defaultdict(list)
    rows: list[dict[str, Any]] = []

    def note(asked: Asked, reward: float | None) -> None:
        rows.append(
            {"set": asked.name, "id": asked.key, "answer": asked.answer, "reward": reward, "tokens": len(asked.ids)}
        )

    for asked in read_asked(judge, config, folders):
        if not 0 < len(asked.ids) <= judge.room:
            note(asked, None)
        else:
            by_length[len(asked.ids)].append(asked)
    for _, alike in sorted(by_length.items()):
        for begin in range(0, len(alike), config.batch_size):
            batch = alike[begin : begin + config.batch_size]
            for asked, reward in zip(batch, judge.rewards([a.ids for a in batch]), strict=True):
                note(asked, reward)
    rows.sort(key=lambda row: (row["set"], row["id"], row["answer"]))
    out = Path(job.spec.out)
    out.mkdir(parents=True, exist_ok=True)
    records.write_table(pa.Table.from_pylist(rows, schema=REWARDS), out / FILE)
    print(f"{len(rows):,} answers", flush=True)
    reporter.send("done", answers=len(rows))
