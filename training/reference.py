"""What a reference gives both answers of every pair: a job's program, one process.

The numbers are subtracted from the policy's, so they are made as training makes those: the same kernels, precision and
threads, and micro-batches of the same size. Then a policy that is the reference has margins of exactly zero.

    ‹out›/reference.npy    fp32 (pairs, 2): summed log-probabilities of the better and the worse answer
    ‹out›/reference.json   of which pairs (digest) and which checkpoint
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from neo_assets.core import records
from neo_assets.core.jobs import Reporter, RunningJob
from training.spec import PretrainConfig

REFERENCE = "reference_logprobs"
"""Name of the input of a training job that holds them."""
FILE, FACTS = "reference.npy", "reference.json"


def read_reference(folder: Path, pairs: str) -> npt.NDArray[np.float32]:
    """The sums, (pairs, 2). Exits where they are of other pairs than these (their digest)."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if facts["pairs"] != pairs:
        raise SystemExit(f"{folder} is of other pairs ({facts['pairs'][:12]}) than the run's ({pairs[:12]})")
    sums: npt.NDArray[np.float32] = np.load(folder / FILE, allow_pickle=False)
    return sums


def main(job: RunningJob) -> None:
    import torch

    from training.attention import choose
    from training.data.pair_stream import PairStream
    from training.data.stream_files import stream_facts
    from training.engine import be_deterministic
    from training.model import build_model, load_weights, round_to_bf16
    from training.objectives.over_stream import STREAM
    from training.objectives.pair_batch import answer_sums, pair_batch
    from training.weights import master_weights

    os.environ["DS_ACCELERATOR"] = "cpu"  # read where a checkpoint's files are
    config = PretrainConfig.model_validate(job.spec.config).at(job.folder.root)
    run, start = config.run, config.start
    if start is None:
        raise SystemExit("the job names no checkpoint")
    be_deterministic(run.deterministic)
    torch.set_num_threads(run.threads_per_rank)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rung = choose(run.attention, device, run.precision, run.across_documents)
    model = build_model(run.model, config.vocab_rows, seed=run.seed, attention=rung)
    load_weights(model, master_weights(Path(start.folder)))
    if run.precision == "bf16":
        round_to_bf16(model)
    model.to(device).eval()
    shards = Path(job.spec.inputs[STREAM])
    facts = stream_facts(shards)
    stream = PairStream(shards, run.sequence_length, str(facts["dtype"]))
    sums = np.zeros((stream.sequences, 2), np.float32)
    reporter = Reporter(job.folder.path)
    for begin in range(0, stream.sequences, run.micro_batch):
        asked = np.minimum(np.arange(begin, begin + run.micro_batch), stream.sequences - 1)
        inputs, labels, answer = pair_batch(stream, asked, rung, device)
        with torch.no_grad():
            each = model(**inputs, labels=labels, each=True)
        found = answer_sums(cast("torch.Tensor", each), labels, answer).sums.float().cpu().numpy()
        sums[asked] = found
    out = Path(job.spec.out)
    out.mkdir(parents=True, exist_ok=True)
    records.write_array(sums, out / FILE)
    told = {"pairs": facts["digest"], "checkpoint": start.digest, "step": start.step, "attention": rung}
    records.write_text(out / FACTS, json.dumps(told, indent=1))
    print(f"{stream.sequences:,} pairs under {Path(start.folder).name}", flush=True)
    reporter.send("done", pairs=stream.sequences)
