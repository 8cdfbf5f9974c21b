"""What models answer to prompts, and how far two of them differ: a job's program, one process.

Reads sets of conversations or pairs and asks what is said last in them again. One model answers several times, drawn at
a temperature; or two answer once each, the likeliest tokens, as `neo chat` would, and are compared: the second along
its own answers, and both on held-out text.

    ‹out›/answers.parquet   a row an answer: model, prompt and sample, with the set's own answer and how it is judged
    ‹out›/texts.parquet     of two models: a row a text and model, with its tokens and their negative log-likelihood
    ‹out›/engine.json       which library drew the answers, and its version
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_bytes, digest_json
from neo_assets.core.jobs import Reporter, RunningJob
from neo_assets.core.recipe.align import VLLM, Engine
from neo_assets.core.recipe.run import Model
from training.chat import Answer, Drawn, Talker, judged
from training.spec import Start
from training.templates import PENALTY, Turn

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

FILE, TEXTS, ENGINE = "answers.parquet", "texts.parquet", "engine.json"
TOKENIZER, TEXT = "tokenizer", "heldout"
"""Names of inputs; each other one is a set (:func:`named_set`)."""
BEFORE, AFTER = "before", "after"
TURN = pa.struct([("role", pa.string()), ("text", pa.string())])
JUDGED = ("exact", "stops", "right_language", "well_formed", "overlap")
ANSWERS = pa.schema(
    [
        ("id", pa.string()),
        ("model", pa.string()),
        ("set", pa.string()),
        ("prompt_id", pa.string()),
        ("task", pa.string()),
        ("lang", pa.string()),
        ("licence", pa.string()),
        ("prompt", pa.list_(TURN)),
        ("expected", pa.string()),
        ("sample", pa.int32()),
        ("answer", pa.string()),
        ("tokens", pa.int32()),
        *((name, pa.float32()) for name in JUDGED),
        ("kl", pa.float64()),
    ]
)
"""``expected``: the set's own answer; ``kl``: nats, summed over the answer's tokens, from the first model to the one
that wrote it; null where nothing is compared.
"""
TEXT_ROWS = pa.schema(
    [
        ("model", pa.string()),
        ("doc_id", pa.string()),
        ("lang", pa.string()),
        ("tokens", pa.int64()),
        ("nats", pa.float64()),
    ]
)


class Asking(BaseModel):
    """Which prompts are asked, and how. ``file``: in each set's folder; ``shares``: of a set's conversations, by set;
    ``items``: of each language, at most; ``temperature`` 0: once, the likeliest tokens; ``engine``: what draws them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    shares: dict[str, float]
    items: int | None = None
    samples: int = 1
    temperature: float = 0.0
    max_tokens: int
    batch_size: int
    seed: int
    engine: Engine = "transformers"


class Texts(BaseModel):
    """Which held-out text two models are compared on: documents of each language, and characters of each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    documents: int
    characters: int


class AnsweringConfig(BaseModel):
    """What ``training.answering`` needs besides its folders; ``models`` by name, in order; ``dtype`` as in
    ``training.evaluate``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, Start]
    model: Model
    vocab_rows: int
    template: str
    repetition_penalty: float
    asking: Asking
    texts: Texts | None = None
    threads: int
    dtype: str = "fp32"


def named_set(name: str) -> str:
    """Name of the input that is a set of conversations, or of pairs."""
    return f"set/{name}"


@dataclass(frozen=True)
class Prompt:
    """What is asked: all of a conversation but its last answer, and that; of a pair, the better one."""

    name: str
    key: str
    task: str
    lang: str
    licence: str
    turns: list[Turn]
    expected: str


