"""`neo rehearse RUN`: a run's own job on what is at hand, in minutes: what would fail on the first day of 512 GPUs
fails here.

The job is the recipe's: its program, kernels, ZeRO stage, precision, recomputation, micro-batch, accumulation,
vocabulary and learning rates. What is made smaller is told: two layers, two heads wide, one node, a few steps; without
a GPU shorter windows. Tokens are made up, so that nothing has to be built first. It is trained twice, once left alone
and once killed half way; both must end with the same bits; the last checkpoint is verified, exported and asked a
question. A rehearsal says nothing of speed, and nothing of what only hundreds of nodes do.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from neo_assets.core.errors import NeoError
from neo_assets.core.fingerprint import digest_bytes, digest_json
from neo_assets.core.frozen import claimed
from neo_assets.core.jobs import JobFolder, JobSpec
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.align import Dpo, PairStage, Reward
from neo_assets.core.recipe.run import Model, Run
from neo_assets.core.scalars import real, whole
from neo_assets.core.store import Row, Store
from neo_assets.core.trainings import PROGRAMS, Learning
from neo_assets.runs.export import PROGRAM as EXPORT
from neo_assets.runs.found_runs import FoundRun
from neo_assets.runs.made_up import write_inputs
from neo_assets.runs.plan import ids
from neo_assets.runs.proof import verify_checkpoint
from resources.compute.base import Compute
from training.spec import PretrainConfig, checkpoint_name
from training.tasks import TASKS_FILE, Task, write_tasks

FOLDER = "rehearsals"
"""Folder of the store that a rehearsal works in; the next one of the same run begins by removing it."""
EVALUATE = "training.evaluate"
STEPS, EVERY = 4, 2
LAYERS, HEADS = 2, 2
CPU_WINDOW = 512
"""Tokens of a window where there is no GPU; a window of 8,192 would take a CPU minutes a step."""


@dataclass
class Rehearsal:
    """What was tried, in order: each with whether it held, how long it took, and what there is to say."""

    rows: list[Row] = field(default_factory=list)

    def tried(self, what: str, work: Callable[[], tuple[bool, str]]) -> bool:
        began = time.monotonic()
        try:
            holds, detail = work()
        except NeoError as error:
            holds, detail = False, str(error)
        self.rows.append(
            {"what": what, "holds": holds, "seconds": round(time.monotonic() - began, 1), "detail": detail}
        )
        return holds


def narrowed(run: Run, ranks: int, gpu: bool) -> Run:
    """The run with its layout on one node of ``ranks``, two narrow layers and a few steps."""
    model = run.model
    heads, shared = min(HEADS, model.heads), model.kv_heads < model.heads
    hidden = heads * model.head_dim
    narrow = {"layers": min(LAYERS, model.layers), "heads": heads, "kv_heads": 1 if shared else heads, "hidden": hidden}
    ffn = max(64, round(model.ffn * hidden / model.hidden / 64) * 64)
    changes = {
        "model": Model.model_validate(model.model_dump() | narrow | {"ffn": ffn}),
        "nodes": 1,
        "ranks_per_node": ranks,
        "threads_per_rank": (
            run.threads_per_rank if gpu else max(1, min(run.threads_per_rank, (os.cpu_count() or 1) // ranks))
        ),
        "global_batch": run.micro_batch * ranks * run.accumulation,
        "sequence_length": run.sequence_length if gpu else min(run.sequence_length, CPU_WINDOW),
        "steps": STEPS,
        "checkpoint_every": EVERY,
        "early_checkpoints": 0,
        "parent": None,
        "from_model": None,
        "skip_samples": [],
        "trackers": [],
        "max_attempts": 2,
    }
    return Run.model_validate(run.model_dump() | changes)


def differences(run: Run, rehearsed: Run) -> list[str]:
    """What the rehearsal does differently from the run, in words."""
    before, after = run.model_dump(), rehearsed.model_dump()
    shape = [f"model.{n} {before['model'][n]:,} -> {v:,}" for n, v in after["model"].items() if before["model"][n] != v]
    told = (
        "nodes",
        "ranks_per_node",
        "threads_per_rank",
        "global_batch",
        "sequence_length",
        "steps",
        "checkpoint_every",
    )
    start = ["starts from scratch"] if run.parent or run.from_model else []
    return (
        [f"{n} {before[n]:,} -> {after[n]:,}" for n in told if before[n] != after[n]]
        + shape
        + start
        + ["made-up tokens"]
    )


def ranks_here(run: Run) -> tuple[int, bool]:
    """(ranks that this machine can start of a node's, whether they have GPUs)."""
    import torch

    gpus = torch.cuda.device_count()
    return min(run.ranks_per_node, gpus or os.cpu_count() or 1), gpus > 0


def rehearse(
    recipe: Recipe, name: str, store: Store, open_backend: Callable[[Path], Compute], ranks: int, gpu: bool
) -> tuple[list[Row], list[str]]:
    """Rehearse a run. Returns (what was tried, what differs from the run); the first thing that
    does not hold ends it.
    """
    run, rows = recipe.runs[name], recipe.runs[name].model.vocab_rows(ids(recipe.tokenizer))
    small = narrowed(run, ranks, gpu)
    root = store.root / FOLDER / f"{recipe.name}.{name}"
    shutil.rmtree(root, ignore_errors=True)
    own, compute = Store(root), open_backend(root)
    learns, stages = recipe.learns(name), recipe.align.stages() if recipe.align else {}
    settings = stages[learns][run.phase] if learns in stages else None
    given = write_inputs(root, learns, ids(recipe.tokenizer), small)
    pairs = settings if isinstance(settings, PairStage) else None
    whole, killed = (job_of(what, small, rows, given, learns, pairs) for what in ("whole", "killed"))
    told = Rehearsal()
    steps = [
        ("trains to the end", lambda: _trained(compute, whole)),
        ("killed after a checkpoint, started again, comes to its end", lambda: _killed_and_resumed(compute, killed)),
        ("the same bits as never killed", lambda: _same_bits(own, whole, killed)),
        ("every claim of its last checkpoint holds", lambda: _verified(own, killed)),
        (
            "exported: the same logits, to the last bit",
            lambda: _exported(compute, own, recipe, store, killed, small, rows, recipe.scored(name)),
        ),
        *([] if recipe.scored(name) else [("the export can be asked", lambda: _asked(compute, own, gpu))]),
    ]
    for what, work in steps:
        if not told.tried(what, work):
            break
    else:
        shutil.rmtree(root)
    return told.rows, differences(run, small)


def not_tried(run: Run, gpu: bool, scheduler: str | None) -> list[str]:
    """What a rehearsal that held says nothing of, in words."""
    kernels = [] if gpu else [f"a GPU, its kernels{'' if run.attention == 'auto' else f' ({run.attention})'} and NCCL"]
    nodes = ["more than one node"] if run.nodes > 1 else []
    backend = [f"{scheduler} itself"] if scheduler else []
    return [
        *kernels,
        *nodes,
        *backend,
        "memory at the run's own width",
        f"the schedule after step {STEPS}",
        "real tokens",
        "speed",
    ]


def job_of(
    what: str,
    run: Run,
    rows: int,
    inputs: dict[str, str],
    learns: Learning = "pretraining",
    settings: PairStage | None = None,
) -> JobSpec:
    """The job of a rehearsal: the recipe's program on what is made up; ``what`` is this job among its jobs."""
    fingerprint = digest_json(["rehearsal", what, learns, run.model_dump(mode="json"), time.time()])
    config = PretrainConfig(
        run_name=what,
        run_fingerprint=fingerprint,
        run=run,
        vocab_rows=rows,
        preference=settings.learnt if isinstance(settings, Dpo) else None,
        reward=settings.learnt if isinstance(settings, Reward) else None,
    )
    return JobSpec(
        work_fingerprint=fingerprint,
        title=f"rehearsal/{what}",
        program=PROGRAMS[learns],
        **claimed(PROGRAMS[learns]),
        ranks_per_node=run.ranks_per_node,
        threads_per_rank=run.threads_per_rank,
        max_attempts=run.max_attempts,
        config=config.model_dump(),
        inputs=inputs,
        out=f"checkpoint/{what}",
    )


# ------------------------------------------------------------------ what is tried


def _trained(compute: Compute, job: JobSpec) -> tuple[bool, str]:
    folder = compute.submit(job)
    done = [m for m in compute.follow(folder) if m.event == "progress"]
    return True, f"loss {real(done[-1].data['loss']):.3f} at step {done[-1].data['step']}"


def _killed_and_resumed(compute: Compute, job: JobSpec) -> tuple[bool, str]:
    folder = compute.submit(job)
    messages = compute.follow(folder)
    for message in messages:
        if message.event == "checkpoint" and whole(message.data["step"]) >= EVERY:
            break
    compute.kill(folder)
    for _ in messages:
        pass
    return True, f"{len(folder.attempts())} attempts"


def _checkpoint(store: Store, job: JobSpec, step: int) -> Path:
    return store.resolve(job.out) / checkpoint_name(step, job.work_fingerprint)


def _same_bits(store: Store, whole: JobSpec, killed: JobSpec) -> tuple[bool, str]:
    from training.certificate import read_certificate

    for step in range(0, STEPS + 1, EVERY):
        one, other = (read_certificate(_checkpoint(store, job, step)).outcome() for job in (whole, killed))
        if wrong := [name.replace("_", " ") for name in one if one[name] != other[name]]:
            return False, f"step {step}: {', '.join(wrong)} differ"
    return True, f"weights, optimizer, random states and losses of {STEPS // EVERY + 1} checkpoints"


def _verified(store: Store, job: JobSpec) -> tuple[bool, str]:
    claims = verify_checkpoint(
        FoundRun(job, PretrainConfig.model_validate(job.config), store), STEPS, _checkpoint(store, job, STEPS)
    )
    wrong = [f"{c.claim}: {c.detail}" for c in claims if not c.holds]
    return not wrong, "; ".join(wrong) or f"{len(claims)} claims"


def _exported(
    compute: Compute, own: Store, recipe: Recipe, store: Store, job: JobSpec, run: Run, rows: int, scored: bool
) -> tuple[bool, str]:
    tokenizer = _tokenizer(own, recipe, store)
    config = {
        "model": run.model.model_dump(), "vocab_rows": rows, "tag": "state", "threads": run.threads_per_rank,
        "scored": scored,
    }  # fmt: skip
    given = {"checkpoint": own.relative(_checkpoint(own, job, STEPS)), "tokenizer": own.relative(tokenizer)}
    _run(compute, EXPORT, config, given, "hf_model", run.threads_per_rank)
    parity = json.loads((own.root / "hf_model" / "parity.json").read_text(encoding="utf-8"))
    return parity["max_abs_logit_difference"] == 0, f"{parity['tensors']} weights, {parity['tokens']} tokens"


def _tokenizer(own: Store, recipe: Recipe, store: Store) -> Path:
    """The recipe's tokenizer, if its build has come so far; else one of bytes."""
    from neo_assets.tokenizer.train import hf_folder

    made = store.head_pointer(recipe.name, "tokenizer")
    if made is not None and (found := store.find(*made)):
        return hf_folder(found)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=recipe.tokenizer.end_of_document).save_pretrained(
        own.root / "tokenizer"
    )
    return own.root / "tokenizer"


