"""``contamination``: which evaluation items stand in the text that models are trained on.

Decontamination keeps a recipe's benchmarks out before training; this looks again afterwards, at what was really trained
on and for every item, those of held-out documents and of benchmarks added later among them. The same n-grams are looked
for as there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from neo_assets.core import records
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe.base import Section
from neo_assets.core.recipe.data import Decontamination
from neo_assets.core.shards import run_shards, total_bytes
from neo_assets.core.store import Artifact, Check, Outcome, Row, Workspace
from neo_assets.quality.decontaminated import Index, build_index, held_items
from neo_assets.text.searched import FLAGGED, Item, read_searched
from training.tasks import Task, read_tasks


class ContaminationInput(Section):
    """How items are looked for, by language: as the recipe's decontamination does. A language without it is not
    searched.
    """

    settings: dict[str, Decontamination]


def find_contamination(config: ContaminationInput, inputs: Mapping[str, Artifact], out: Workspace) -> Outcome:
    """Evaluation items found in the text that is trained on: each with the largest share of its n-grams that one
    document holds.

    An item counts as found above the recipe's `max_overlap`. Scores are told without such items beside the whole.
    """
    trained, sources = inputs["train_pool"], [made for name, made in inputs.items() if name != "train_pool"]
    asked = [
        (task, item)
        for source in sources
        for task, _ in read_tasks([source.path]).values()
        for item in _items(source, task)
    ]
    rows: list[Row] = []
    flagged: dict[str, list[str]] = {}
    found: list[dict[str, object]] = []
    for lang, settings in sorted(config.settings.items()):
        mine = [(task, item) for task, item in asked if task.lang == lang]
        index = build_index([item for _, item in mine], settings)
        shares = _search(index, trained.files(records.PART), out)
        too_short = set(index.too_short)
        for task in sorted({task.name for task, _ in mine}):
            names = [item[0] for t, item in mine if t.name == task]
            hits = sorted(name for name in names if shares.get(name, 0.0) > settings.max_overlap)
            flagged[task] = [name.partition("/")[2] for name in hits]
            found += [{"task": task, "item": name.partition("/")[2], "share": round(shares[name], 4)} for name in hits]
            searched = sum(name not in too_short for name in names)
            rows.append({"task": task, "lang": lang, "items": len(names), "looked_for": searched, "found": len(hits)})
    out.write_text(FLAGGED, json.dumps(flagged, ensure_ascii=False, indent=1))
    out.write_text("found.json", json.dumps(found, ensure_ascii=False, indent=1))
    return Outcome(
        digest=digest_json(flagged),
        numbers={"items": sum(int(str(r["items"])) for r in rows), "found": sum(map(len, flagged.values()))},
        tables={"items in the training text": rows},
        checks=[
            Check(
                name="searched",
                passed=bool(config.settings),
                detail=f"{', '.join(sorted(config.settings)) or 'no language'}",
                blocking=False,
            )
        ],
    )


def _items(source: Artifact, task: Task) -> list[Item]:
    """What is looked for: a benchmark's own texts, or what a held-out task asks together with what is right."""
    if source.key == "benchmark_items":
        return read_searched(source, [task.name])
    out: list[Item] = []
    for line in source.file(task.file).read_text(encoding="utf-8").split("\n"):
        if line:
            item = json.loads(line)
            text = (
                f"{item['turns'][-1]['text']}\n{item['target']}"
                if task.kind == "chat"
                else item.get("text")
                or f"{item.get('context') or item.get('source')}{task.delimiter}{item['choices'][item['answer']]}"
            )
            out.append((f"{task.name}/{item['id']}", text, ""))
    return out


def _search(index: Index, files: list[Path], out: Workspace) -> dict[str, float]:
    """The largest share of each item's n-grams in one document of these files."""
    folder = out.path / ".logs" / digest_json(sorted(item.name for item in index.items))[:16]
    folder.mkdir(parents=True, exist_ok=True)
    run_shards(
        partial(_search_file, index, folder),
        files,
        out,
        writes=lambda file: folder / f"{file.stem}.json",
        input_bytes=total_bytes(files),
    )
    best: dict[str, float] = defaultdict(float)
    for file in folder.glob("*.json"):
        for name, share in json.loads(file.read_text(encoding="utf-8")).items():
            best[name] = max(best[name], share)
    return best


def _search_file(index: Index, folder: Path, file: Path) -> None:
    table = records.read_table(file, records.DOCUMENT, ["text"])
    best: dict[str, float] = defaultdict(float)
    for shares in held_items(table.column("text"), index).values():
        for name, share in shares.items():
            best[name] = max(best[name], share)
    records.write_text(folder / f"{file.stem}.json", json.dumps(best, ensure_ascii=False))
