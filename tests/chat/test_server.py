"""The page and OpenAI's endpoint: its own client, other sites, and a real browser."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect
from starlette.testclient import TestClient

from neo_assets.chat.server import Chat, _begun
from neo_assets.chat.speaker import Said, Speaker
from training.templates import USER, Turn

ASK = {"messages": [{"role": "user", "content": "怎样打开文件？"}], "max_tokens": 12}


@pytest.fixture
def client(talking: Speaker) -> TestClient:
    return TestClient(Chat(talking, 16, 0.0).app(), base_url="http://127.0.0.1:8000")


def spoken(speaker: Speaker, text: str, most: int = 12) -> tuple[str, Said]:
    *_, (_, said) = speaker.answer([Turn(USER, text)], most)
    return said.text, said


def test_an_answer_in_the_form_of_openai(client: TestClient, talking: Speaker) -> None:
    told = client.post("/v1/chat/completions", json=ASK).json()
    text, said = spoken(talking, "怎样打开文件？")
    (choice,) = told["choices"]
    assert choice["message"] == {"role": "assistant", "content": text}
    assert choice["finish_reason"] == ("stop" if said.ended else "length")
    assert told["usage"]["completion_tokens"] == said.tokens and told["model"] == "chat@60"
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "chat@60" and model["neofoundry"]["licences"] == {"pages": "CC0-1.0"}
    assert client.get("/v1/models/chat@60").status_code == 200 and client.get("/v1/models/x").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"messages": []}, 400, "'messages' is a list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0] has no role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages[0]"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "where the user's is due"),
        ({"messages": [{"role": "user", "content": "长" * 400}]}, 400, "the question has"),
        ({"model": "gpt-4o"}, 404, "there is no model 'gpt-4o' here; there is chat@60"),
        ({"n": 2}, 400, "'n' is not done here"),
        ({"tools": [{}]}, 400, "'tools' is not done here"),
        ({"top_p": 0.5}, 400, "'top_p' is not done here"),
        ({"stop": 5}, 400, "'stop' is a text"),
        ({"stop": {"a": 1}}, 400, "'stop' is a text"),
        ({"temperature": 3}, 400, "'temperature' is a number from 0 to 2"),
        ({"max_tokens": "many"}, 400, "'max_tokens' is a number"),
    ],
)
def test_what_cannot_be_answered_is_said_in_openais_form(
    client: TestClient, change: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/v1/chat/completions", json={**ASK, **change})
    assert answer.status_code == status and said in answer.json()["error"]["message"]


def test_what_asks_for_nothing_is_no_error_and_broken_bodies_are(client: TestClient) -> None:
    nothing = {"n": 1, "tools": [], "response_format": {"type": "text"}, "top_p": 1, "model": None, "stop": None}
    told = client.post("/v1/chat/completions", json={**ASK, **nothing, "max_tokens": 2, "max_completion_tokens": None})
    assert told.status_code == 200 and told.json()["usage"]["completion_tokens"] <= 2
    json_body = {"Content-Type": "application/json"}
    for body in (b"[" * 200_000, b'{"messages": [{"role": "user", "content": "\\ud800"}]}'):
        assert client.post("/v1/chat/completions", content=body, headers=json_body).status_code == 400


def test_an_answer_ends_before_a_text_that_the_request_names(client: TestClient, talking: Speaker) -> None:
    text, _ = spoken(talking, "怎样打开文件？", 30)
    stop = text[5:8]
    at = text.index(stop)
    for stream in (False, True):
        answer = client.post("/v1/chat/completions", json={**ASK, "max_tokens": 30, "stop": [stop], "stream": stream})
        if stream:
            events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
            got = "".join(e["choices"][0]["delta"].get("content", "") for e in events)
            assert events[-1]["choices"][0]["finish_reason"] == "stop"
        else:
            got = answer.json()["choices"][0]["message"]["content"]
        assert got == text[:at]
    assert (_begun("abc<|e", "<|end|>"), _begun("abc", "<"), _begun("aa", "aab")) == (3, 0, 2)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", ""])
def test_another_name_for_this_machine_is_refused(talking: Speaker, host: str) -> None:
    client = TestClient(Chat(talking, 16, 0.0).app(), base_url="http://127.0.0.1:8000")
    for path, method in (("/", "GET"), ("/v1/models", "GET"), ("/v1/chat/completions", "POST")):
        assert client.request(method, path, headers={"Host": host}, json=ASK).status_code in (400, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused_and_told_nothing(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/v1/chat/completions", json=ASK, headers=headers)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    ahead = client.options("/v1/chat/completions", headers={**headers, "Access-Control-Request-Method": "POST"})
    assert ahead.status_code in (403, 405) and "access-control-allow-origin" not in ahead.headers


def test_a_simple_request_of_a_form_is_refused(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = client.post("/v1/chat/completions", content=json.dumps(ASK), headers={"Content-Type": kind})
        assert answer.status_code == 415
    assert client.post("/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"}).is_error
    long = client.post("/v1/chat/completions", json={**ASK, "messages": [{"role": "user", "content": "x" * 2_000_000}]})
    assert long.status_code == 413


# ------------------------------------------------------------------ a real server


@pytest.fixture(scope="module")
def served(talking: Speaker) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(Chat(talking, 16, 0.0).app(), host="127.0.0.1", port=port, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=20)


def test_openais_own_client(served: str, talking: Speaker) -> None:
    client = openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0)
    (model,) = client.models.list().data
    messages: Any = [{"role": "system", "content": "短一点。"}, {"role": "user", "content": "怎样打开文件？"}]
    whole = client.chat.completions.create(model=model.id, messages=messages, max_completion_tokens=12, temperature=0)
    text = whole.choices[0].message.content
    chunks = list(
        client.chat.completions.create(
            model=model.id, messages=messages, max_completion_tokens=12, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text and streamed == text and sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) > 2
    assert chunks[-1].usage == whole.usage and chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    with pytest.raises(openai.NotFoundError, match="there is chat@60"):
        client.chat.completions.create(model="other", messages=messages)


def test_two_who_ask_at_once_get_what_each_would_get_alone(served: str, talking: Speaker) -> None:
    client = openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0)
    asked = ["怎样打开文件？", "Where is it?", "为什么？"]
    got: dict[str, str | None] = {}

    def ask(text: str) -> None:
        answer = client.chat.completions.create(
            model="chat@60", messages=[{"role": "user", "content": text}], max_tokens=12
        )
        got[text] = answer.choices[0].message.content

    threads = [threading.Thread(target=ask, args=(text,)) for text in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert got == {text: spoken(talking, text)[0] for text in asked}


@pytest.fixture
def page(browser: Browser, served: str) -> Iterator[Page]:
    """Whatever the page asks of another place, logs as an error or alerts fails the test."""
    context = browser.new_context(viewport={"width": 900, "height": 800})
    tab, wrong = context.new_page(), []
    tab.on("request", lambda request: None if request.url.startswith(served) else wrong.append(request.url))
    tab.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("dialog", lambda dialog: (wrong.append(f"alert: {dialog.message}"), dialog.dismiss())[1])
    tab.goto(served)
    yield tab
    context.close()
    assert not wrong


def test_a_conversation_in_a_browser(page: Page, talking: Speaker) -> None:
    expect(page.get_by_role("heading")).to_have_text("chat@60")
    expect(page.locator("header")).to_contain_text("CC0-1.0")
    page.get_by_label("Question").fill("怎样打开文件？")
    page.get_by_label("Question").press("Enter")
    said = page.locator(".assistant .said")
    expect(page.locator(".assistant .told")).to_contain_text("tokens/s")
    assert said.last.text_content() == spoken(talking, "怎样打开文件？", 16)[0]
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".assistant .told")).to_contain_text("tokens/s")
    assert page.locator(".turn").count() == 2
    page.get_by_role("button", name="New").click()
    assert page.locator(".turn").count() == 0


def test_what_a_model_writes_is_text(page: Page, talking: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = "<img src=x onerror=alert(1)><script>alert(2)</script> **a** \n\n  b"

    def wicked(self: object, *_: object, **__: object) -> Iterator[tuple[str, Said]]:
        yield bad, Said(bad, 3, 5, 0, True, 0.1)

    monkeypatch.setattr(Speaker, "answer", wicked)
    page.get_by_label("Question").fill("<b onclick=alert(3)>x</b>")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".assistant .told")).to_contain_text("tokens")
    assert page.locator(".assistant .said").text_content() == bad
    assert page.locator(".user .said").text_content() == "<b onclick=alert(3)>x</b>"
    assert page.locator("main img, main script, main b").count() == 0


def test_an_answer_can_be_stopped_and_the_model_answers_on(
    page: Page, talking: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()

    def endless(self: object, *_: object, **__: object) -> Iterator[tuple[str, Said]]:
        said = Said()
        try:
            while True:
                time.sleep(0.02)
                said.text, said.tokens = said.text + "a ", said.tokens + 1
                yield "a ", said
        finally:
            closed.set()

    with monkeypatch.context() as patch:
        patch.setattr(Speaker, "answer", endless)
        page.get_by_label("Question").fill("x?")
        page.get_by_label("Question").press("Enter")
        expect(page.locator(".assistant .said")).to_contain_text("a a a")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".assistant .told")).to_have_text("stopped")
        assert closed.wait(timeout=20)
    page.get_by_label("Question").fill("怎样打开文件？")
    page.get_by_label("Question").press("Enter")
    expect(page.locator(".assistant .told").last).to_contain_text("tokens/s")
