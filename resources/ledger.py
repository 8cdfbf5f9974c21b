"""The fate ledger: DuckDB over the verdict files that a recipe's build uses. Nothing is copied, nobody writes, nothing
is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from neo_assets.core.here import here
from neo_assets.core.store import Artifact, Row, Store


def current_artifacts(store: Store, recipe: str, makes: Callable[[str], bool]) -> dict[str, Artifact]:
    """Artifacts of a build whose inputs, and theirs, are those that the build holds now (equal content is the same
    input), in the order in which they are made of each other.
    """
    heads = {name: pointer for name, pointer in store.heads(recipe).items() if "@" not in name and makes(name)}
    found = {name: made for name, pointer in heads.items() if (made := store.find(*pointer))}
    inputs = {name: made.manifest.made_from.inputs for name, made in found.items()}

    def current(name: str) -> bool:
        read = {i: ref.digest for i, ref in inputs[name].items() if i in heads or not makes(i)}
        return all(
            i in found
            and digest in (found[i].manifest.digest, *found[i].manifest.parts.values())
            and whether.setdefault(i, False)
            for i, digest in read.items()
        )

    whether: dict[str, bool] = {}
    for name in in_order({name: list(read) for name, read in inputs.items()}):
        whether[name] = current(name)
    return {name: found[name] for name, held in whether.items() if held}


def in_order(reads: Mapping[str, Sequence[str]]) -> list[str]:
    """Names so that each comes after those it reads, and otherwise by how many steps lead to it. Raises CycleError."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter(reads).static_order():
        depth[name] = 1 + max((depth.get(before, 0) for before in reads.get(name, ())), default=0)
    return sorted(reads, key=lambda name: (depth[name], name))


