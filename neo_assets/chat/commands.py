"""`neo chat`: talk with a model that was fine-tuned on conversations, in the terminal or in a browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from neo_assets.core.completion import CHECKPOINTS
from neo_assets.core.errors import BadInput, NeoError
from neo_assets.core.place import store_root
from neo_assets.core.recipe import load
from neo_assets.core.store import Store
from neo_assets.core.words import at
from neo_assets.evaluate.by_hand import MODEL, subject_of

if TYPE_CHECKING:
    from neo_assets.chat.speaker import Speaker


def chat(
    model: Annotated[str, typer.Argument(help=MODEL, autocompletion=CHECKPOINTS)],
    text: Annotated[
        str | None,
        typer.Argument(help="ask this alone and leave; without it, a conversation (or one line of stdin each)"),
    ] = None,
    system: Annotated[str, typer.Option(help="what the model is told before the conversation")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="at most so many an answer")] = 128,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="0: the likeliest token each time; 1: as likely as it says")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="of what is drawn above temperature 0")] = 0,
    serve: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PORT",
            help="no terminal: a page and OpenAI's /v1/chat/completions on this port of this machine",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="with TEXT: the answer and what is known of it")] = False,
) -> None:
    """Talk with a model that was fine-tuned on conversations. `--serve 8000` opens the same for a browser and for
    OpenAI's clients, on this machine alone.
    """
    from neo_assets.chat.origin import Origin, origin_of
    from neo_assets.chat.speaker import Said, Speaker
    from neo_assets.chat.terminal import HELP, Session, typed
    from training.templates import SYSTEM, USER, Turn

    recipe, store = load(), Store(store_root())
    subject = subject_of(model, recipe, store, quiet=True)
    made = store.find(f"hf_model/{subject.run}", subject.fingerprint)
    origin = origin_of(store, made) if made else Origin()
    name = at(subject.run, subject.name) if made else subject.folder.name
    speaker = Speaker.open(subject.folder, name, origin, recipe.evaluation.threads)
    if as_json and text is None:
        raise BadInput("--json is for one question: neo chat MODEL TEXT --json")
    if serve is not None:
        if text is not None or system or as_json:
            raise BadInput("--serve answers whoever asks: no TEXT, --system or --json beside it")
        _serve(speaker, serve, tokens, temperature)
        return
    if text is not None:
        turns = [*([Turn(SYSTEM, system)] if system else []), Turn(USER, text)]
        said = Said()
        for new, latest in speaker.answer(turns, tokens, temperature, seed):
            said = latest
            if not as_json:
                print(new, end="", flush=True)
        if as_json:
            told = {"model": name, "text": said.text, "tokens": said.tokens, "ended": said.ended}
            told |= {"corpus": origin.corpus, "licences": origin.licences, "seconds": round(said.seconds, 3)}
            print(json.dumps(told, ensure_ascii=False, indent=1))
        else:
            print()
        return
    for line in speaker.lines:
        print(line)
    print(f"{HELP}\n")
    Session(speaker, tokens, temperature, seed, system).run(typed())


def _serve(speaker: Speaker, port: int, most: int, temperature: float) -> None:
    import socket

    import uvicorn

    from neo_assets.chat.server import Chat

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise NeoError(f"port {port} of 127.0.0.1 cannot be used ({error.strerror}); name another") from error
        except OverflowError as error:
            raise NeoError(f"there is no port {port}: ports are 1 to 65535") from error
    for line in speaker.lines:
        print(line)
    print(
        f"page: http://127.0.0.1:{port}/   OpenAI's clients: base_url http://127.0.0.1:{port}/v1   (Ctrl-C ends)",
        flush=True,
    )
    uvicorn.run(Chat(speaker, most, temperature).app(), host="127.0.0.1", port=port, log_level="warning")
