"""What each task asks, in one sentence, for pages that people read."""

from __future__ import annotations

import re

from neo_assets.pages.page import LANGUAGES

SENTENCES = {
    "bits_per_byte": "How many bits the model needs on average for a byte of held-out text: fewer is better.",
    "next_sentence": "Which of several sentences goes on a held-out text; the wrong ones are of other documents.",
    "cloze": "Which of several words was left out of a held-out sentence.",
    "translation": "Which of several held-out lines is the translation of the one that is shown.",
    "general": "Forty questions of everyday knowledge, written for this project, four answers each.",
    "hsk": "Which of several sentences of a Chinese course is the translation of the one that is shown.",
    "poems": "Which of several lines comes next in a Tang or Song poem.",
    "arithmetic": "The result of a sum, difference or product of whole numbers, written out.",
    "gsm8k": "Word problems of primary school, answered by a number after some reasoning (GSM8K).",
    "math": "Problems of mathematics competitions, answered by an expression (MATH).",
    "boolq": "Whether a question about a passage is answered by yes or by no (BoolQ).",
    "piqa": "Which of two ways to do an everyday thing works (PIQA).",
    "social_iqa": "What a person feels, wants or does next in a social situation, three answers (Social IQa).",
    "hellaswag": "Which of four endings a description of an activity goes on with (HellaSwag).",
    "winogrande": "Which of two names a pronoun-like gap means (WinoGrande).",
    "arc_challenge": "Science questions of school exams, the harder set, mostly four answers (ARC).",
    "arc_easy": "Science questions of school exams, the easier set, mostly four answers (ARC).",
    "openbookqa": "Science questions that need a fact and common sense, four answers (OpenBookQA).",
    "commonsense_qa": "Questions of common sense, five answers (CommonsenseQA).",
    "mmlu": "Exam questions of 57 subjects, four answers (MMLU).",
    "ceval": "Chinese exam questions of 52 subjects, four answers (C-Eval).",
    "cmmlu": "Chinese questions of 67 subjects, four answers (CMMLU).",
    "nq_open": "Short answers to questions that people asked a search engine (Natural Questions, open).",
    "triviaqa": "Short answers to trivia questions (TriviaQA).",
    "squadv2": "The words of a passage that answer a question, or that it has no answer there (SQuAD 2.0).",
    "humaneval": "Python functions from their docstrings, judged by running them (HumanEval).",
    "humaneval_plus": "HumanEval with many more tests for each function (EvalPlus).",
    "mbpp": "Small Python programs from a sentence, judged by running them (MBPP).",
    "mbpp_plus": "MBPP with many more tests for each program (EvalPlus).",
}


def explained(task: str) -> str:
    """A sentence for a task's name, whatever language, direction or number of items it ends with; '' for others'."""
    first = re.search(r"_(\d+)$", task)
    name = task[: first.start()] if first else task
    languages: list[str] = []
    while name not in SENTENCES and (found := re.fullmatch(r"(.+)_([a-z]{2})", name)):
        name, lang = found.groups()
        languages.insert(0, LANGUAGES.get(lang, lang))
    if name not in SENTENCES:
        return ""
    told = SENTENCES[name]
    if len(languages) == 2:
        told += f" From {languages[0]} into {languages[1]}."
    elif languages:
        told += f" {languages[0]}."
    return told + (f" The first {first[1]} items." if first else "")
