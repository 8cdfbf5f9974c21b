"""Two models' answers judged pair by pair: by the right answer, by a reward model, by an endpoint that is asked in both
orders, once each, and whose replies are kept.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from neo_assets.core.errors import BadInput, NeoError
from neo_assets.scores import judges
from neo_assets.scores.duel import STYLE, TEMPLATE, judged, rates
from neo_assets.scores.judges import ByEndpoint, ByReward, ByTarget, Meeting, Said
from training.templates import USER, Turn

SECRET = "sk-secret"
Reply = Callable[[str], str | int]


def meeting(key: str, a: str, b: str, target: str = "right", lang: str = "en", asked: str = "?") -> Meeting:
    return Meeting(key, lang, [Turn(USER, asked)], target, a, b)


@contextmanager
def endpoint(reply: Reply) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(address with its /v1, requests) of a server whose answer, or HTTP code, depends on what is asked."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
            told = reply(body["messages"][0]["content"])
            content = {"choices": [{"message": {"role": "assistant", "content": told}}]}
            self.send_response(told if isinstance(told, int) else 200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", heard
    finally:
        server.shutdown()
        thread.join(10)


def likes_the_longer(question: str) -> str:
    first, second = re.findall(r"\[Answer [12]\]\n(.*?)\n\n", question, flags=re.DOTALL)
    return "**1**" if len(first) > len(second) else "2." if len(second) > len(first) else "Tie"


MEETINGS = [
    meeting(key, a, b)
    for key, a, b in (("p", "long answer", "short"), ("q", "a", "bbb"), ("r", "ab", "cd"), ("s", "=", "="))
]


def test_an_endpoint_is_asked_in_both_orders_once_and_its_replies_are_kept(tmp_path: Path) -> None:
    replies = tmp_path / "duel.jsonl"
    with endpoint(likes_the_longer) as (url, heard):
        judge = ByEndpoint(url, "judge-1", SECRET, replies)
        assert judged(judge, MEETINGS) == [Said(0.0, True), Said(1.0, True), Said(0.5, True), Said(0.5)]
        assert len(heard) == 6 and {h["path"] for h in heard} == {"/v1/chat/completions"}  # of "=" nobody is asked
        assert {h["key"] for h in heard} == {f"Bearer {SECRET}"} and {h["temperature"] for h in heard} == {0}
        assert SECRET not in replies.read_text()
        kept = replies.read_text().splitlines()
        replies.write_text("\n".join(kept[:4]) + "\n" + kept[4][:20])  # killed while it wrote the fifth
        assert judged(judge, MEETINGS)[2] == Said(0.5, True) and len(heard) == 8
        assert judged(judge, MEETINGS)[0] == Said(0.0, True) and len(heard) == 8
        judged(ByEndpoint(url, "judge-2", None, replies), MEETINGS[:1])
        assert len(heard) == 10 and heard[-1]["key"] is None  # another model's replies are not its own
    rows = rates(MEETINGS, judged(judge, MEETINGS))
    assert rows[0]["B wins"] == 0.5 and rows[0]["same in both orders"] == 1.0


def test_a_judge_that_likes_what_stands_first_says_nothing_by_it(tmp_path: Path) -> None:
    with endpoint(lambda _: "1") as (url, _):
        said = judged(ByEndpoint(url, "m", None, tmp_path / "r.jsonl"), MEETINGS)
    assert said[:3] == [Said(0.5, False)] * 3
    assert rates(MEETINGS, said)[0]["same in both orders"] == 0.0


def test_what_is_no_verdict_is_counted_apart(tmp_path: Path) -> None:
    with endpoint(lambda q: "I cannot say which." if "short" in q else likes_the_longer(q)) as (url, _):
        said = judged(ByEndpoint(url, "m", None, tmp_path / "r.jsonl"), MEETINGS)
    assert said[0] == Said(None)
    row = rates(MEETINGS, said)[0]
    assert row["not said"] == 1 and row["B wins"] == round((1 + 0.5 + 0.5) / 3, 4)
    with pytest.raises(BadInput, match="the judge said nothing of en: none of 1 replies names an answer or a tie"):
        rates(MEETINGS[:1], said[:1])


def test_an_endpoint_that_is_busy_is_asked_again_and_one_that_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = iter([500, 429])
    with endpoint(lambda q: next(busy, None) or likes_the_longer(q)) as (url, heard):
        assert judged(ByEndpoint(url, "m", None, tmp_path / "a.jsonl"), MEETINGS[:1]) == [Said(0.0, True)]
        assert len(heard) == 4
    with endpoint(lambda _: 401) as (url, heard), pytest.raises(NeoError, match="refuses: HTTP 401"):
        judged(ByEndpoint(url, "m", SECRET, tmp_path / "b.jsonl"), MEETINGS[:1])

    def slowly_refused(question: str) -> str | int:
        if "bbb" in question:
            time.sleep(0.5)  # what is asked beside it is answered meanwhile
            return 401
        return likes_the_longer(question)

    with endpoint(slowly_refused) as (url, heard):
        judge = ByEndpoint(url, "m", None, tmp_path / "kept.jsonl")
        with pytest.raises(NeoError, match="refuses: HTTP 401"):
            judged(judge, [MEETINGS[1], MEETINGS[0]])  # the refused one is asked first: what came after it is kept
        answered = [asked for asked in heard if "bbb" not in str(asked["messages"])]
        assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == len(answered) > 0
    monkeypatch.setattr(judges, "ATTEMPTS", 2)
    with pytest.raises(NeoError, match=r"2 times; replies so far are in .*c.jsonl"):
        judged(ByEndpoint(url, "m", None, tmp_path / "c.jsonl"), MEETINGS[:1])  # nobody listens there any more
    (tmp_path / "d.jsonl").write_text('{"other": 1}\n')
    with pytest.raises(BadInput, match=r"d.jsonl holds no replies of a judge"):
        judged(ByEndpoint(url, "m", None, tmp_path / "d.jsonl"), MEETINGS[:1])


def test_the_right_answer_judges_by_what_is_shared_with_it() -> None:
    said = judged(ByTarget(), [meeting("p", "rig", "right"), meeting("q", "right", "wrong"), meeting("r", "x", "y")])
    assert [s.better for s in said] == [1.0, 0.0, 0.5]


def test_a_reward_model_judges_and_what_says_nothing_loses(tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    from tests.align.conversations import Words
    from tests.training.folders import SHAPE
    from training.model import build_scorer
    from training.templates import TEMPLATE

    words = Words.made(tmp_path / "words")
    shape = SHAPE.model_copy(update={"init_std": 0.5})
    model = build_scorer(shape, shape.vocab_rows(words.ids), seed=3)
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(1))
    setattr(model.config, TEMPLATE, "neo")
    model.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(words.folder).save_pretrained(tmp_path / "model")
    judge = ByReward("likes", tmp_path / "model")
    texts = [(f"a{i}", f"b {i}.") for i in range(12)]
    pairs = [meeting(str(i), *(both if i % 2 else both[::-1])) for i, both in enumerate(texts)]
    said = [s.better for s in judged(judge, [*pairs, meeting("x", "a", " "), meeting("y", "", "b")])]
    assert said[-2:] == [0.0, 1.0] and {0.0, 1.0} == set(said[:12])
    swapped = [Meeting(m.key, m.lang, m.turns, m.target, m.b, m.a) for m in pairs]
    assert [s.better for s in judged(judge, swapped)] == [1 - float(value or 0) for value in said[:12]]
    with pytest.raises(BadInput, match="cannot be asked for rewards"):
        judged(ByReward("x", words.folder), pairs)


def test_what_models_say_is_text_on_the_page() -> None:
    from neo_assets.pages.page import render

    evil = meeting("p", "<script>alert(1)</script>", "</td>ok", asked="<b>q</b>")
    values = {"a": "x@1", "b": "x@2", "judge": "j", "rows": rates([evil], [Said(1.0)]), "meetings": [(evil, Said(1.0))]}
    page = render(TEMPLATE, STYLE, values)
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "&lt;b&gt;q" in page
    assert "default-src 'none'" in page
