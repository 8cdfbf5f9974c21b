"""`neo generate`: what a model writes after a text, as it writes it."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from neo_assets.core.completion import CHECKPOINTS
from neo_assets.core.errors import BadInput
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.recipe.evaluation import Evaluation
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON
from neo_assets.core.words import at
from neo_assets.evaluate.by_hand import MODEL, subject_of


def generate(
    model: Annotated[str, typer.Argument(help=MODEL, autocompletion=CHECKPOINTS)],
    text: Annotated[str, typer.Argument(help="what it goes on from; '' for the beginning of a document")],
    tokens: Annotated[int, typer.Option(min=1, help="at most so many")] = 80,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0: the likeliest token each time, as in the report; 1: as likely as it says")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="of what is drawn above temperature 0")] = 0,
    as_json: bool = JSON,
) -> None:
    """Write on from a text, token by token. At temperature 0 what the report's samples would say of the same text."""
    recipe, store = load(), Store(store_root())
    subject = subject_of(model, recipe, store, quiet=True)
    began = time.monotonic()
    said = write_on(
        subject.folder,
        text,
        recipe.evaluation,
        tokens=tokens,
        temperature=temperature,
        seed=seed,
        called=model,
        as_it_writes=not as_json,
    )
    if as_json:
        told = {
            "model": at(subject.run, subject.name),
            "folder": str(subject.folder),
            "prompt": text,
            **asdict(said),
            "seconds": round(time.monotonic() - began, 3),
        }
        print(json.dumps(told, ensure_ascii=False, indent=1))


@dataclass(frozen=True)
class Written:
    """What a model wrote: its text, how many tokens, whether it came to an end by itself."""

    text: str
    tokens: int
    ended: bool


def write_on(
    folder: Path,
    text: str,
    settings: Evaluation,
    *,
    tokens: int,
    temperature: float,
    seed: int,
    called: str,
    as_it_writes: bool = False,
) -> Written:
    """What the model of a Hugging Face folder writes after a text, printed after it token by token if wanted. Raises
    BadInput, naming the model as it is ``called``, for a text that leaves no room.
    """
    import torch
    from transformers import TextStreamer

    network, tokenizer, ids = _ready(folder, text, settings.threads)
    room = network.config.max_position_embeddings - ids.shape[1]
    if room < 1:
        raise BadInput(
            f"the text has {ids.shape[1]} tokens, and {called} reads {network.config.max_position_embeddings} with what"
            " it writes"
        )
    torch.manual_seed(seed)
    drawn: dict[str, Any] = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    if as_it_writes:
        print(text, end="", flush=True)
    with torch.no_grad():
        written = network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=min(tokens, room),
            repetition_penalty=settings.repetition_penalty,
            pad_token_id=tokenizer.eos_token_id,
            use_cache=True,
            streamer=TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True) if as_it_writes else None,
            **drawn,
        )
    new = written[0, ids.shape[1] :].tolist()
    ended = new[-1:] == [tokenizer.eos_token_id]
    return Written(tokenizer.decode(new, skip_special_tokens=True), len(new), ended)


def _ready(folder: Path, text: str, threads: int) -> tuple[Any, Any, Any]:
    """(model, tokenizer, ids of the text, 1 x n) of a Hugging Face folder. In a model of ours, text that spells a
    special token is text, as in training.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as theirs

    from training.document_start import starts_from_nothing

    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True).eval()
    ours = {"split_special_tokens": True} if starts_from_nothing(network.config) else {}
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **ours)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=not ours).input_ids
    if not ids.shape[1]:  # what ends a document stands before the next
        ids = torch.tensor([[tokenizer.eos_token_id]])
    return network, tokenizer, ids.long()
