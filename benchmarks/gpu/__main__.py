"""A GPU in one command: ``python -m benchmarks.gpu [OUT.json]``, on a machine with one NVIDIA GPU, torch and no
network, in under eight minutes.

Four questions, in this order, each with a time limit of its own, so that a slow machine answers the first ones whole:

* parity: does every rung of attention give eager's loss and gradients, with documents packed and apart?
* exactness: twenty steps of the training program, killed at eleven and resumed: the same bits? (needs DeepSpeed)
* speed: tokens/s and MFU of a 250M and a 1B shape at windows of 2,048 to 8,192, for each rung; and what deterministic
  kernels cost
* evaluation: an export asked on the GPU and on the CPU: how far apart are the scores?

What cannot run is a row that says why. It prints one table and writes it as JSON. ``--quick`` asks the same of tiny
shapes on whatever is there, which is how it is tested without a GPU (tests/training/test_gpu_benchmark.py); its speeds
mean nothing. ``python -m benchmarks.gpu.pack`` fetches what such a machine lacks. It has not been run on a GPU yet.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from neo_assets.core.recipe.run import Model
from training.attention import ONE_ROW, RUNGS, available, model_inputs
from training.engine import be_deterministic
from training.model import build_model

ROWS = 64_256
"""Vocabulary rows of the paper's 7B: the loss is part of what is measured."""
SHAPES = {
    "250M": Model(
        layers=14,
        hidden=1024,
        heads=8,
        kv_heads=8,
        head_dim=128,
        ffn=2816,
        context=8192,
        rope_theta=1e4,
        norm_eps=1e-5,
        init_std=0.02,
        vocab_multiple=256,
    ),
    "1B": Model(
        layers=20,
        hidden=2048,
        heads=16,
        kv_heads=16,
        head_dim=128,
        ffn=5504,
        context=8192,
        rope_theta=1e4,
        norm_eps=1e-5,
        init_std=0.02,
        vocab_multiple=256,
    ),
}
TINY = Model(
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=16,
    ffn=128,
    context=256,
    rope_theta=1e4,
    norm_eps=1e-5,
    init_std=0.02,
    vocab_multiple=64,
)
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12}
"""Dense bf16 FLOP/s by the makers' data sheets; MFU is told where the GPU's name holds one of these."""
LIMITS = {"parity": 60.0, "exactness": 120.0, "speed": 240.0, "evaluation": 45.0}
WARM, TIMED = 3, 8

Row = dict[str, object]


def peak() -> float | None:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((flops for key, flops in PEAK.items() if key in name), None)


