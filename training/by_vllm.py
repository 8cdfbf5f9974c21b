"""Having vLLM answer: the model written down as a folder, a program of its own (``vllm_answers.py``), its tokens read.

vLLM was not run here: it needs another torch than training does, and a GPU. What is tested is what goes to it and comes
from it, with a stand-in of the same calls (vLLM 0.33).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from neo_assets.core.errors import NeoError
from neo_assets.core.fingerprint import digest_bytes
from neo_assets.core.recipe.align import VLLM_PYTHON as PYTHON
from training import vllm_answers
from training.chat import Answer, Talker

PROGRAM = Path(vllm_answers.__file__)
SEED_BITS = 63
LAST_LINES = 5


def answers_by_vllm(
    talker: Talker,
    prompts: Sequence[Sequence[int]],
    keys: Sequence[str],
    most: int,
    temperature: float,
    dtype: str,
    scratch: Path,
) -> tuple[list[Answer], str]:
    """(answers to prompts in their order, each drawn by its key; vLLM's version). A prompt that leaves no room is
    answered with nothing.

    Raises:
        NeoError: vLLM is not there, or did not answer everything; with its last lines.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    talker.model.save_pretrained(scratch / "model")
    asked = [i for i, prompt in enumerate(prompts) if len(prompt) < talker.room]
    requests = [
        {
            "ids": list(prompts[i]),
            "seed": int(digest_bytes(keys[i].encode())[:16], 16) >> (64 - SEED_BITS),
            "most": min(most, talker.room - len(prompts[i])),
        }
        for i in asked
    ]
    told = {
        "model": str(scratch / "model"),
        "dtype": {"fp32": "float32", "bf16": "bfloat16"}[dtype],
        "room": talker.room,
        "seed": 0,
        "stops": list(talker.stops),
        "temperature": temperature,
        "requests": requests,
    }
    (scratch / "requests.json").write_text(json.dumps(told), encoding="utf-8")
    python = os.environ.get(PYTHON, sys.executable)
    command = [python, str(PROGRAM), str(scratch / "requests.json"), str(scratch / "answers.json")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NeoError(f"{PYTHON} is {python}, which cannot be run: {error}") from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-LAST_LINES:])
        raise NeoError(
            f"vLLM, run by {python}, ended with exit code {done.returncode}. It lives in an environment of its own,"
            f" whose Python {PYTHON} names; without one, draw with `engine: transformers`. Its last lines:\n{said}"
        )
    back = json.loads((scratch / "answers.json").read_text(encoding="utf-8"))
    if len(back["answers"]) != len(asked):
        raise NeoError(f"vLLM was asked {len(asked)} prompts and answered {len(back['answers'])}")
    out = [Answer("", [], False)] * len(prompts)
    for i, one in zip(asked, back["answers"], strict=True):
        out[i] = Answer(talker.decode(one["ids"]), one["ids"], one["stopped"])
    return out, back["vllm"]
