"""`neo saw`, `neo when`: document <-> step. `neo prove`, `neo continue`: what a checkpoint is worth, and how to go on
from it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from neo_assets.core.completion import CHECKPOINTS, RUNS
from neo_assets.core.errors import BadInput, MissingUpstream, did_you_mean
from neo_assets.core.frozen import claimed
from neo_assets.core.place import store_root
from neo_assets.core.recipe import Recipe, load
from neo_assets.core.recipe.load import DEFAULT_RECIPE, RECIPES
from neo_assets.core.scalars import whole
from neo_assets.core.store import Row, Store
from neo_assets.core.terminal import JSON, program, show
from neo_assets.core.words import counted
from neo_assets.runs.branch import branch_entry, changed_fields, record_branch, refuse_what_cannot_branch
from neo_assets.runs.found_runs import FoundRun, find_run, lineage, run_and_step, run_and_steps, started, step_range
from neo_assets.runs.proof import Checked, code_differences, last_proof, prove, verify_checkpoint
from resources.compute import open_compute


def saw(
    steps: Annotated[str, typer.Argument(metavar="RUN@FIRST..LAST", help="steps counted from 1, e.g. main@10..12")],
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens", help="which of each document's tokens, sequence by sequence, instead of one row a document"
        ),
    ] = False,
    text: Annotated[
        bool, typer.Option("--text", help="what the steps read, sequence by sequence; learnt is what stands in ⟦ ⟧")
    ] = False,
    as_json: bool = JSON,
) -> None:
    """The documents that training steps saw, computed from the data order."""
    import pyarrow as pa

    from resources.ledger import Ledger

    recipe, store = load(), Store(store_root())
    name, first, last = run_and_steps(steps)
    run = find_run(store, recipe, name)
    if last > run.config.last_step:
        raise BadInput(f"run '{name}' has {run.config.last_step} steps; {last} is after its end")
    spans: list[tuple[FoundRun, int, int]] = []
    for part in reversed(lineage(store, run)):
        ledger = part.ledger()
        end = min(
            last,
            *(p.config.first_step for p in lineage(store, run) if p.config.first_step > ledger.first_step),
            run.config.last_step,
        )
        if max(first, ledger.first_step + 1) <= end:
            spans.append((part, max(first, ledger.first_step + 1), end))
    if text:
        show_text(spans, as_json)
        return
    table = pa.concat_tables([part.ledger().saw(begin, end) for part, begin, end in spans])
    if not tokens:
        table = table.append_column("tokens", pa.compute.subtract(table.column("to_token"), table.column("from_token")))
        table = table.group_by(["step", "doc_id", "source", "lang"], use_threads=False).aggregate(
            [("tokens", "sum"), ("sequence", "count_distinct"), ("place", "min")]
        )
        table = table.rename_columns(["step", "doc_id", "source", "lang", "tokens", "sequences", "place"]).sort_by(
            [("step", "ascending"), ("place", "ascending"), ("doc_id", "ascending")]
        )
        table = table.drop_columns(["place"])
    ids = table.column("doc_id").unique().to_pylist()
    urls, places = Ledger(store, recipe.name).urls_of(ids), conversation_places(store, recipe, ids)
    rows = [
        {**row, "url": places.get((row["source"], row["doc_id"])) or urls.get(row["doc_id"], "")}
        for row in table.to_pylist()
    ]
    show(rows, as_json)
    if not as_json:
        print(
            f"\n{counted(len(set(table.column('doc_id').to_pylist())), 'document')} in steps {first}..{last} of {name}"
        )


def show_text(spans: Sequence[tuple[FoundRun, int, int]], as_json: bool) -> None:
    """What the steps of each part of a run read."""
    from neo_assets.runs.seen_text import seen_text

    for part, begin, end in spans:
        for seen in seen_text(part, begin, end):
            where = {"step": seen.step, "place": seen.place, "sequence": seen.sequence}
            if as_json:
                print(json.dumps({**where, "pieces": seen.pieces}, ensure_ascii=False))
            else:
                print(f"\nstep {seen.step}, place {seen.place}, sequence {seen.sequence}\n{seen.marked}")


def when(
    page: Annotated[str, typer.Argument(help="URL or doc_id; of a conversation its id, as `neo saw` tells it")],
    run: Annotated[
        str | None, typer.Option("--run", help="one run of the recipe; all that were started if left out")
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Every training step that saw a document, and which of its tokens."""
    from resources.ledger import Ledger

    recipe, store = load(), Store(store_root())
    ledger = Ledger(store, recipe.name)
    ids = list(dict.fromkeys([*ledger.ids_of(page), *(str(part["doc_id"]) for part in ledger.parts_of(page))]))
    ids = ids or list(dict.fromkeys(key for _, key in conversation_places(store, recipe, [page])))
    if not ids:
        raise BadInput(f"no document '{page}' is known in this recipe's build; `neo fate {page}` tells more")
    rows: list[Row] = []
    looked, waited = [], []
    listed = {one.config.run_fingerprint for one in started(store, recipe)}
    for name in [run] if run else list(recipe.runs):
        try:
            found = find_run(store, recipe, name)
        except MissingUpstream:
            if run:
                raise
            continue
        looked.append(name)
        # Steps that a branch has from its parent are listed there, unless the branch alone is asked about, or the
        # parent is no run of the recipe any more.
        behind = lineage(store, found)
        mine = _when(found, behind if run else [p for p in behind if p is found or _gone(p, listed)], ids, behind)
        rows += mine
        if not mine and found.holds(ids):
            waited.append(name)
    none = f"no step of {', '.join(looked) or 'any run'} saw it"
    if waited:
        none += f". It is in the text of {' and '.join(waited)}, which ended before coming to it"
    else:
        none += f"; `neo fate {page}` says why"
    show(rows, as_json, empty=none)


