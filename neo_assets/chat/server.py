"""The same conversation for a browser and for programs: one page, and OpenAI's ``/v1/chat/completions``.

Loopback only. A request must name this server in its Host header (a site that resolves its own name to this machine is
refused), and where a browser says which site it comes from, that must be this one; bodies must say that they are JSON,
which no other site's form or simple request can. What a model writes is shown as text. One answer is made at a time;
others wait, and an answer whose reader has gone is given up.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from neo_assets.chat.speaker import Said, Speaker
from neo_assets.core.errors import BadInput
from neo_assets.pages.loopback import HEADERS, NAMED_HERE
from neo_assets.pages.page import render
from training.templates import ASSISTANT, SYSTEM, USER, Turn

HERE = Path(__file__).parent
PAGE, STYLE, SCRIPT = HERE / "page" / "chat.html.j2", HERE / "page" / "chat.css", HERE / "page" / "chat.js"
MOST_BODY = 1_000_000
"""Bytes of a request."""
NOT_DONE: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "top_p": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
}
"""What OpenAI's endpoint can be asked for and this one does not do, with the values that ask for nothing."""


@dataclass
class _Asked:
    """A request for an answer."""

    turns: list[Turn]
    most: int
    temperature: float
    seed: int
    stops: list[str]
    stream: bool
    usage: bool


class _Refused(Exception):
    """A request that cannot be answered: status, and what is said."""

    def __init__(self, message: str, status: int = 400, field_name: str | None = None) -> None:
        super().__init__(message)
        self.status, self.field = status, field_name


