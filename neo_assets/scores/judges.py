"""Who says which of two answers is better: the right answer, a reward model, or somebody else's model behind an
OpenAI-compatible endpoint.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from neo_assets.core.errors import BadInput, NeoError
from neo_assets.core.fingerprint import digest_json
from training.templates import ASSISTANT, Turn

ENDPOINT, OVERLAP = "endpoint", "overlap"
URL, MODEL, KEY = "NEO_JUDGE_URL", "NEO_JUDGE_MODEL", "NEO_JUDGE_KEY"
ATTEMPTS, TIMEOUT, AT_ONCE = 5, 60.0, 4
FIRST, SECOND, TIE = "1", "2", "tie"
ASKED = """Two assistants answered a question. Which answer is better: more correct, more to the point, in the
language of the question?

[Question]
{question}

[Answer 1]
{first}

[Answer 2]
{second}

Reply with one word: 1, 2 or tie."""
"""What an endpoint is asked."""


@dataclass(frozen=True)
class Meeting:
    """A prompt that two models answered: what was said before, the set's own answer, theirs."""

    key: str
    lang: str
    turns: Sequence[Turn]
    target: str
    a: str
    b: str

    @property
    def question(self) -> str:
        return "\n\n".join(f"{turn.role}: {turn.text}" for turn in self.turns) if len(self.turns) > 1 else self.asked

    @property
    def asked(self) -> str:
        return self.turns[-1].text


@dataclass(frozen=True)
class Said:
    """``better``: 1 where B's answer is better, 0 where A's is, .5 of a tie; None where the judge did not say.
    ``same``: whether it said the same with the answers the other way round; None where it was asked once.
    """

    better: float | None
    same: bool | None = None


class Judge(Protocol):
    @property
    def name(self) -> str:
        """What it is called on the page."""
        ...

    def says(self, meetings: Sequence[Meeting]) -> Iterator[Said]:
        """Of each meeting, in order."""
        ...


@dataclass(frozen=True)
class ByTarget:
    """Which answer has more in common with the right one (F1 of pairs of characters)."""

    name: str = OVERLAP

    def says(self, meetings: Sequence[Meeting]) -> Iterator[Said]:
        from training.chat import overlap

        for m in meetings:
            a, b = (overlap(text.strip(), m.target.strip()) for text in (m.a, m.b))
            yield Said(_better(b - a))


@dataclass(frozen=True)
class ByReward:
    """A reward model's folder: the answer with the higher reward. What says nothing loses; None where a conversation
    does not fit into the model.
    """

    name: str
    folder: Path

    def says(self, meetings: Sequence[Meeting]) -> Iterator[Said]:
        from training.rewarding import Judge as Model

        try:
            model = Model(self.folder, "fp32")
        except (OSError, ValueError, SystemExit) as error:
            raise BadInput(f"{self.folder} cannot be asked for rewards: {error}") from error
        for m in meetings:
            if not (m.a.strip() and m.b.strip()):
                yield Said(_better(bool(m.b.strip()) - bool(m.a.strip())))
                continue
            both = [model.encode([*m.turns, Turn(ASSISTANT, text)]) for text in (m.a, m.b)]
            if max(map(len, both)) > model.room:
                yield Said(None)
                continue
            a, b = (model.rewards([ids])[0] for ids in both)
            yield Said(_better(b - a))


def _better(margin: float) -> float:
    return 0.5 if margin == 0 else float(margin > 0)


class _Again(Exception):
    """The endpoint could not answer now."""


@dataclass(frozen=True)
class ByEndpoint:
    """Asked twice, with the answers in both orders: a judge that likes what stands first says nothing by that. Every
    reply is kept in ``replies`` as soon as it is there, and what is there is not asked again.
    """

    url: str
    model: str
    key: str | None
    replies: Path

    @property
    def name(self) -> str:
        return f"{self.model} at {self.url}"

    @classmethod
    def of_environment(cls, replies: Path) -> ByEndpoint:
        """Raises BadInput: a variable is not set."""
        lacking = [name for name in (URL, MODEL) if not os.environ.get(name)]
        if lacking:
            raise BadInput(f"an endpoint is asked by {URL} (with its /v1) and {MODEL}; not set: {', '.join(lacking)}")
        return cls(os.environ[URL].rstrip("/"), os.environ[MODEL], os.environ.get(KEY) or None, replies)

    def says(self, meetings: Sequence[Meeting]) -> Iterator[Said]:
        """Raises NeoError: the endpoint refuses, or does not answer; replies until then are kept."""
        known = self._known()
        questions = [question for m in meetings for question in _both_orders(m)]
        missing = [q for q in dict.fromkeys(questions) if self._id(q) not in known]
        failed: list[NeoError] = []

        def ask(question: str) -> tuple[str, str | None]:
            """With its reply; without one after a failure, since nobody is asked any more then."""
            try:
                return question, None if failed else self._ask(question)
            except NeoError as error:
                failed.append(error)
                return question, None

        with ThreadPoolExecutor(AT_ONCE) as pool, self.replies.open("a", encoding="utf-8") as file:
            for done in as_completed([pool.submit(ask, question) for question in missing]):
                question, reply = done.result()
                if reply is not None:
                    known[self._id(question)] = reply
                    line = {"id": self._id(question), "model": self.model, "asked": question, "reply": reply}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    file.flush()
        if failed:
            raise failed[0]
        for m in meetings:
            one, two = (_verdict(known[self._id(q)]) for q in _both_orders(m))
            other = None if two is None else 1 - two
            given = [value for value in (one, other) if value is not None]
            yield Said(sum(given) / len(given) if given else None, one == other if len(given) == 2 else None)

    def _id(self, question: str) -> str:
        return digest_json([self.model, question])

    def _known(self) -> dict[str, str]:
        if not self.replies.is_file():
            return {}
        lines = self.replies.read_text(encoding="utf-8").split("\n")
        whole = lines[:-1]  # a last line without an end was being written
        if lines[-1]:
            self.replies.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
        try:
            return {row["id"]: row["reply"] for row in map(json.loads, whole)}
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{self.replies} holds no replies of a judge ({error}): name another --out") from error

    def _ask(self, question: str) -> str:
        waiting = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=20),
            retry=retry_if_exception_type(_Again),
            reraise=True,
        )
        try:
            return str(waiting(self._once, question))
        except _Again as error:
            raise NeoError(f"{self.url}: {error}, {ATTEMPTS} times; replies so far are in {self.replies}") from error

    def _once(self, question: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": question}], "temperature": 0}
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                told = json.loads(response.read())
            return str(told["choices"][0]["message"]["content"])
        except urllib.error.HTTPError as error:
            if error.code == 429 or error.code >= 500:
                raise _Again(f"HTTP {error.code}") from error
            raise NeoError(f"{self.url} refuses: HTTP {error.code}, {error.read()[:200]!r}") from error
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise _Again(f"{type(error).__name__}: {error}") from error


def _both_orders(m: Meeting) -> tuple[str, str]:
    return (
        ASKED.format(question=m.question, first=m.a, second=m.b),
        ASKED.format(question=m.question, first=m.b, second=m.a),
    )


def _verdict(reply: str) -> float | None:
    """1 where the second answer is better, 0 where the first is; None where the reply says neither, nor that it is a
    tie.
    """
    word = reply.strip().strip("*[]().\"'`").lower()
    known: Mapping[str, float] = {FIRST: 0.0, SECOND: 1.0, TIE: 0.5, "answer 1": 0.0, "answer 2": 1.0}
    return known.get(word)
