"""Fetch what a machine with torch and a GPU, and no network, lacks: ``python -m benchmarks.gpu.pack FOLDER``, run where
there is one.

Wheels of the few packages that the programs import, without torch and what comes with it. There: ``pip install
--no-index --no-deps FOLDER/*``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from neo_assets.core.fingerprint import ROOT

WANTED = (
    "deepspeed", "transformers", "tokenizers", "safetensors", "huggingface-hub", "regex", "pyarrow", "pydantic",
    "pydantic-core", "annotated-types",
    "typing-inspection", "xxhash", "PyYAML", "hjson", "msgpack", "ninja", "py-cpuinfo", "einops", "psutil", "tqdm",
    "packaging", "tenacity",
)  # fmt: skip


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {
        name.lower().replace("_", "-"): version
        for name, _, version in (line.partition("==") for line in lines)
        if version
    }


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else sys.exit("usage: python -m benchmarks.gpu.pack FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    versions = pinned()
    wanted = [f"{name}=={versions[name.lower()]}" for name in WANTED]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            *wanted,
        ],
        check=True,
    )
    size = sum(p.stat().st_size for p in folder.iterdir())
    print(f"{len(list(folder.iterdir()))} packages, {size / 1e6:,.0f} MB in {folder}")


if __name__ == "__main__":
    main()
