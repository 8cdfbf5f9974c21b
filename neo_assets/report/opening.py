"""The first screen of the report: what was made, from what, how it went, and what it writes; all else is below."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from neo_assets.core.scalars import is_number, real
from neo_assets.core.store import Artifact, Scalar
from neo_assets.core.words import amount, at, number, size
from neo_assets.pages.charts import drawing
from neo_assets.pages.page import LANGUAGES
from neo_assets.report.conversations import answers_shown
from neo_assets.report.page import Bar, Ref, Written, of_kind, refs
from neo_assets.report.run_lines import RunLine, measured
from neo_assets.report.scores import read_scores, with_white_space_shown
from neo_assets.scores.gates import verdict_in_words

LOSS = (440, 150)
"""Width and height of the opening's chart."""
GROUPS = 3
"""Kinds of questions of each language whose first answers the opening shows."""
SHOWN = 220
"""Characters of a continuation that the opening shows; all of it stands among the samples."""


@dataclass(frozen=True)
class Number:
    """One of the figures that matter: ``note`` says what it is held against."""

    value: str
    what: str
    note: str = ""


@dataclass(frozen=True)
class Gate:
    name: str
    verdict: str  # pass, warning, REFUSED
    why: str


@dataclass(frozen=True)
class Opening:
    card: Sequence[tuple[str, str]]
    numbers: Sequence[Number]
    loss: Markup | None
    funnel: Sequence[Bar]
    gates: Sequence[Gate]
    written: Sequence[Written]
    scores_page: Ref | None
    refs: Sequence[Ref] = field(default_factory=tuple)
    written_is: str = ""

    @property
    def widest(self) -> int:
        return max((bar.rows_in for bar in self.funnel), default=0) or 1


def opening(inputs: Mapping[str, Artifact], lines: Sequence[RunLine], funnel: Sequence[Bar]) -> Opening:
    """What a person who opens the page sees first; whatever has not been built is left out."""
    charts, _ = measured([line for line in lines if not line.tuned], LOSS)
    answers = answers_shown(inputs, GROUPS)
    comparison = inputs.get("comparison")
    used = [inputs[name] for name in ("matrix", "tokenizer", "fertility", "comparison") if name in inputs] + [
        line.trained for line in lines if line.trained
    ]
    return Opening(
        _card(inputs, lines),
        _numbers(inputs, lines),
        drawing(charts[0]) if charts else None,
        funnel,
        [Gate(c.name, verdict_in_words(c), c.detail) for c in (comparison.verdict if comparison else ())],
        answers or _written(inputs, lines),
        Ref(comparison.key, comparison.fingerprint) if comparison else None,
        refs(used),
        "How it answers held-out questions" if answers else _writes(inputs, lines),
    )