def read_prompts(asking: Asking, folders: Mapping[str, Path]) -> list[Prompt]:
    """Prompts that are drawn, by a keyed hash of each: neither their order nor other sets move it."""
    found: list[tuple[str, Prompt]] = []
    for name, share in sorted(asking.shares.items()):
        known: set[str] = set()
        for row in pq.read_table(folders[named_set(name)] / asking.file).to_pylist():
            prompt = _prompt(name, row)
            if prompt.key in known:
                continue
            known.add(prompt.key)
            chance = digest_bytes(f"{asking.seed}/{name}/{prompt.key}".encode())
            if int(chance[:13], 16) < share * (1 << 52):
                found.append((chance, prompt))
    found.sort(key=lambda pair: pair[0])
    taken: dict[str, int] = defaultdict(int)
    out = []
    for _, prompt in found:
        taken[prompt.lang] += 1
        if asking.items is None or taken[prompt.lang] <= asking.items:
            out.append(prompt)
    return out


def _prompt(name: str, row: Mapping[str, Any]) -> Prompt:
    """Of a conversation, all but its last turn; of a pair, its prompt, which other pairs may have, too."""
    if "turns" in row:
        *turns, last = [Turn(turn["role"], turn["text"]) for turn in row["turns"]]
        return Prompt(name, row["conversation_id"], row["task"] or "", row["lang"], row["licence"], turns, last.text)
    turns = [Turn(turn["role"], turn["text"]) for turn in row["prompt"]]
    key = digest_json([[turn.role, turn.text] for turn in turns])
    return Prompt(name, key, "", row["lang"], row["licence"], turns, row["chosen"])


def load(config: AnsweringConfig, start: Start, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A checkpoint's model, which answers as its export will."""
    import torch

    from training.loaded import loaded

    model = loaded(Path(start.folder), config.model, config.vocab_rows, tokenizer, config.dtype, config.threads)
    setattr(model.config, PENALTY, config.repetition_penalty)
    # vLLM has a card for itself: it is given the weights as files.
    return model.to("cuda" if torch.cuda.is_available() and config.asking.engine != VLLM else "cpu")


@dataclass(frozen=True)
class Asker:
    """Asks a model prompts; ``scratch``: a folder for what goes to another program."""

    talker: Talker
    asking: Asking
    dtype: str
    scratch: Path

    def answers(self, ids: Sequence[Sequence[int]], keys: Sequence[str]) -> tuple[list[Answer], str]:
        """(answers to these tokens, each drawn by its key; what drew them)."""
        asking = self.asking
        if asking.engine == VLLM:
            from training.by_vllm import answers_by_vllm

            given = (asking.max_tokens, asking.temperature, self.dtype, self.scratch)
            answers, version = answers_by_vllm(self.talker, ids, keys, *given)
            return answers, f"{VLLM} {version}"
        drawn = Drawn(asking.temperature, keys) if asking.temperature else None
        answers = self.talker.answers(ids, asking.max_tokens, asking.batch_size, drawn)
        return answers, f"transformers {importlib.metadata.version('transformers')}"


def ask(asker: Asker, prompts: Sequence[Prompt]) -> tuple[list[tuple[Prompt, int, list[int], Answer]], str]:
    """([(prompt, number of the sample, the prompt's tokens, answer)], what drew them)."""
    talker, asking = asker.talker, asker.asking
    asked = [(prompt, sample) for prompt in prompts for sample in range(asking.samples)]
    ids = {prompt.key: talker.prompt(prompt.turns) for prompt in prompts}
    keys = [f"{asking.seed}/{prompt.name}/{prompt.key}/{sample}" for prompt, sample in asked]
    answers, engine = asker.answers([ids[p.key] for p, _ in asked], keys)
    return [(p, sample, ids[p.key], answer) for (p, sample), answer in zip(asked, answers, strict=True)], engine


def divergence(before: LlamaForCausalLM, after: LlamaForCausalLM, prompt: list[int], answer: list[int]) -> float:
    """Kullback and Leibler's, from ``before`` to ``after``, of each next token along an answer, summed; nats."""
    import torch

    ids = torch.tensor([[*prompt, *answer]], device=after.device)
    with torch.no_grad():
        mine, theirs = (
            torch.log_softmax(m(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].double(), dim=-1)
            for m in (after, before)
        )
        return float((mine.exp() * (mine - theirs)).sum())


def read_texts(folder: Path, texts: Texts) -> list[tuple[str, str, str]]:
    """(id, language, text), the first so many of each language by their ids, which are digests."""
    parts = sorted(path for path in folder.rglob("*.parquet") if str(path.relative_to(folder)).startswith(records.PART))
    rows = [row for part in parts for row in pq.read_table(part, columns=["doc_id", "lang", "text"]).to_pylist()]
    taken: dict[str, int] = defaultdict(int)
    out = []
    for row in sorted(rows, key=lambda row: str(row["doc_id"])):
        taken[row["lang"]] += 1
        if taken[row["lang"]] <= texts.documents:
            out.append((row["doc_id"], row["lang"], row["text"][: texts.characters]))
    return out


def likelihood(model: LlamaForCausalLM, ids: list[int]) -> float:
    """Negative log-likelihood of a text's tokens but the first, nats."""
    import torch

    given = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=given, use_cache=False).logits[0, :-1].double()
        return float(torch.nn.functional.cross_entropy(logits, given[0, 1:], reduction="sum"))