def conversation_places(store: Store, recipe: Recipe, ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """Where each of those ids that are conversations or pairs of the recipe's sets stands, by set and id: two sets may
    hold the same. File and record, or page, or the prompt that a model answered.
    """
    wanted = set(ids)
    out: dict[tuple[str, str], str] = {}
    sets = [f"instructions/{n}" for n in recipe.align.instructions] if recipe.align else []
    sets += [f"preferences/{n}" for n in recipe.align.preferences] if recipe.align else []
    sets += [f"pairs/{run}" for run in recipe.runs if recipe.generated(run)]
    for key in sets:
        name, pointer = key.partition("/")[2], store.head_pointer(recipe.name, key)
        made = store.find(*pointer) if pointer else None
        if made is not None:
            verdicts = made.table("verdicts.parquet").select(["doc_id", "detail"]).to_pylist()
            out |= {(name, r["doc_id"]): f"{name}: {r['detail']}" for r in verdicts if r["doc_id"] in wanted}
    return out


def _gone(part: FoundRun, listed: Collection[str]) -> bool:
    return part.config.run_fingerprint not in listed


def _when(run: FoundRun, parts: list[FoundRun], ids: list[str], behind: list[FoundRun]) -> list[Row]:
    """Steps of ``parts`` of ``behind``, a run and what it is a branch of."""
    rows: list[Row] = []
    end = run.config.last_step
    for part in behind:
        for row in part.ledger().when(ids, end).to_pylist() if part in parts and end > part.config.first_step else ():
            where = {name: row[name] for name in ("step", "place", "sequence", "from_token", "to_token")}
            inherited = "" if part is run else part.name
            rows.append({"run": run.name, **where, "doc_id": row["doc_id"], "inherited_from": inherited})
        end = part.config.first_step
    return sorted(rows, key=lambda row: (whole(row["step"]), whole(row["place"])))


def show_claims(recipe: Recipe, store: Store, checkpoint: str, as_json: bool) -> None:
    """`neo verify RUN@STEP`: recompute what a checkpoint's certificate says. Exits 1 where something does not hold."""
    name, step = run_and_step(checkpoint)
    run = find_run(store, recipe, name)
    at, folder = run.checkpoint(step)
    claims = verify_checkpoint(run, at, folder)
    sound = all(c.holds for c in claims)
    _print_claims(f"checkpoint {folder.name} of run '{name}', step {at}", claims, as_json)
    if not as_json and sound:
        if proof := last_proof(store, name, folder.name):
            print(f"\n{proof}")
        elif at > run.config.first_step:
            print(f"\nnot proved yet: `neo prove {name}@{at}` trains to it again and compares every bit")
    raise typer.Exit(0 if sound else 1)


def prove_checkpoint(
    checkpoint: Annotated[
        str, typer.Argument(metavar="RUN@STEP", help="e.g. main@70, main@last", autocompletion=CHECKPOINTS)
    ],
    as_json: bool = JSON,
) -> None:
    """Train from the checkpoint before to this one and compare every bit. Takes as long as those steps did."""
    recipe, store = load(), Store(store_root())
    name, step = run_and_step(checkpoint)
    run = find_run(store, recipe, name)
    at, folder = run.checkpoint(step)
    claims = prove(run, at, folder, store, open_compute(recipe.compute, store.root))
    held, note = all(c.holds for c in claims[:-1]), claims[-1]
    _print_claims(f"run '{name}' trained again to step {at}", claims if as_json else claims[:-1], as_json)
    if not as_json:
        print(
            f"\n{'proved: bit for bit what its certificate says' if held else 'NOT reproduced'}; "
            + ("code, libraries and machine as then" if note.holds else f"differs from then: {note.detail}")
        )
    raise typer.Exit(0 if held else 1)


def _print_claims(title: str, claims: list[Checked], as_json: bool) -> None:
    show([c.row() for c in claims], as_json, title=title)


def continue_run(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="RUN[@STEP]",
            help="where to go on from; the run's last checkpoint if no step is named",
            autocompletion=CHECKPOINTS,
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIELD=VALUE]...", help="what differs, e.g. ranks_per_node=1 global_batch=8 steps=200"),
    ] = None,
    as_name: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="the branch is a run of this name, beside the old one; without it, it takes the old one's place",
        ),
    ] = None,
    without_steps: Annotated[
        str | None,
        typer.Option("--without-steps", metavar="FIRST[..LAST]", help="leave out the batches of these steps"),
    ] = None,
    because: Annotated[str, typer.Option("--because", help="why, for those who read it later")] = "",
) -> None:
    """Go on with a run under today's code, another world size or batch, or without some batches: recorded as a branch
    beside the recipe.
    """
    recipe, store = load(), Store(store_root())
    name, step = run_and_step(checkpoint)
    compute = open_compute(recipe.compute, store.root)
    run = find_run(store, recipe, name)
    without = step_range(without_steps) if without_steps else None
    if without and step is None:
        step = max((s for s in run.whole_checkpoints() if s < without[0]), default=None)
    at, folder = run.checkpoint(step)
    store.require(f"checkpoint/{run.name}", folder.name).refuse_thinned()
    refuse_what_cannot_branch(recipe, name, as_name, str(compute.poll(compute.folder(run.config.run_fingerprint))))
    if not (changes or without or because or code_differences(run.spec.code, claimed(run.spec.program)["code"])):
        raise BadInput(
            f"nothing would differ from run '{name}': `neo resume {name}` goes on with it. Name what differs"
            " (FIELD=VALUE, --without-steps), or say why (--because) where it is the machine"
        )
    entry = branch_entry(run, at, changed_fields(changes or []), without, because)
    written = record_branch(recipe_file(), as_name or name, entry, name if as_name else None, load)
    made = as_name or name
    print(f"recorded in {written}: run '{made}' goes on from {folder.name} with everything. Start it:")
    print(
        f'  {program("dagster")} asset materialize -m definitions --select \'key:"run_plan_{made}" or'
        f' key:"{recipe.learns(name)}_{made}"\''
    )


