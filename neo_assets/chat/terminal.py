"""Talking in a terminal: an answer as it is written, how fast, and a few commands."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from neo_assets.chat.speaker import Said, Speaker
from neo_assets.core.errors import BadInput
from neo_assets.core.words import counted
from training.templates import ASSISTANT, SYSTEM, USER, Turn

HELP = """/retry        answer the last question once more (with --temperature, another answer)
/system TEXT  what the model is told before the conversation; without a text, nothing
/new          forget the conversation
/quit         leave (Ctrl-D too); Ctrl-C stops an answer"""


@dataclass
class Session:
    """A conversation at a terminal; ``tries`` counts the answers to the last question."""

    speaker: Speaker
    most: int
    temperature: float
    seed: int
    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    tries: int = 0
    out: TextIO = field(default_factory=lambda: sys.stdout)

    def run(self, lines: Iterator[str]) -> None:
        """Answer line after line until there are no more. What is typed after a ``/`` is a command."""
        for line in lines:
            text = line.strip()
            if not text:
                continue
            try:
                if text.startswith("/"):
                    if not self._command(text):
                        return
                else:
                    self._ask(text)
            except BadInput as error:
                self._say(str(error))

    def _command(self, text: str) -> bool:
        """Do what a command says; False where it ends the conversation."""
        name, _, rest = text.partition(" ")
        if name == "/quit":
            return False
        if name == "/new":
            self.turns, self.tries = [], 0
            self._say("a new conversation")
        elif name == "/system":
            self.system = rest.strip()
            self._say(f"system: {self.system}" if self.system else "no system text")
        elif name == "/retry":
            if len(self.turns) < 2:
                raise BadInput("nothing was asked yet")
            question = self.turns[-2].text
            del self.turns[-2:]
            self._ask(question, again=True)
        else:
            self._say(HELP)
        return True

    def _ask(self, text: str, again: bool = False) -> None:
        self.tries = self.tries + 1 if again else 0
        system = [Turn(SYSTEM, self.system)] if self.system else []
        turns = [*system, *self.turns, Turn(USER, text)]
        said, stopped = Said(), False
        answer = self.speaker.answer(turns, self.most, self.temperature, self.seed + self.tries)
        with contextlib.closing(answer):
            try:
                for new, latest in answer:
                    said = latest
                    self.out.write(new)
                    self.out.flush()
            except KeyboardInterrupt:
                stopped = True
        self.out.write("\n")
        self._say(told(said, stopped))
        if said.text.strip():
            self.turns += [Turn(USER, text), Turn(ASSISTANT, said.text)]

    def _say(self, text: str) -> None:
        self.out.write("".join(f"  {line}\n" for line in text.split("\n")))
        self.out.flush()


def told(said: Said, stopped: bool = False) -> str:
    """What is said of an answer after it."""
    parts = [counted(said.tokens, "token")]
    if said.seconds:
        parts.append(f"{said.rate:,.0f} tokens/s")
    if stopped:
        parts.append("stopped")
    elif not said.ended:
        parts.append("not ended: no more was asked for, or there was no room")
    if said.left_out:
        parts.append(f"the first {counted(said.left_out, 'turn')} no longer fitted into what it reads")
    if not said.text.strip():
        parts.append("it said nothing; the question is not kept")
    return ", ".join(parts)


def typed() -> Iterator[str]:
    """Lines as a person types them, or as a file holds them."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # lines can be edited and come back with the arrow keys
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print("  (/quit leaves)")
