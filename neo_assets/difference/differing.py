"""What is different between two runs or builds: recipe, code, libraries, machine, text; documents in and out, and why;
and what it did to the scores.

Everything that either was made of is compared with what has its name on the other side, by their manifests. Documents
are those of the token streams that were read; one that only one side read has, on the other, a verdict that says why,
or was never seen there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from neo_assets.core import records
from neo_assets.core.store import Artifact, Row, Store
from neo_assets.core.why import changed, flat, name_today, told_values
from neo_assets.difference.sides import Side
from neo_assets.evaluate.index import read_items, read_scores
from neo_assets.evaluate.rows import ScoreRow
from neo_assets.runs.stream_parts import stream_parts
from neo_assets.scores.paired import holm, judged, paired
from training.spec import checkpoint_name

EXAMPLES = 5
"""Documents that are named of those that only one side read."""
WITHDRAWN, NEVER_SEEN, NOT_DRAWN = "withdrawn", "never seen there", "in its pool, and not drawn"


@dataclass(frozen=True)
class Documents:
    """Of the streams that were read, without what was withdrawn from them. ``why``: of those that only one side read,
    what became of them on the other, by step and rule.
    """

    both: int
    only_a: int
    only_b: int
    why_not_b: list[Row]
    why_not_a: list[Row]
    examples_a: list[str]
    examples_b: list[str]


@dataclass(frozen=True)
class Difference:
    """``recipe``: a row a setting; ``code``: a row a module; ``libraries``, ``machine``; ``data``: a row an artifact of
    other content; ``began``: those of them whose inputs were the same. ``scores`` are paired by item, ``p`` corrected;
    ``asked_otherwise``: tasks that are not the same items on both sides.
    """

    a: str
    b: str
    recipe: list[Row]
    code: list[Row]
    libraries: list[Row]
    machine: list[Row]
    data: list[Row]
    began: list[str]
    documents: Documents
    scores: list[Row]
    asked_otherwise: list[str]

    @property
    def nothing(self) -> bool:
        """Whether both were made of the same by the same; what they scored is no part of that."""
        same = not (self.recipe or self.code or self.libraries or self.machine or self.data)
        return same and not (self.documents.only_a or self.documents.only_b)

    def plain(self) -> dict[str, object]:
        return asdict(self)


def difference(store: Store, a: Side, b: Side, alpha: float) -> Difference:
    """Everything in which two sides differ."""
    pairs = {name: (a.of.get(name), b.of.get(name)) for name in dict.fromkeys([*a.of, *b.of])}
    if a.trained is not None and b.trained is not None and a.run != b.run:  # two runs of other names are compared, too
        pairs[f"{a.trained.key} and {b.trained.key}"] = (a.trained, b.trained)
    scores, otherwise = _scores(store, a, b, alpha)
    data, began = _data(pairs)
    return Difference(
        a=a.called,
        b=b.called,
        recipe=_settings(pairs),
        code=_code(pairs),
        libraries=_libraries(pairs),
        machine=_machine(store, a, b),
        data=data,
        began=began,
        documents=_documents(a, b),
        scores=scores,
        asked_otherwise=otherwise,
    )


_Pairs = Mapping[str, tuple[Artifact | None, Artifact | None]]


def _both(pairs: _Pairs) -> Iterator[tuple[str, Artifact, Artifact]]:
    for name, (one, other) in pairs.items():
        if one is not None and other is not None:
            yield name, one, other


def _settings(pairs: _Pairs) -> list[Row]:
    """A setting that several artifacts have is told once, with their names."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, one, other in _both(pairs):
        configs = (flat(made.manifest.made_from.config) for made in (one, other))
        for setting, values in changed(*configs).items():
            found[setting, *told_values(*values)].append(name)
    rows: list[Row] = [
        {"setting": name, "A": one, "B": other, "of": _named(of)} for (name, one, other), of in found.items()
    ]
    for name, pair in pairs.items():
        if None in pair:
            rows.append({"setting": name, "A": _there(pair[0]), "B": _there(pair[1]), "of": ""})
    return rows


