"""How prompts that are made here are worded, in the language of their answer, several ways each."""

from __future__ import annotations

from neo_assets.tasks.drawing import keyed
from training.templates import ASSISTANT, USER, Turn

PHRASES = {
    "title": {
        "en": ("What would be a title for this text?\n\n{text}", "Give this text a title:\n\n{text}"),
        "zh": ("下面这段文字的标题可以是什么？\n\n{text}", "给下面这段文字起一个标题：\n\n{text}"),
    },
    "define": {
        "en": ("What is “{text}”?", "Tell me about “{text}”."),
        "zh": ("什么是“{text}”？", "介绍一下“{text}”。"),
    },
    "translate": {
        "en": ("Translate into English: {text}", "How do you say “{text}” in English?"),
        "zh": ("翻译成中文：{text}", "“{text}”用中文怎么说？"),
    },
    "section": {
        "en": ("What is this text about?\n\n{text}", "Which program or book is this from?\n\n{text}"),
        "zh": ("这段文字说的是什么？\n\n{text}", "下面的文字出自哪个程序或哪本书？\n\n{text}"),
    },
    "language": {
        "en": ("What language is this text in?\n\n{text}", "Which language is this?\n\n{text}"),
        "zh": ("下面的文字是什么语言？\n\n{text}", "这是哪种语言？\n\n{text}"),
    },
}
"""By task and language of the answer."""
NAMES = {"en": {"en": "English.", "zh": "Chinese."}, "zh": {"en": "英文。", "zh": "中文。"}}
"""What languages are called, by the language that says it."""


def asked(task: str, text: str, answer: str, lang: str) -> list[Turn]:
    """A prompt of this task about a text, and its answer; a keyed hash of the text chooses the wording."""
    ways = PHRASES[task][lang]
    way = ways[int(keyed(0, task, lang, text)[:8], 16) % len(ways)]
    return [Turn(USER, way.format(text=text)), Turn(ASSISTANT, answer)]


def translation(source: str, target: str, lang: str) -> list[Turn]:
    """A sentence to be translated into ``lang``, and its translation."""
    return asked("translate", source, target, lang)