def rehearse_run(
    run: Annotated[str, typer.Argument(help="a run of the recipe", autocompletion=RUNS)],
    ranks: Annotated[
        int | None,
        typer.Option(
            "--ranks", min=1, help="ranks to start; as many of a node's as this machine has GPUs, or cores, if left out"
        ),
    ] = None,
    as_json: bool = JSON,
) -> None:
    """Try a run's own job in minutes, two narrow layers of it: train, kill, resume, verify, export, ask. Exits with 1
    where something does not hold.
    """
    from neo_assets.runs.rehearse import differences, narrowed, not_tried, ranks_here, rehearse

    recipe, store = load(), Store(store_root())
    if run not in recipe.runs:
        raise BadInput(
            f"recipe '{recipe.name}' has no run '{run}'.{did_you_mean(run, recipe.runs)} It has"
            f" {', '.join(recipe.runs)}."
        )
    here, gpu = ranks_here(recipe.runs[run])
    chosen = ranks or here
    # The scheduler's own machine where there is one; else this one.
    settings = (
        recipe.compute
        if recipe.compute.backend != "slurm" or shutil.which("sbatch")
        else recipe.compute.model_copy(update={"backend": "local"})
    )
    moved = [] if settings is recipe.compute else [f"compute.backend {recipe.compute.backend} -> local"]
    if not as_json:
        print(
            f"run '{run}' of recipe '{recipe.name}', rehearsed on {counted(chosen, 'rank')} "
            + ("with GPUs" if gpu else "without a GPU")
        )
        print(
            "as in the recipe but for: "
            + "; ".join([*moved, *differences(recipe.runs[run], narrowed(recipe.runs[run], chosen, gpu))])
            + "\n"
        )
    rows, told = rehearse(recipe, run, store, lambda root: open_compute(settings, root), chosen, gpu)
    held = all(row["holds"] for row in rows)
    untried = not_tried(recipe.runs[run], gpu, recipe.compute.backend if moved else None)
    show([{**row, "differs": [*moved, *told], "not_tried": untried} for row in rows] if as_json else rows, as_json)
    if not as_json:
        print(
            f"\neverything held. Not tried: {'; '.join(untried)}"
            if held
            else f"\nit ended there; what was written: {store.root / 'rehearsals'}"
        )
    raise typer.Exit(0 if held else 1)


def recipe_file() -> Path:
    """File of the recipe that is in use."""
    name = os.environ.get("NEO_RECIPE") or DEFAULT_RECIPE
    return Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