def main(job: RunningJob) -> None:
    import torch
    from transformers import AutoTokenizer

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    config = AnsweringConfig.model_validate(job.spec.config)
    torch.set_num_threads(config.threads)
    folders = {name: Path(folder) for name, folder in job.spec.inputs.items()}
    tokenizer = AutoTokenizer.from_pretrained(folders[TOKENIZER], local_files_only=True)
    models = {name: load(config, start.at(job.folder.root), tokenizer) for name, start in config.models.items()}
    prompts = read_prompts(config.asking, folders)
    texts = read_texts(folders[TEXT], config.texts) if config.texts else []
    reporter = Reporter(job.folder.path)
    rows: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    engine = ""
    for name, model in models.items():
        talker = Talker.of(model, tokenizer, config.template)
        answers, engine = ask(Asker(talker, config.asking, config.dtype, job.folder.path / VLLM / name), prompts)
        for prompt, sample, ids, answer in answers:
            compared = len(models) > 1 and name == AFTER and answer.tokens
            rows.append(
                {
                    "id": f"{name}/{prompt.name}/{prompt.key}/{sample}", "model": name, "set": prompt.name,
                    "prompt_id": prompt.key, "task": prompt.task, "lang": prompt.lang, "licence": prompt.licence,
                    "prompt": [{"role": turn.role, "text": turn.text} for turn in prompt.turns],
                    "expected": prompt.expected, "sample": sample, "answer": answer.text, "tokens": len(answer.tokens),
                    **judged(answer, prompt.expected, prompt.lang),
                    "kl": divergence(models[BEFORE], model, ids, answer.tokens) if compared else None,
                }
            )  # fmt: skip
        print(f"{name}: {len(prompts):,} prompts", flush=True)
        for key, lang, text in texts:
            tokens = talker.spelling.text(text)[: talker.room] if talker.spelling else []
            if len(tokens) > 1:
                nats = likelihood(model, tokens)
                told.append({"model": name, "doc_id": key, "lang": lang, "tokens": len(tokens) - 1, "nats": nats})
    out = Path(job.spec.out)
    out.mkdir(parents=True, exist_ok=True)
    records.write_table(pa.Table.from_pylist(rows, schema=ANSWERS), out / FILE)
    if config.texts:
        records.write_table(pa.Table.from_pylist(told, schema=TEXT_ROWS), out / TEXTS)
    records.write_text(out / ENGINE, json.dumps({"engine": engine}))
    shutil.rmtree(job.folder.path / VLLM, ignore_errors=True)
    reporter.send("done", answers=len(rows))
