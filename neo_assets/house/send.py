"""`neo send`: a store in a folder becomes one on object storage."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from neo_assets.core.disk import join, settled
from neo_assets.core.errors import NeoError
from neo_assets.core.jobs import ALIVE, job_folders
from neo_assets.core.place import disk_gigabytes, store_root
from neo_assets.core.recipe import load
from neo_assets.core.remote import Remote
from neo_assets.core.store import Store
from neo_assets.core.terminal import JSON, show
from neo_assets.core.tombstones import FOLDER as TOMBSTONES
from neo_assets.core.words import counted
from resources.compute import open_compute


def send(
    url: Annotated[str, typer.Argument(help="where the store is to lie: s3://BUCKET/PREFIX")],
    as_json: bool = JSON,
) -> None:
    """Send everything that the store holds, and what builds name, to object storage; this folder is its disk from then
    on. What is there already is not sent again. No job may be running.
    """
    if "://" in os.environ.get("NEO_STORE", ""):
        raise NeoError("NEO_STORE names a store on object storage already; name the folder that is to be sent")
    store = Store(store_root())
    if store.remote is not None and store.remote.settings.url != url.rstrip("/"):
        raise NeoError(f"{store.root} is the disk of {store.remote.settings.url}")
    compute = open_compute(load().compute, store.root)
    if running := [job for job in job_folders(store.root) if compute.poll(job) in ALIVE]:
        names = ", ".join(f"{job.title} {job.fingerprint[:12]}" for job in running)
        raise NeoError(f"what a job is making would be missing there: wait for {names}, or `neo pause` it")
    remote = store.remote or Remote(store.root, settled(url, disk_gigabytes()))
    everything = list(store.all())
    for number, (key, fingerprint, _) in enumerate(everything, 1):
        remote.publish(key, fingerprint)
        if not as_json:
            print(f"{number:,} of {len(everything):,}  {key} {fingerprint[:12]}", flush=True)
    for stone in sorted((store.root / TOMBSTONES).glob("*.json")):
        if remote.objects.put_once(f"{TOMBSTONES}/{stone.name}", stone.read_bytes()) is None:
            raise NeoError(f"{url} has other tombstones than this store: {stone.name} differs")
    heads = [(recipe, name, pointer) for recipe in store.recipes() for name, pointer in store.heads(recipe).items()]
    for recipe, name, pointer in heads:
        remote.put_head(recipe, name, *pointer)
    join(store.root, remote.settings)
    told = {"artifacts": len(everything), "names": len(heads), "url": url, "disk": str(store.root)}
    if as_json:
        show([told], as_json)
        return
    print(
        f"\n{counted(len(everything), 'artifact')} and what {counted(len(heads), 'name')} stand for are in {url}. From"
        f" now on:\n  export NEO_STORE={url} NEO_STORE_DISK={store.root}"
    )
