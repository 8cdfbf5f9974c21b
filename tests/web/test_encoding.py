"""Pages are decoded as browsers decode them, and better where a page lies."""

from __future__ import annotations

import pytest

from neo_assets.web.encoding import decode_html

HONG_KONG = "佢哋喺呢度嘅文章，裡面有好多香港字：嘢、咗、啲、冇、睇、攞、瞓、𨋢。"
TAIWAN = "宏碁在這裏說：永恒的銹與粧，恒春的墻嫺碁。里面有許多漢字，可供測試之用。"
MAINLAND = "里面有许多汉字，读起来并不费力。镕、玥、喆、囍、㙍也在其中。"
JAPANESE = "①から⑳まで、髙﨑さんは㈱日本で~と∥を使う。ここには漢字とかながあります。"
KOREAN = "똠방각하와 펲시콜라, 믜와 뷁이 있는 글이다. 이것은 시험을 위한 문장이다."
FRENCH = "« Où est-ce ? » — l'élève paya 5 € à l’œuvre."


def page(text: str, label: str = "") -> str:
    meta = f'<meta charset="{label}">' if label else ""
    return f"<html><head>{meta}<title>t</title></head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize(
    ("text", "codec", "header", "meta"),
    [
        (TAIWAN, "cp950", "big5", ""),
        (TAIWAN, "cp950", "", "big5"),
        (TAIWAN, "cp950", "Big5-HKSCS", ""),
        (HONG_KONG, "big5hkscs", "big5", ""),
        (HONG_KONG, "big5hkscs", "", "big5-hkscs"),
        (JAPANESE, "cp932", "shift_jis", ""),
        (JAPANESE, "cp932", "", "x-sjis"),
        (KOREAN, "cp949", "euc-kr", ""),
        (KOREAN, "cp949", "ks_c_5601-1987", ""),
        (MAINLAND, "gb18030", "gb2312", ""),
        (MAINLAND, "gb18030", "", "gbk"),
        (MAINLAND, "gb18030", "iso-8859-1", "gbk"),  # a server's default, over what the page says of itself
        (TAIWAN, "cp950", "windows-1252", "big5"),
        (KOREAN, "cp949", "latin1", "euc-kr"),
        (MAINLAND, "utf-8", "gb2312", "gb2312"),
        (MAINLAND, "gb18030", "utf-8", "utf-8"),
        (FRENCH, "cp1252", "iso-8859-1", ""),
        (FRENCH, "cp1252", "", "windows-1252"),
        (FRENCH, "utf-8", "iso-8859-1", "iso-8859-1"),
    ],
)  # fmt: skip
def test_labels_mean_what_they_mean_to_browsers(text: str, codec: str, header: str, meta: str) -> None:
    html = page(text, meta)
    read, name = decode_html(html.encode(codec), f"text/html; charset={header}" if header else "text/html")
    assert text in read, (name, read[-120:])


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        (TAIWAN, "cp950", "big5"),
        (MAINLAND, "gb18030", "gb2312"),
        (KOREAN, "cp949", "euc-kr"),
        (MAINLAND, "utf-8", "utf-8"),
    ],
)  # fmt: skip
def test_a_few_bad_bytes_do_not_make_a_page_another_s(text: str, codec: str, label: str) -> None:
    sound = page(text * 20, label).encode(codec)
    at = sound.index(text.encode(codec)) + len(text.encode(codec)) * 3
    broken = sound[:at] + b"\xff" + sound[at:]
    read, name = decode_html(broken, "text/html")
    assert name == codec and read.count(text) >= 18 and 1 <= read.count("\ufffd") <= 2


def test_escapes_are_no_proof_of_utf_8() -> None:
    text = "ここには漢字とかながあります。"
    read, name = decode_html(page(text, "utf-8").encode("iso2022_jp"), "text/html; charset=iso-2022-jp")
    assert text in read and name.startswith("iso2022")


def test_a_declaration_that_fits_nowhere_is_not_believed() -> None:
    assert MAINLAND in decode_html(page(MAINLAND).encode("gb18030"), "text/html; charset=utf-8")[0]
    assert FRENCH in decode_html(page(FRENCH).encode("cp1252"), "text/html; charset=utf-8")[0]


def test_a_page_cut_inside_a_character_is_whole_before_it() -> None:
    for text, codec, label in ((MAINLAND, "gb18030", "gbk"), (TAIWAN, "cp950", "big5"), (JAPANESE, "cp932", "sjis")):
        payload = page(text * 3, label).encode(codec)
        cut = payload[: payload.rindex(text[-1].encode(codec)) + 1]
        read, name = decode_html(cut, "")
        assert name == codec and "\ufffd" not in read and text * 2 in read
