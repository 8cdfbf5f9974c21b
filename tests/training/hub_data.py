"""Small data sets of ours in the form and under the names of those on the hub, as a person would put them into
`data/benchmarks`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

ANIMALS = [
    "horse",
    "salmon",
    "sparrow",
    "beetle",
    "lizard",
    "otter",
    "raven",
    "trout",
    "wasp",
    "tortoise",
    "badger",
    "heron",
]
SUBJECTS = [
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
]


def write_dataset(root: Path, name: str, configs: Mapping[str, Mapping[str, Sequence[Mapping[str, object]]]]) -> Path:
    """``configs``: config -> split -> records. A README with front matter tells the `datasets` library what is what."""
    folder = root / name
    front = ["---", "configs:"]
    for config, splits in configs.items():
        front += [f"- config_name: {config}", "  data_files:"]
        for split, records in splits.items():
            file = folder / config / f"{split}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
            front += [f"  - split: {split}", f"    path: {config}/{split}.jsonl"]
    (folder / "README.md").write_text("\n".join([*front, "---", ""]), encoding="utf-8")
    return folder


def arc(n: int, start: int = 0) -> list[dict[str, object]]:
    return [
        {
            "id": f"q{i}",
            "question": f"Which of these animals is number {i} on our list?",
            "choices": {"text": [ANIMALS[(i + k) % len(ANIMALS)] for k in range(4)], "label": ["A", "B", "C", "D"]},
            "answerKey": "ABCD"[i % 4],
        }
        for i in range(start, start + n)
    ]


def sums(n: int, start: int = 0) -> list[dict[str, object]]:
    return [
        {
            "question": f"A farmer has {i} {ANIMALS[i % 12]}s and buys {i + 2}. How many?",
            "answer": f"{i} + {i + 2} = {2 * i + 2}\n#### {2 * i + 2}",
        }
        for i in range(start, start + n)
    ]


def write_hub_folder(root: Path) -> Path:
    """ARC-Challenge, GSM8K and MATH (a group of seven), a few records of ours each."""
    write_dataset(
        root, "allenai/ai2_arc", {"ARC-Challenge": {"train": arc(8, 100), "validation": arc(4, 200), "test": arc(24)}}
    )
    write_dataset(root, "openai/gsm8k", {"main": {"train": sums(8, 50), "test": sums(4)}})
    problems = {
        s: {
            p: [
                {
                    "problem": f"What is {i} plus {k}?",
                    "solution": f"It is $\\boxed{{{i + k}}}$.",
                    "level": "1",
                    "type": s,
                }
                for i in range(2)
            ]
            for p in ("train", "test")
        }
        for k, s in enumerate(SUBJECTS)
    }
    write_dataset(root, "EleutherAI/hendrycks_math", problems)
    return root