def _there(made: Artifact | None) -> str:
    return "not made" if made is None else "made"


def _named(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _code(pairs: _Pairs) -> list[Row]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, one, other in _both(pairs):
        for module, (before, after) in changed(one.manifest.made_from.code, other.manifest.made_from.code).items():
            how = "only of B" if before is None else "only of A" if after is None else "differs"
            found[module, how].append(name)
    rows = [(name_today(module), how, names) for (module, how), names in found.items()]
    return [{"module": module, "how": how, "of": _named(names)} for module, how, names in sorted(rows)]


def _libraries(pairs: _Pairs) -> list[Row]:
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, one, other in _both(pairs):
        libraries = (made.manifest.made_from.libraries for made in (one, other))
        for library, (before, after) in changed(*libraries).items():
            found[library, str(before or "–"), str(after or "–")].append(name)
    return [{"library": n, "A": a, "B": b, "of": _named(names)} for (n, a, b), names in sorted(found.items())]


def _data(pairs: _Pairs) -> tuple[list[Row], list[str]]:
    """(artifacts of other content, in the order in which they are made; those whose inputs, as far as both sides have
    them, have the same).
    """
    rows: list[Row] = []
    began = []
    for name, one, other in _both(pairs):
        if one.manifest.digest == other.manifest.digest:
            continue
        inputs = [{n: ref.digest for n, ref in made.manifest.made_from.inputs.items()} for made in (one, other)]
        begins = all(inputs[0][n] == inputs[1][n] for n in inputs[0].keys() & inputs[1].keys())
        if begins:
            began.append(name)
        rows.append({"artifact": name, "A": _amount(one), "B": _amount(other), "begins here": begins})
    return rows, began


def _amount(made: Artifact) -> str:
    rows, numbers = made.manifest.rows_kept, made.manifest.numbers
    told = [f"{rows:,} rows"] if rows is not None else []
    told += [f"{numbers[name]:,} {name}" for name in ("tokens", "steps") if isinstance(numbers.get(name), int)]
    return f"{', '.join(told)}{' ' if told else ''}({made.manifest.digest[:12]})"


def _machine(store: Store, a: Side, b: Side) -> list[Row]:
    """Of the last checkpoints' certificates."""
    told = [_certificate(store, side).get("machine", {}) for side in (a, b)]
    if not all(told):
        return []
    values = changed(flat(told[0]), flat(told[1]))
    return [{"what": name, "A": str(one), "B": str(other)} for name, (one, other) in values.items()]


def _certificate(store: Store, side: Side) -> dict[str, object]:
    if side.trained is None:
        return {}
    step = side.trained.manifest.numbers.get("last_step")
    if not isinstance(step, int):
        return {}
    made = store.find(f"checkpoint/{side.run}", checkpoint_name(step, side.trained.fingerprint))
    if made is None:
        return {}
    return json.loads(made.file("certificate.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


# ------------------------------------------------------------------ documents


def _documents(a: Side, b: Side) -> Documents:
    read = [_read(side) for side in (a, b)]
    only = [mine.filter(pc.invert(pc.is_in(mine, value_set=other))) for mine, other in (read, read[::-1])]
    return Documents(
        both=len(read[0]) - len(only[0]),
        only_a=len(only[0]),
        only_b=len(only[1]),
        why_not_b=_why(only[0], b),
        why_not_a=_why(only[1], a),
        examples_a=_addresses(only[0], a),
        examples_b=_addresses(only[1], b),
    )


def _read(side: Side) -> pa.Array:
    """Ids of the documents of a side's streams, each once; none of those that were withdrawn from them."""
    found = [pa.array([], pa.string())]
    for stream in side.streams:
        for path, there in stream_parts(stream):
            ids = records.read_table(path, columns=["doc_id"])["doc_id"]
            found.append(pc.unique(ids.filter(pa.array(there)).combine_chunks()))
    return pc.unique(pa.concat_arrays(found))


def _why(ids: pa.Array, side: Side) -> list[Row]:
    """What became on a side of documents that it did not read, by step and rule, most first."""
    if not len(ids):
        return []
    last: dict[str, tuple[str, str]] = {}
    for name, made in side.of.items():
        for path in made.verdicts():
            table = records.read_table(path, columns=["doc_id", "verdict", "rule"])
            for row in table.filter(pc.is_in(table["doc_id"], value_set=ids)).to_pylist():
                if row["verdict"] == records.DROPPED and name != "heldout":  # what that drops is trained on
                    last[row["doc_id"]] = (name, row["rule"])
    for stream in side.streams:
        for path, has in stream_parts(stream):
            if not has.all():
                masked = records.read_table(path, columns=["doc_id"])["doc_id"].filter(pa.array(~has))
                gone = masked.filter(pc.is_in(masked, value_set=ids)).to_pylist()
                last |= dict.fromkeys(gone, (stream.key, WITHDRAWN))
    pool = side.of.get("train_pool")
    there = set(_all_ids(pool, ids)) if pool is not None else set()
    counts: Counter[tuple[str, str]] = Counter()
    for doc_id in ids.to_pylist():
        counts[last.get(doc_id, ("", NOT_DRAWN if doc_id in there else NEVER_SEEN))] += 1
    return [{"documents": n, "step": step, "rule": rule} for (step, rule), n in counts.most_common()]


def _all_ids(pool: Artifact, ids: pa.Array) -> Iterator[str]:
    for path in pool.files(records.PART):
        held = records.read_table(path, columns=["doc_id"])["doc_id"]
        yield from held.filter(pc.is_in(held, value_set=ids)).to_pylist()


def _addresses(ids: pa.Array, side: Side) -> list[str]:
    """Some of them by their addresses, in the pool's order."""
    found: list[str] = []
    pool = side.of.get("train_pool")
    for path in pool.files(records.PART) if pool is not None and len(ids) else ():
        table = records.read_table(path, columns=["doc_id", "url"])
        found += table.filter(pc.is_in(table["doc_id"], value_set=ids))["url"].to_pylist()
        if len(found) >= EXAMPLES:
            break
    return [str(url) for url in found[:EXAMPLES]]


# ------------------------------------------------------------------ scores


def _scores(store: Store, a: Side, b: Side, alpha: float) -> tuple[list[Row], list[str]]:
    """(the last checkpoints of two runs on the tasks that both were asked, item by item; tasks that were asked
    otherwise).
    """
    sides = [_last_scores(store, side) for side in (a, b)]
    pairs, otherwise = [], []
    for task, scored in sides[0].items():
        other = sides[1].get(task)
        if other is None or other["identity"] != scored["identity"]:
            otherwise.append(task)
            continue
        files = [f"eval_scores/{r['run']}/{r['fingerprint']}/{task}.items.jsonl" for r in (scored, other)]
        pairs.append((scored, paired(read_items(store, files[0]), read_items(store, files[1]))))
    rows = judged(pairs, holm([d.p for _, d in pairs]), alpha)
    return rows, sorted({*otherwise, *(sides[1].keys() - sides[0].keys())})


def _last_scores(store: Store, side: Side) -> dict[str, ScoreRow]:
    """The newest main score of each task of a run's last checkpoint."""
    if side.trained is None or not isinstance(step := side.trained.manifest.numbers.get("last_step"), int):
        return {}
    name = checkpoint_name(step, side.trained.fingerprint)
    rows = sorted(read_scores(store, {side.run: {name}}).to_pylist(), key=lambda row: row["made_at"])
    return {row["task"]: row for row in rows if row["main"] and row["subset"] is None and row["value"] is not None}