def _asked(compute: Compute, own: Store, gpu: bool) -> tuple[bool, str]:
    text = (
        json.dumps({"id": "a", "text": "A rehearsal asks for a few words. 排练时说几句话。"}, ensure_ascii=False) + "\n"
    )
    task = Task(
        name="words",
        kind="loglikelihood_rolling",
        lang="en",
        licence="ours",
        chance=8.0,
        metric="bits_per_byte",
        description="words",
        file="words.jsonl",
        data_digest=digest_bytes(text.encode()),
        items=1,
    )
    (own.root / "tasks").mkdir()
    (own.root / "tasks" / task.file).write_text(text, encoding="utf-8")
    (own.root / "tasks" / TASKS_FILE).write_text(write_tasks([task]), encoding="utf-8")
    config: dict[str, object] = {
        "tasks": {"words": {"task": "words"}},
        "folders": {"words": "words", "samples": "samples"},
        "batch_size": 1,
        "threads": 1,
        "seed": 0,
    }
    config |= {
        "device": "cuda" if gpu else "cpu",
        "dtype": "bf16",
        "samples": {"en": ["A"]},
        "sample_tokens": 4,
        "repetition_penalty": 1.0,
    }
    _run(compute, EVALUATE, config, {"hf_model": "hf_model", "tasks": "tasks"}, "scores", 1)
    (row,) = (
        r for r in json.loads((own.root / "scores" / "words" / "words.json").read_text(encoding="utf-8")) if r["main"]
    )
    return row["value"] > 0, f"{row['value']:.2f} bits a byte of a model that has learnt nothing"


def _run(
    compute: Compute, program: str, config: dict[str, object], inputs: dict[str, str], out: str, threads: int
) -> JobFolder:
    fingerprint = digest_json(["rehearsal", program, time.time()])
    spec = JobSpec(
        work_fingerprint=fingerprint,
        title=f"rehearsal/{out}",
        program=program,
        **claimed(program),
        threads_per_rank=threads,
        config=config,
        inputs=inputs,
        out=out,
    )
    folder = compute.submit(spec)
    for _ in compute.follow(folder):
        pass
    return folder