class Ledger:
    """Views over one recipe's build: ``verdicts`` (one row per document and stage) and ``fetched``
    (one row per URL).
    """

    def __init__(self, store: Store, recipe: str, makes: Callable[[str], bool] = lambda _: True) -> None:
        """``makes`` says which artifacts the recipe still has: those of steps that were taken out of it are left out.

        So are artifacts made from others than the build now holds, after a run that failed half way: their verdicts are
        of another corpus.
        """
        import duckdb

        self.connection = duckdb.connect()
        verdicts, fetched, parts = [], [], []
        found = current_artifacts(store, recipe, makes)
        for name, made in found.items():
            verdicts += made.verdicts()
            if name.startswith("raw_crawl/"):
                fetched += made.files("log/")
            if name.startswith("pdf_text/"):
                parts += made.files("text/")
        self._view(
            "verdicts_as_written", verdicts, "doc_id, stage, verdict, rule, value, threshold, twin, source, detail"
        )
        self._view("fetched", fetched, "url, doc_id, outcome, reason, status, address, alias")
        self._view("parts", parts, "url, doc_id")
        position = " ".join(f"when '{stage}' then {i}" for i, stage in enumerate(found))
        self.connection.execute(
            "create view verdicts as select * replace (if(source = '', split_part(stage, '/', 2), source) as source), "
            f"{f'case stage {position} end' if found else '0'} as place from verdicts_as_written"
        )

    def _view(self, name: str, files: Sequence[Path], columns: str) -> None:
        if files:
            paths = ", ".join("'" + str(here(p)).replace("'", "''") + "'" for p in files)
            self.connection.execute(
                f"create view {name} as select {columns} from read_parquet([{paths}], union_by_name=true)"
            )
        else:
            empty = ", ".join(f"null::varchar as {c.strip()}" for c in columns.split(","))
            self.connection.execute(f"create view {name} as select {empty} where false")

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Rows of a query as dictionaries."""
        result = self.connection.execute(query, list(parameters))
        names = [d[0] for d in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def fate(self, doc_or_url: str) -> list[Row]:
        """What every stage decided about one document, in stage order; by id or by URL."""
        ids = [doc_or_url, *self.ids_of(doc_or_url)]
        return self.rows(
            "select stage, verdict, rule, value, threshold, twin, detail, doc_id from verdicts where list_contains(?,"
            " doc_id) order by place, stage, doc_id",
            [ids],
        )

    def ids_of(self, doc_or_url: str) -> list[str]:
        """Ids of the documents that a URL (its scheme may be left out), an id or the beginning of one names."""
        bare = doc_or_url.removeprefix("https://").removeprefix("http://")
        spelled = [doc_or_url, bare, f"http://{bare}", f"https://{bare}"]
        exact = self.rows(
            "select doc_id from fetched where list_contains(?, url) or list_contains(?, address) or alias = ?"
            " union select doc_id from parts where list_contains(?, url) order by doc_id",
            [spelled, spelled, doc_or_url, spelled],
        )
        if exact:
            return [str(r["doc_id"]) for r in exact]
        page = [url.split("#", 1)[0] for url in spelled]
        named = (
            "select distinct doc_id from fetched where list_contains(?, url) or list_contains(?, address)"
            " or (length(?) >= 8 and starts_with(doc_id, ?)) union"
            " select distinct doc_id from verdicts where length(?) >= 8 and starts_with(doc_id, ?) order by doc_id"
        )
        return [str(r["doc_id"]) for r in self.rows(named, [page, page, *[doc_or_url] * 4])]

    def parts_of(self, url: str) -> list[Row]:
        """Parts that a document was cut into (url, doc_id, the last verdict of each), in the order of their pages."""
        return self.rows(
            "select p.url, p.doc_id, arg_max(v.stage, v.place) as stage, arg_max(v.verdict, v.place) as verdict,"
            " arg_max(v.rule, v.place) as rule from parts p join verdicts v using (doc_id) where starts_with(p.url, ?)"
            " group by p.url, p.doc_id order by try_cast(regexp_extract(min(p.url), '#pages=(\\d+)', 1) as integer)",
            [f"{url}#pages="],
        )

    def urls_of(self, ids: Sequence[str]) -> dict[str, str]:
        """URLs of these documents: a part's with its pages, otherwise the first that it was fetched by."""
        found = self.rows(
            "select doc_id, min_by(url, (n, url)) as url from (select doc_id, url, 1 as n from fetched union all"
            " select doc_id, url, 0 from parts) where list_contains(?, doc_id) group by doc_id",
            [list(ids)],
        )
        return {str(r["doc_id"]): str(r["url"]) for r in found}

    def similar_urls(self, text: str, limit: int) -> list[str]:
        """Crawled URLs that look most like ``text``."""
        bare = text.split("://", 1)[-1].split("#", 1)[0]
        closest = (
            "select url from fetched group by url order by ends_with(url, ?) desc, levenshtein(regexp_replace(url,"
            " '^https?://', ''), ?), url limit ?"
        )
        found = self.rows(closest, [bare, bare, limit])
        return [str(r["url"]) for r in found]

    def url_of(self, doc_id: str) -> str | None:
        found = self.rows(
            "select url from (select coalesce(nullif(address, ''), url) as url, doc_id, 1 as n from fetched union all"
            " select url, doc_id, 0 from parts) where doc_id = ? order by n, url limit 1",
            [doc_id],
        )
        return str(found[0]["url"]) if found else None

    def funnel(self) -> list[Row]:
        """Documents kept, edited and dropped by stage, source and rule, in stage order."""
        return self.rows(
            "select stage, source, verdict, rule, count(*) as documents from verdicts group by all order by min(place),"
            " stage, source, verdict desc, documents desc"
        )

    def drawn(self, rule: str, n: int, seed: int) -> list[Row]:
        """Documents that met a rule, drawn evenly by a keyed hash: the same seed draws the same."""
        chosen = (
            "select doc_id, stage, verdict, value, threshold, twin, source, detail from verdicts where rule = ? order"
            " by hash(doc_id || ?), doc_id limit ?"
        )
        return self.rows(chosen, [rule, str(seed), n])