def packed(
    rows: int, length: int, device: torch.device, rung: str, vocabulary: int
) -> tuple[dict[str, Any], torch.Tensor]:
    """A micro-batch of windows that hold documents of many lengths; and its labels."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (rows, length), generator=generator)
    starts = torch.rand(rows, length, generator=generator) < 4 / length
    starts[:, 0] = True
    places = torch.arange(length).expand(rows, length)
    positions = places - torch.where(starts, places, 0).cummax(dim=1).values
    labels = ids.roll(-1, dims=1).to(device)
    return model_inputs(rung, ids, positions, device), labels.reshape(1, -1) if rung in ONE_ROW else labels


def made(shape: Model, vocabulary: int, rung: str, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    model = build_model(shape, vocabulary, seed=1, attention=rung).to(device)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model.train()


def forget() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# ------------------------------------------------------------------ the questions


def parity(device: torch.device, quick: bool) -> Iterator[Row]:
    """Loss and gradients of every rung against eager, in bf16 and (where a rung can) fp32."""
    shape = TINY if quick else SHAPES["250M"].model_copy(update={"layers": 4})
    length, vocabulary = (128, 512) if quick else (1024, 4096)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        reference: tuple[float, dict[str, torch.Tensor]] | None = None
        for rung in ("eager", *(r for r in RUNGS if r != "eager")):
            row: Row = {"question": "parity", "what": f"{rung}, {precision}"}
            if lack := available(device, precision)[rung]:
                yield row | {"answer": f"not run: {lack}"}
                continue
            model = made(shape, vocabulary, rung, device, dtype)
            inputs, labels = packed(2, length, device, rung, vocabulary)
            loss = model(**inputs, labels=labels)
            loss.backward()
            found = float(loss.detach()), {n: p.grad.float() for n, p in model.named_parameters() if p.grad is not None}
            reference = reference or found
            apart = max(float((found[1][n] - g).norm() / g.norm()) for n, g in reference[1].items())
            yield row | {
                "answer": f"loss {abs(found[0] / reference[0] - 1):.1e}, gradients {apart:.1e} apart",
                "loss": found[0],
                "gradients_apart": apart,
            }
            del model
            forget()


def exactness(device: torch.device, quick: bool) -> Iterator[Row]:
    """Twenty steps by the training program itself, killed at eleven."""
    row: Row = {"question": "exactness", "what": "20 steps, killed at 11 and resumed"}
    try:
        import deepspeed  # noqa: F401
    except ImportError:
        yield row | {"answer": "not run: DeepSpeed is not installed (benchmarks.gpu.pack)"}
        return
    from neo_assets.core.recipe import load
    from neo_assets.core.recipe.run import Run
    from neo_assets.core.store import Store
    from neo_assets.runs.made_up import write_inputs
    from neo_assets.runs.rehearse import job_of
    from resources.compute.local import LocalCompute
    from training.certificate import read_certificate
    from training.spec import checkpoint_name

    base = load("laptop").runs["main"].model_dump() | {
        "model": (TINY if quick else SHAPES["250M"]).model_dump(),
        "ranks_per_node": 1,
        "threads_per_rank": 1,
    }
    base |= {
        "sequence_length": 128 if quick else 2048,
        "micro_batch": 2,
        "global_batch": 4,
        "steps": 20,
        "checkpoint_every": 10,
        "early_checkpoints": 0,
        "attention": "auto",
    }
    vocabulary = 512 if quick else 4096
    for deterministic in (True, False):
        run = Run.model_validate(base | {"deterministic": deterministic})
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            compute, store = LocalCompute(root), Store(root)
            given = write_inputs(root, "pretraining", vocabulary, run)
            whole, killed = (job_of(name, run, vocabulary, given) for name in ("whole", "killed"))
            list(compute.follow(compute.submit(whole)))
            job = compute.submit(killed)
            messages = compute.follow(job)
            next(m for m in messages if m.event == "checkpoint" and int(str(m.data["step"])) >= 10)
            compute.kill(job)
            list(messages)
            ends = [
                read_certificate(store.resolve(j.out) / checkpoint_name(20, j.work_fingerprint)).outcome()
                for j in (whole, killed)
            ]
        told = "the same bits" if ends[0] == ends[1] else "OTHER BITS"
        yield row | {
            "what": f"{row['what']}, deterministic {deterministic}",
            "answer": told,
            "same_bits": ends[0] == ends[1],
        }


def speed(device: torch.device, quick: bool) -> Iterator[Row]:
    """One optimizer step of one micro-batch, over and over: forward, loss, backward, AdamW on bf16 weights."""
    shapes = {"tiny": TINY} if quick else SHAPES
    for name, shape in shapes.items():
        for length in (128,) if quick else (2048, 4096, 8192):
            for rung in RUNGS:
                row: Row = {"question": "speed", "what": f"{name}, window {length:,}, {rung}"}
                if (lack := available(device, "bf16")[rung]) or (rung == "eager" and length > 2048):
                    yield row | {
                        "answer": f"not run: {lack or 'it would hold an attention matrix of the whole window'}"
                    }
                    continue
                rates = {}
                for deterministic in (False, True):
                    be_deterministic(deterministic)
                    try:
                        rates[deterministic] = _rate(shape, length, rung, device, 512 if quick else ROWS)
                    except (RuntimeError, torch.OutOfMemoryError) as error:
                        yield row | {
                            "what": f"{row['what']}, deterministic {deterministic}",
                            "answer": f"not run: {str(error).splitlines()[0][:120]}",
                        }
                    forget()
                if True not in rates:
                    continue
                cost = f", determinism costs {1 - rates[True] / rates[False]:.1%}" if False in rates else ""
                flops = _flops_a_token(shape, length, 512 if quick else ROWS)
                share = f", MFU {rates[True] * flops / limit:.1%}" if (limit := peak()) else ""
                yield row | {
                    "answer": f"{rates[True]:,.0f} tokens/s{share}{cost}",
                    "tokens_per_s": rates[True],
                    "tokens_per_s_undetermined": rates.get(False),
                    "flops_a_token": flops,
                }


def _flops_a_token(shape: Model, length: int, vocabulary: int) -> float:
    """As the planner counts: six a multiplied weight, and attention's own products over the window."""
    return (
        6.0 * (shape.parameters(vocabulary) - (0 if shape.tied_embeddings else vocabulary * shape.hidden))
        + 6.0 * shape.layers * shape.heads * shape.head_dim * length
    )


