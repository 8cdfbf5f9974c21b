"""The crawl group: `sources`, `benchmark_items`, `raw_crawl`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dagster as dg

from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.data import Source
from neo_assets.core.store import Artifact, Outcome, Store
from neo_assets.crawl.catalogue import SourceInput, describe_source, read_source_input, source_input
from neo_assets.crawl.crawler import crawl_source
from neo_assets.crawl.documents_source import read_documents_source
from neo_assets.crawl.warc_source import read_warc_source
from neo_assets.declare import Declared, artifact
from neo_assets.evaluate.benchmark_items import benchmark_items_input, collect_benchmarks

GROUP = "crawl"


def reader(source: Source) -> Callable[..., Outcome]:
    """The stage function that fetches a source of this kind."""
    if source.kind in ("crawl", "html_folder"):
        return crawl_source
    return read_warc_source if source.kind == "warc" else read_documents_source


def declared(recipe: Recipe) -> dict[str, Declared]:
    out = {
        "benchmark_items": Declared(
            "benchmark_items", collect_benchmarks, benchmark_items_input(recipe.evaluation.benchmarks, recipe.languages)
        )
    }
    for name, source in recipe.sources.items():
        out[f"sources/{name}"] = Declared(f"sources/{name}", describe_source, source_input(source))
        out[f"raw_crawl/{name}"] = Declared(f"raw_crawl/{name}", reader(source), source, reads=[f"sources/{name}"])
    return out


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    entries = declared(recipe)
    out = [artifact(recipe, GROUP, entries["benchmark_items"], checks=[], kinds=["json"])]
    for name, source in recipe.sources.items():
        out.append(_catalogue(recipe, source, entries[f"sources/{name}"]))
        out.append(
            artifact(
                recipe,
                GROUP,
                entries[f"raw_crawl/{name}"],
                checks=["rows_balance", "not_empty"],
                kinds=["html" if source.kind != "documents" else "parquet"],
            )
        )
    return out


def _catalogue(recipe: Recipe, source: Source, entry: Declared) -> dg.AssetsDefinition:
    def read(context: dg.AssetExecutionContext, store: Store, inputs: Mapping[str, Artifact]) -> SourceInput:
        return read_source_input(source)  # what was too large to be read when definitions were loaded

    return artifact(recipe, GROUP, entry, checks=["terms_quoted"], warns=["terms_quoted"], kinds=["json"], refine=read)
