"""Texts a lossless tokenizer must bring back unchanged; written for this purpose."""

PROBES = {
    "english": "The crawler waited, politely; then it fetched 1,024 pages (2.5 MB) at 10:45.",
    "chinese simplified": "语言模型由数据构成：先抓取网页，再清洗、去重，最后训练。共３篇，计１２３４字！",
    "chinese traditional": "語言模型由資料構成：先抓取網頁，再清洗、去重，最後訓練。",
    "mixed": "用 Python 3.11 运行 `make demo`，然后打开 UI。",
    "code": (
        "def f(xs: list[int]) -> int:\n    if not xs:\n        return 0\n\treturn sum(x ** 2 for x in xs)  # tab"
        ' above\n\n\nprint(f([1, 2]), "ok\\n")\n'
    ),
    "leading spaces": "    four spaces first",
    "trailing spaces": "two spaces last  ",
    "runs of spaces": "a  b   c    d",
    "tabs and newlines": "a\tb\n\n\nc\r\nd",
    "only spaces": "   ",
    "full-width": "ＡＢＣ，（全角）　空格",
    "emoji and rare": "🙂👩‍🚀 𠮷野家 ﬁ ½ Å",
    "zero width": "a\u200bb\ufeffc",
}
