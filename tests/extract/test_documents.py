"""Documents have sound text, a language that can be trusted, and each id once."""

from pathlib import Path

import pytest
from pages import DOCUMENTS, INPUT, documents, given, verdicts_of

from neo_assets.core.records import DOCUMENT, read_table, rows
from neo_assets.core.store import Artifact
from neo_assets.extract.language import identify
from neo_assets.extract.repair import repaired

ENGLISH = "Free software is a matter of the users' freedom to run, copy, distribute, study, change and improve it."
SIMPLIFIED = "自由软件是指用户可以自由地运行、复制、分发、学习、修改并改进的软件，这些权利由许可证保证。"
TRADITIONAL = "自由軟體是指使用者可以自由地執行、複製、散佈、學習、修改並改進的軟體，這些權利由授權條款保證。"
JAPANESE = (
    "自由ソフトウェアとは、利用者が自由に実行し、複製し、配布し、研究し、変更し、"
    "改良することができるソフトウェアのことです。"
)


def made_rows(artifact: Artifact) -> dict[str, dict[str, object]]:
    return {str(row["url"]): row for path in artifact.files("part-") for row in rows(read_table(path, DOCUMENT))}


@pytest.mark.parametrize(
    ("text", "lang", "script"),
    [
        (ENGLISH, "en", ""),
        (SIMPLIFIED, "zh", "Hans"),
        (TRADITIONAL, "zh", "Hant"),
        (JAPANESE, "ja", ""),
        ("OK 42", "und", ""),
        ("1234 5678 " * 20, "und", ""),
        ("", "und", ""),
        ("Logiciel libre désigne des logiciels qui respectent la liberté des utilisateurs.", "fr", ""),
        # More Latin letters than Han ones, as in technical Chinese.
        ("使用 apt-get install debian-handbook 命令即可安装该手册的软件包，然后运行 dpkg-reconfigure", "zh", "Hans"),
    ],
)
def test_languages_are_told(text: str, lang: str, script: str) -> None:
    found = identify(text, DOCUMENTS)
    assert (found.lang, found.script) == (lang, script)
    assert 0 <= found.score <= 1 and (found.score > 0.3) == (lang != "und")


def test_nothing_is_japanese_without_kana(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neo_assets.extract.language._guesses", lambda _: {"ja": 0.8, "zh": 0.15})
    assert identify("格式 format matrix newline csup lsup 矩阵", DOCUMENTS).lang == "zh"


def test_kana_veto_a_chinese_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neo_assets.extract.language._guesses", lambda _: {"zh": 0.9})
    assert identify(JAPANESE, DOCUMENTS).lang == "ja"


@pytest.mark.parametrize(
    ("broken", "sound"),
    [
        ("schÃ¶n und grÃ¼n", "schön und grün"),
        (SIMPLIFIED.encode().decode("latin-1"), SIMPLIFIED),
        ("a\x00b\x1fc\x9dé\ufeff", "abcé"),
        ("a\ud800bé", "abé"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("e\u0301", "é"),
    ],
)
def test_broken_text_is_repaired(broken: str, sound: str) -> None:
    assert repaired(broken) == sound


@pytest.mark.parametrize(
    "text",
    [
        SIMPLIFIED,
        TRADITIONAL,
        JAPANESE,
        "ＡＢＣ（全角）",
        "“curly” ‘quotes’ — ﬁne",
        "ÉÏº£ÊÐABC",
        "a\tb\n\n  c",
        "Größe ÄÖÜß, naïve café",
    ],
)
def test_sound_text_stays_as_it_is(text: str) -> None:
    assert repaired(text) == text


def test_every_document_is_complete_and_an_edit_has_its_verdict(tmp_path: Path) -> None:
    made = documents(
        tmp_path,
        given(
            tmp_path,
            [
                [("http://a.example/1", ENGLISH), ("http://a.example/2", "schÃ¶n " + ENGLISH)],
                [("http://a.example/3", SIMPLIFIED)],
            ],
        ),
    )
    found = made_rows(made)
    assert found["http://a.example/2"]["text"] == "schön " + ENGLISH
    for row in found.values():
        assert (row["source"], row["licence"], row["cluster_id"]) == ("test", "CC0-1.0", row["doc_id"])
    verdicts = {v["doc_id"]: v for v in verdicts_of(made)}
    edited = verdicts[found["http://a.example/2"]["doc_id"]]
    assert (edited["verdict"], edited["rule"], edited["stage"]) == ("edited", "encoding_repaired", "documents/test")
    assert sorted(v["verdict"] for v in verdicts.values()) == ["edited", "kept", "kept"] and all(
        c.passed for c in made.verdict
    )
    for path in made.files("part-"):
        ids = read_table(path)["doc_id"].to_pylist()
        assert ids == sorted(ids)


def test_a_document_that_comes_twice_is_kept_once(tmp_path: Path) -> None:
    one, two = ("http://a.example/1", ENGLISH), ("http://a.example/2", ENGLISH)
    made = documents(tmp_path, given(tmp_path, [[one, two, one], [one]]))
    assert len(made_rows(made)) == 2
    dropped = [v for v in verdicts_of(made) if v["verdict"] == "dropped"]
    assert [(v["rule"], v["twin"] == v["doc_id"]) for v in dropped] == [("same_document", True)] * 2
    assert (made.manifest.rows_in, made.manifest.rows_kept, made.manifest.rows_dropped) == (4, 2, 2)


def test_a_change_in_one_language_leaves_the_digest_of_others_alone(tmp_path: Path) -> None:
    english, chinese = ("http://a.example/1", ENGLISH), ("http://a.example/2", SIMPLIFIED)
    first = documents(tmp_path, given(tmp_path, [[english, chinese]], "a")).manifest
    cut_otherwise = documents(tmp_path, given(tmp_path, [[chinese], [english]], "b"), label="b").manifest
    changed = documents(
        tmp_path, given(tmp_path, [[english, ("http://a.example/2", SIMPLIFIED * 2)]], "c"), label="c"
    ).manifest
    assert set(first.parts) == {"en", "zh"}
    assert (first.digest, first.parts) == (cut_otherwise.digest, cut_otherwise.parts)
    assert (
        changed.parts["en"] == first.parts["en"]
        and changed.parts["zh"] != first.parts["zh"]
        and changed.digest != first.digest
    )


def test_languages_are_counted_by_documents_and_characters(tmp_path: Path) -> None:
    made = documents(
        tmp_path,
        given(
            tmp_path,
            [[("http://a.example/1", ENGLISH), ("http://a.example/2", SIMPLIFIED), ("http://a.example/3", ENGLISH)]],
        ),
        INPUT,
    )
    table = {row["lang"]: (row["documents"], row["characters"]) for row in made.manifest.tables["languages"]}
    assert table == {"en": (2, 2 * len(ENGLISH)), "zh": (1, len(SIMPLIFIED))}
