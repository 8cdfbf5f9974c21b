"""What a store on object storage costs: ``python -m benchmarks.object_storage [DELAY_MS]`` (20).

An S3 protocol server of this machine (moto's, with that delay on every answer) beside the same work in a folder, and
beside obstore alone for a large file. Requests are counted by the server.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

from neo_assets.core.disk import make_disk
from neo_assets.core.objects import Objects
from neo_assets.core.store import MadeFrom, Outcome, Store, Workspace
from tests.servers import S3

URL = f"{S3.BUCKET}/bench"
FILES, SIZE, ARTIFACTS, LARGE = 1000, 20_000, 1000, 512 << 20


def made_from(**config: object) -> MadeFrom:
    return MadeFrom(config=config, code={}, libraries={}, inputs={})


def many(out: Workspace) -> Outcome:
    for i in range(FILES):
        (out.path / f"part-{i:05d}.bin").write_bytes(os.urandom(SIZE))
    return Outcome(digest="d")


def one(out: Workspace) -> Outcome:
    out.write_text("told.txt", "told")
    return Outcome(digest="d")


def large(out: Workspace) -> Outcome:
    block = os.urandom(1 << 20)
    with (out.path / "large.bin").open("wb") as stream:
        for _ in range(LARGE >> 20):
            stream.write(block)
    return Outcome(digest="d")


def main(delay: float) -> None:
    os.environ["S3_DELAY_MS"] = str(delay)
    with tempfile.TemporaryDirectory() as place, S3(Path(place)) as server:
        os.environ |= {name: value for name, value in server.env.items() if name.startswith("AWS_")}
        root = Path(place)

        def requests() -> int:
            with urlopen(f"{server.address}/requests") as answer:
                return int(answer.read())

        def told(what: str, work: Callable[[], object], unit: int = 1, of: str = "") -> float:
            before, began = requests(), time.perf_counter()
            work()
            seconds, asked = time.perf_counter() - began, requests() - before - 1
            each = f"{asked / unit:8.2f} a {of}" if of else ""
            print(f"{what:<58}{seconds:9.2f} s{asked:8,} requests {each}", flush=True)
            return seconds

        print(f"every answer takes {delay:g} ms more than the server needs\n")
        told("a new disk: the server is asked whether it will do", lambda: make_disk(root / "a", URL, 100))
        make_disk(root / "b", URL, 100)
        folder, a, b = Store(root / "folder"), Store(root / "a"), Store(root / "b")
        assert a.remote and b.remote

        winners = []

        def race(turn: int) -> None:
            start = threading.Barrier(16)

            def try_it(i: int) -> bool:
                start.wait()
                return Objects(URL).put_once(f"race/{turn}", str(i).encode()) is not None

            with ThreadPoolExecutor(16) as pool:
                winners.append(sum(pool.map(try_it, range(16))))

        told("16 writers at one name, 20 times", lambda: [race(turn) for turn in range(20)])
        print(f"    winners: {sorted(set(winners))}")
        told(f"a folder: {FILES:,} files of {SIZE:,} bytes made", lambda: folder.build("many", made_from(x=1), many))
        told("object storage: the same, made and sent", lambda: a.build("many", made_from(x=1), many), FILES, "file")
        told("another disk hears of it", lambda: b.require("many", made_from(x=1).fingerprint))
        made = b.require("many", made_from(x=1).fingerprint)
        told("  and brings all of it", lambda: made.path, FILES, "file")
        told(
            f"{ARTIFACTS:,} small artifacts made and sent, one after another",
            lambda: [a.build("small", made_from(x=x), one) for x in range(ARTIFACTS)],
            ARTIFACTS,
            "artifact",
        )
        told("another disk hears of them all", b.learn, ARTIFACTS, "artifact")
        told("  and again, when it knows them", b.learn, ARTIFACTS, "artifact")
        fingerprints = [made_from(x=x).fingerprint for x in range(60)]
        for number, fingerprint in enumerate(fingerprints):
            a.set_head("mine", f"small/{number}", "small", fingerprint)
        told("what a build of 60 names uses, first time", lambda: b.heads("mine"))
        time.sleep(2.1)
        told("  and again", lambda: [b.head("mine", f"small/{n}") for n in range(60)])
        again = lambda: [b.build("small", made_from(x=x), one) for x in range(60)]  # noqa: E731
        told("60 artifacts asked for that are there", again, 60, "artifact")

        made_large, _ = folder.build("large", made_from(x=2), large)
        source, raw = made_large.file("large.bin"), Objects(URL)
        bare = told(
            f"obstore alone: {LARGE >> 20} MiB there",
            lambda: raw._obs.put(raw._store, "raw/large", source, chunk_size=32 << 20, max_concurrency=2),
        )
        ours = told("ours, hashed on the way", lambda: raw.upload(source, "ours/large"))
        print(f"    ratio {ours / bare:.2f}")

        def bring_bare() -> None:
            with (root / "raw").open("wb") as stream:
                for chunk in raw._obs.get(raw._store, "raw/large").stream(32 << 20):
                    stream.write(chunk)

        bare = told("obstore alone: back", bring_bare)
        a.build("large", made_from(x=2), large)
        found = b.require("large", made_from(x=2).fingerprint)
        ours = told("ours, hashed, synced to disk", lambda: found.file("large.bin"))
        print(f"    ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)