def _writes(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> str:
    """What is shown of what it writes: its first checkpoint was not trained yet, where that was evaluated."""
    first = next((step for line in lines for step in _steps_written(inputs, line)), None)
    return (
        "What it writes, untrained and after each phase"
        if first == 0
        else "What it writes, at the first and the last checkpoint that was asked, of each phase"
    )


def _steps_written(inputs: Mapping[str, Artifact], line: RunLine) -> list[int]:
    artifact = inputs.get(f"evaluation/{line.name}")
    if artifact is None or "samples.json" not in artifact.manifest.files:
        return []
    return sorted({int(row["step"]) for row in json.loads(artifact.file("samples.json").read_text(encoding="utf-8"))})


def _of(artifact: Artifact | None, name: str) -> Scalar:
    return artifact.manifest.numbers.get(name) if artifact else None


def _card(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> list[tuple[str, str]]:
    """A model card in five lines."""
    card = []
    plan = next(iter(of_kind(inputs, "run_plan").values()), None)
    if plan is not None:
        run = plan.manifest.made_from.config.get("run")
        shape = run.get("model") if isinstance(run, dict) else None
        told = f"{amount(real(_of(plan, 'parameters') or 0))} parameters"
        if isinstance(shape, dict):
            told += f", {shape['layers']} layers of {shape['hidden']}"
            told += ", tied embeddings" if shape.get("tied_embeddings") else ""
        card.append(("Model", told))
    if (matrix := inputs.get("matrix")) is not None:
        licences = sorted({str(_of(s, "licence")) for s in of_kind(inputs, "sources").values()})
        card.append(
            (
                "Text",
                f"{number(real(_of(matrix, 'documents') or 0))} documents, {size(real(_of(matrix, 'bytes') or 0))},"
                f" {_listed([LANGUAGES.get(lang, lang) for lang in sorted(of_kind(inputs, 'clean_docs'))])};"
                f" licence{'s' if len(licences) > 1 else ''} {', '.join(licences)}",
            )
        )
    if (tokenizer := inputs.get("tokenizer")) is not None:
        fertility = inputs.get("fertility")
        characters = [
            f"{number(real(value))} {LANGUAGES.get(lang, lang)}"
            for lang in LANGUAGES
            if is_number(value := _of(fertility, f"characters_per_token_{lang}"))
        ]
        pieces = f"{number(real(_of(tokenizer, 'pieces') or 0))} pieces"
        card.append(("Tokenizer", pieces + (f"; characters a token: {', '.join(characters)}" if characters else "")))
    trained = [line for line in lines if line.trained and not line.tuned]
    if trained:
        runs = [
            f"{line.name} {number(_steps(line))} steps" + (f" from {line.parent}" if line.parent else "")
            for line in trained
        ]
        card.append(("Training", f"{'; '.join(runs)}; {amount(_tokens(trained))} tokens in all"))
    if tuned := [line for line in lines if line.trained and line.tuned]:
        runs = [
            f"{line.name} {number(real(_of(line.trained, 'steps') or 0))} steps from {line.parent}" for line in tuned
        ]
        answers, pairs = ([line for line in tuned if line.of_pairs is kind] for kind in (False, True))
        amounts = [f"{amount(_tokens(answers))} tokens of answers and replayed text"] if answers else []
        amounts += [f"{amount(_tokens(pairs))} pairs of answers"] if pairs else []
        card.append(("Fine-tuning", "; ".join([*runs, *amounts])))
    if held := inputs.get("heldout"):
        documents = sum(
            int(real(v)) for n, v in held.manifest.numbers.items() if n.startswith("documents_") and is_number(v)
        )
        card.append(("Held out", f"{number(documents)} documents, {size(real(_of(held, 'text_bytes') or 0))}"))
    return card


def _steps(line: RunLine) -> float:
    """Of a run; of one that goes on from itself as it was, those before as well, which no other line has."""
    last = None if line.parent else _of(line.trained, "last_step")
    return real(last or _of(line.trained, "steps") or 0)


def _tokens(trained: Sequence[RunLine]) -> float:
    return sum(real(_of(line.trained, "trained_tokens") or 0) for line in trained)


def _numbers(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> list[Number]:
    """Five figures: of the last run, what its first measure is in each language, and what it is held against."""
    out = []
    evaluated = [line for line in lines if f"evaluation/{line.name}" in inputs]
    if evaluated:
        last = evaluated[-1]
        before = _before(inputs, evaluated, last)
        for (task, metric), rows in read_scores(inputs[f"evaluation/{last.name}"]).items():
            if not rows[-1].main or rows[-1].higher_is_better:
                continue
            then = before.get((task, metric)) or ("", rows[0].value if len(rows) > 1 else None)
            note = f"{then[0] or 'untrained'}: {number(then[1])}" if then[1] is not None else ""
            out.append(Number(number(round(rows[-1].value, 3)), _in_words(task), note))
    trained = [line for line in lines if line.trained and not line.tuned]
    pages = sum(real(_of(c, "pages") or 0) for c in of_kind(inputs, "raw_crawl").values())
    if (pool := inputs.get("train_pool")) and pool.manifest.rows_kept is not None:
        out.append(Number(number(pool.manifest.rows_kept), "documents to train on", f"of {number(pages)} fetched"))
    elif matrix := inputs.get("matrix"):  # those held out are among them
        out.append(Number(number(real(_of(matrix, "documents") or 0)), "documents kept", f"of {number(pages)} fetched"))
    if trained:
        steps = sum(
            real(_of(line.trained, "last_step") or 0) for line in trained
        )  # with those of what it branches from
        out.append(Number(amount(_tokens(trained)), "tokens trained on", f"{number(steps)} steps"))
    if comparison := inputs.get("comparison"):
        said = Counter(map(verdict_in_words, comparison.verdict))
        judged = len(comparison.verdict) - said["nothing"]
        note = f"{said['nothing']} had nothing to check" if said["nothing"] else ""
        out.append(Number(f"{said['pass']} of {judged}", "gates pass", note))
    return out[:5]


def _in_words(task: str) -> str:
    """A measure's name for people: bits per byte, English."""
    named = re.fullmatch(r"(.+)_([a-z]{2})(?:_\d+)?", task)
    what, lang = named.groups() if named else (task, "")
    return what.replace("_", " ") + (f", {LANGUAGES.get(lang, lang)}" if lang else "")


def _before(
    inputs: Mapping[str, Artifact], evaluated: Sequence[RunLine], last: RunLine
) -> dict[tuple[str, str], tuple[str, float]]:
    """Scores of the last checkpoint of a run's parent, with the name of that checkpoint."""
    if last.parent not in {line.name for line in evaluated}:
        return {}
    return {
        key: (f"{last.parent}@{rows[-1].step}", rows[-1].value)
        for key, rows in read_scores(inputs[f"evaluation/{last.parent}"]).items()
    }


def _written(inputs: Mapping[str, Artifact], lines: Sequence[RunLine]) -> list[Written]:
    """For the first prompt of each language what the first checkpoint and the last one of every run wrote."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for line in lines:
        artifact = inputs.get(f"evaluation/{line.name}")
        if artifact is None or "samples.json" not in artifact.manifest.files:
            continue
        rows = json.loads(artifact.file("samples.json").read_text(encoding="utf-8"))
        steps = sorted({int(row["step"]) for row in rows})
        shown = steps if len(steps) < 3 else [steps[0], steps[-1]]
        for row in sorted(rows, key=lambda r: int(r["step"])):
            if int(row["step"]) in shown:
                text = with_white_space_shown(str(row["continuation"])).replace("\n", " ")
                text = text if len(text) <= SHOWN else text[:SHOWN] + " …"
                name = at(line.name, str(row["checkpoint"]))
                found.setdefault((str(row["lang"]), str(row["prompt"])), []).append((name, text))
    first: dict[str, Written] = {}
    for (lang, prompt), continuations in found.items():
        first.setdefault(lang, Written(lang, prompt, continuations))
    return list(first.values())


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
