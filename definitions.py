"""The factory, as Dagster loads it: a recipe in, Definitions out.

`NEO_RECIPE` names the recipe (default: laptop). Everything else is in `neo_assets`, one package per group of the asset
graph.
"""

import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

from neo_assets.build import build_definitions  # noqa: E402
from neo_assets.core.place import refuse_an_instance_of_elsewhere  # noqa: E402
from neo_assets.core.recipe import load  # noqa: E402

refuse_an_instance_of_elsewhere()
defs = build_definitions(load())