def _rate(shape: Model, length: int, rung: str, device: torch.device, vocabulary: int) -> float:
    model = made(shape, vocabulary, rung, device, torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")
    rows = max(1, 16_384 // length) if device.type == "cuda" else 2
    inputs, labels = packed(rows, length, device, rung, vocabulary)

    def step() -> None:
        (model(**inputs, labels=labels) / labels.numel()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(WARM):
        step()
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(TIMED):
        step()
    wait()
    return TIMED * rows * length / (time.perf_counter() - began)


def evaluation(device: torch.device, quick: bool) -> Iterator[Row]:
    """The log-likelihood of the same texts on this device and on the CPU, as lm-eval's rolling task asks for it."""
    shape, vocabulary = (TINY if quick else SHAPES["250M"].model_copy(update={"layers": 4})), 512 if quick else 4096
    row: Row = {"question": "evaluation", "what": "nats a token, bf16, 8 windows"}
    found = {}
    for where in (torch.device("cpu"), device):
        model = made(shape, vocabulary, "sdpa", where, torch.bfloat16).eval()
        inputs, labels = packed(8, 128, where, "sdpa", vocabulary)
        with torch.no_grad():
            found[where.type] = float(model(**inputs, labels=labels)) / labels.numel()
    values = list(found.values())
    yield row | {
        "answer": f"cpu {values[0]:.6f}, {device.type} {values[-1]:.6f}, {abs(values[-1] / values[0] - 1):.1e} apart",
        **{f"nats_{k}": v for k, v in found.items()},
    }


QUESTIONS: dict[str, Callable[[torch.device, bool], Iterator[Row]]] = {
    "parity": parity,
    "exactness": exactness,
    "speed": speed,
    "evaluation": evaluation,
}


def ask(device: torch.device, quick: bool, questions: list[str]) -> Iterator[Row]:
    for name in questions:
        began = time.monotonic()
        try:
            for row in QUESTIONS[name](device, quick):
                yield row
                if time.monotonic() - began > LIMITS[name]:
                    yield {"question": name, "what": "the rest", "answer": f"not asked: {LIMITS[name]:.0f} s were up"}
                    break
        except Exception as error:  # one question must not cost the others their answers
            yield {
                "question": name,
                "what": "the rest",
                "answer": f"failed: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",
            }
        forget()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, help="the table as JSON")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, on whatever is there")
    parser.add_argument("--only", choices=list(QUESTIONS), action="append", help="these questions; again for more")
    given = parser.parse_args()
    if not torch.cuda.is_available() and not given.quick:
        raise SystemExit("there is no CUDA device here; --quick asks the same of tiny shapes on a CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {platform.machine()}"
    print(f"{machine}, torch {torch.__version__}\n", flush=True)
    rows = []
    for row in ask(device, given.quick, given.only or list(QUESTIONS)):
        rows.append(row)
        print(f"{row['question']!s:<11} {row['what']!s:<50} {row['answer']}", flush=True)
    if given.out:
        given.out.write_text(
            json.dumps({"machine": machine, "torch": torch.__version__, "quick": given.quick, "rows": rows}, indent=1),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
