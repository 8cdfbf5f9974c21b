"""The release group: `factory_report`."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import yaml

from neo_assets.clean import assets as clean
from neo_assets.core.fingerprint import digest_json
from neo_assets.core.recipe import Recipe, identity
from neo_assets.core.store import Artifact, MadeFrom, Outcome, Store, Workspace
from neo_assets.corpus import assets as corpus
from neo_assets.crawl import assets as crawl
from neo_assets.declare import Declared, artifact
from neo_assets.dedup import assets as dedup
from neo_assets.evaluate import assets as evaluate
from neo_assets.extract import assets as extract
from neo_assets.pretrain import assets as pretrain
from neo_assets.quality import assets as quality
from neo_assets.release.report import ReportInput, write_report
from neo_assets.tokenizer import assets as tokenizer

GROUP = "release"
STORY = (crawl, extract, clean, dedup, quality, corpus, tokenizer, pretrain, evaluate)
"""All groups before this one, in the order of the story."""
EXAMPLES = 3
"""Dropped documents a rule that the report shows."""


def declared(recipe: Recipe) -> dict[str, Declared]:
    reads = [name for group in STORY for name in group.declared(recipe)]
    return {
        "factory_report": Declared(
            "factory_report",
            write_report,
            ReportInput(
                name=recipe.name,
                description=recipe.description,
                examples_per_rule=EXAMPLES,
                recipe_digest=digest_json(identity(recipe)),
            ),
            reads=reads,
        )
    }


def assets(recipe: Recipe) -> list[dg.AssetsDefinition]:
    entry = declared(recipe)["factory_report"]
    text = yaml.safe_dump(identity(recipe), allow_unicode=True, sort_keys=False, width=120)

    def call(
        context: dg.AssetExecutionContext,
        store: Store,
        made_from: MadeFrom,
        inputs: Mapping[str, Artifact],
        out: Workspace,
    ) -> Outcome:
        ledger = context.resources.ledger.open()
        return write_report(entry.config, inputs, out, ledger=ledger, store=store, recipe_text=text)  # type: ignore[arg-type]

    return [
        artifact(
            recipe, GROUP, entry, checks=["self_contained"], kinds=["html"], call=call, required_resources=["ledger"]
        )
    ]