@dataclass
class Chat:
    """The endpoints. ``most``, ``temperature``: what an answer gets where the request does not say."""

    speaker: Speaker
    most: int
    temperature: float
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    def app(self) -> Starlette:
        routes = [
            Route("/", self.page),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.models),
            Route("/v1/chat/completions", self.completions, methods=["POST"]),
        ]
        guards = [NAMED_HERE, Middleware(_SameSite)]
        return Starlette(routes=routes, middleware=guards)

    async def page(self, _: Request) -> Response:
        script = SCRIPT.read_text(encoding="utf-8")
        values = {"name": self.speaker.name, "lines": self.speaker.lines, "most": self.most, "script": _markup(script)}
        values["temperature"] = self.temperature
        return HTMLResponse(render(PAGE, STYLE, values, [script], connects=True), headers=HEADERS)

    async def models(self, request: Request) -> Response:
        one = {"id": self.speaker.name, "object": "model", "created": 0, "owned_by": "neofoundry"}
        one["neofoundry"] = {
            "corpus": self.speaker.origin.corpus, "licences": self.speaker.origin.licences,
            "folder": self.speaker.folder.name,
        }  # fmt: skip
        name = request.path_params.get("name")
        if name is None:
            return JSONResponse({"object": "list", "data": [one]}, headers=HEADERS)
        if name != self.speaker.name:
            return _error(_Refused(f"there is no model '{name}' here; there is {self.speaker.name}", 404, "model"))
        return JSONResponse(one, headers=HEADERS)

    async def completions(self, request: Request) -> Response:
        try:
            asked = await self._read(request)
            answer = self._answer(asked)
            first = await self._next(answer)
        except _Refused as error:
            return _error(error)
        except BadInput as error:
            return _error(_Refused(str(error), 400, "messages"))
        told = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self.speaker.name}
        if asked.stream:
            return StreamingResponse(
                self._events(asked, first, answer, told), media_type="text/event-stream", headers=HEADERS
            )
        said = first
        while said is not None and (more := await self._next(answer)) is not None:
            said = more
            if await request.is_disconnected():
                answer.close()
                return Response(status_code=499)
        assert said is not None
        message = {"role": ASSISTANT, "content": said[1].text}
        choice = {"index": 0, "message": message, "finish_reason": _why(said[1]), "logprobs": None}
        return JSONResponse(
            {**told, "object": "chat.completion", "choices": [choice], "usage": _usage(said[1])}, headers=HEADERS
        )

    # ------------------------------------------------ asking

    async def _read(self, request: Request) -> _Asked:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _Refused("the body must be JSON, and say so: Content-Type: application/json", 415)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                raise _Refused(f"the body is longer than {MOST_BODY:,} bytes", 413)
        try:
            given = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Refused(f"the body is not JSON ({error})") from None
        if not isinstance(given, dict):
            raise _Refused("the body is no JSON object")
        return self._asked(given)

    def _asked(self, given: Mapping[str, Any]) -> _Asked:
        if (name := given.get("model") or self.speaker.name) != self.speaker.name:
            raise _Refused(f"there is no model '{name}' here; there is {self.speaker.name}", 404, "model")
        for unknown, nothing in NOT_DONE.items():
            if given.get(unknown) not in (None, *nothing):
                raise _Refused(f"'{unknown}' is not done here", 400, unknown)
        most = given.get("max_completion_tokens")
        most = given.get("max_tokens") if most is None else most
        stops = given.get("stop")
        stops = [stops] if isinstance(stops, str) else [] if stops is None else stops
        if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
            raise _Refused("'stop' is a text, or a list of texts", 400, "stop")
        options = given.get("stream_options")
        return _Asked(
            turns=_turns(given.get("messages")),
            most=int(_number(most, "max_tokens", 1, 1e9, self.most)),
            temperature=_number(given.get("temperature"), "temperature", 0, 2, self.temperature),
            seed=int(_number(given.get("seed"), "seed", -(2**63), 2**63 - 1, 0)),
            stops=[stop for stop in stops if stop],
            stream=given.get("stream") is True,
            usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def _answer(self, asked: _Asked) -> Generator[tuple[str, Said]]:
        """The answer, cut before the first of the texts that the request says it ends at."""
        held = ""
        for new, said in self.speaker.answer(asked.turns, asked.most, asked.temperature, asked.seed):
            held += new
            at = min((i for stop in asked.stops if (i := said.text.find(stop)) >= 0), default=None)
            if at is not None:
                sent = len(said.text) - len(held)
                said.text, said.ended = said.text[:at], True
                yield said.text[sent:], said
                return
            # What may be the beginning of such a text waits until it is known.
            wait = 0 if new == "" else max((_begun(said.text, stop) for stop in asked.stops), default=0)
            ready, held = held[: len(held) - wait], held[len(held) - wait :]
            yield ready, said

    async def _next(self, answer: Iterator[tuple[str, Said]]) -> tuple[str, Said] | None:
        async with self.busy:
            return await run_in_threadpool(next, answer, None)

    async def _events(
        self, asked: _Asked, first: tuple[str, Said] | None, answer: Any, told: Mapping[str, object]
    ) -> AsyncIterator[str]:
        common = {**told, "object": "chat.completion.chunk"}

        def event(delta: Mapping[str, object], why: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": why, "logprobs": None}
            return f"data: {json.dumps({**common, 'choices': [choice]}, ensure_ascii=False)}\n\n"

        said, last = first, None
        try:
            yield event({"role": ASSISTANT, "content": ""})
            while said is not None:
                last = said[1]
                if said[0]:
                    yield event({"content": said[0]})
                said = await self._next(answer)
        finally:
            answer.close()  # the reader may have gone
        yield event({}, _why(last))
        if asked.usage and last is not None:
            yield f"data: {json.dumps({**common, 'choices': [], 'usage': _usage(last)})}\n\n"
        yield "data: [DONE]\n\n"


class _SameSite:
    """Refuses what a browser sends for another site."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin, host = headers.get("origin"), headers.get("host", "")
            other = origin is not None and origin != f"http://{host}"
            if other or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                await _error(_Refused("requests from other sites are refused", 403))(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _markup(script: str) -> Any:
    from markupsafe import Markup

    return Markup(script)  # our own file


def _turns(messages: object) -> list[Turn]:
    if not isinstance(messages, list) or not messages:
        raise _Refused("'messages' is a list of {role, content}", 400, "messages")
    out = []
    for i, message in enumerate(messages):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if isinstance(content, list):  # parts, of which text is the one that can be read
            texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
            written = [text for text in texts if isinstance(text, str)]
            content = "".join(written) if len(written) == len(content) else None
        role = SYSTEM if role == "developer" else role
        if role not in (SYSTEM, USER, ASSISTANT) or not isinstance(content, str) or not _can_be_written(content):
            raise _Refused(f"messages[{i}] has no role of system, user, assistant, or no text", 400, "messages")
        out.append(Turn(role, content))
    return out


def _can_be_written(text: str) -> bool:
    """Whether a text has no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: object, name: str, least: float, most: float, otherwise: float) -> float:
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _Refused(f"'{name}' is a number from {least:g} to {most:g}", 400, name)
    return value


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of another."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def _why(said: Said | None) -> str:
    return "stop" if said is not None and said.ended else "length"


def _usage(said: Said) -> dict[str, int]:
    return {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.tokens,
        "total_tokens": said.prompt_tokens + said.tokens,
    }


def _error(error: _Refused) -> Response:
    told = {"message": str(error), "type": "invalid_request_error", "param": error.field, "code": None}
    return JSONResponse({"error": told}, status_code=error.status, headers=HEADERS)
