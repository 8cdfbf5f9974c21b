"""All stages of a recipe, in order: what is wrong in what a room tells is said when definitions load."""

from __future__ import annotations

import dagster as dg
import pytest

from neo_assets import build
from neo_assets.core.errors import BadInput
from neo_assets.core.recipe import load
from neo_assets.core.recipe.base import Section
from neo_assets.core.stage import Stage
from neo_assets.declare import key


def told(*reads: tuple[str, list[str]]) -> list[Stage[Section]]:
    return [Stage(name, print, Section(), reads=read) for name, read in reads]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (told(("a", ["nobody"])), "a reads nobody, which nothing makes"),
        (told(("a", ["b"]), ("b", ["a"])), "in a circle: a, b"),
        (told(("a/b", []), ("a_b", [])), "a/b and a_b would both be called a_b"),
    ],
)
def test_what_cannot_be_put_in_order_is_named(
    stages: list[Stage[Section]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "TELLING", {"tasks": lambda _: stages})
    with pytest.raises(BadInput, match=said):
        build.stages(load("laptop").model_copy(update={"languages": []}))


@pytest.mark.parametrize("name", ["laptop", "scaling"])
def test_each_stage_comes_after_what_it_reads_and_stands_in_its_group(name: str) -> None:
    recipe = load(name)
    order = list(stages := build.stages(recipe))
    assert all(order.index(read) < order.index(n) for n, stage in stages.items() for read in stage.reads)
    graph = build.build_definitions(recipe).resolve_asset_graph()
    groups = {n: graph.get(key(n)).group_name for n in (*order, "checkpoint/main", "hf_model/main")}
    numbered = sorted(set(groups.values()))
    optional = {"scaling": recipe.scaling, "align": recipe.align, "trace": recipe.trace, "release": recipe.release}
    rooms = [room for room in build.ROOMS if optional.get(room, True)]
    assert [group.partition("_")[2] for group in numbered] == rooms
    assert {groups[n] for n in ("pretraining/main", "checkpoint/main", "hf_model/main")} == {
        "10_pretrain" if recipe.scaling else "09_pretrain"
    }


def test_the_job_of_the_series_leads_to_the_outcome_and_no_further() -> None:
    definitions = build.build_definitions(load("scaling"))
    made = definitions.resolve_job_def("scaling").asset_layer.selected_asset_keys
    assert {key(n) for n in ("forecast_outcome", "sealed_forecast", "pretraining/main", "pretraining/w32")} <= made
    assert key("raw_crawl/handbook") in made and not made & {key("evaluation/main"), key("factory_report")}
    assert "scaling" not in {job.name for job in build.build_definitions(load("laptop")).jobs or []}


def test_the_job_from_crawl_to_mixture_makes_no_task() -> None:
    definitions = build.build_definitions(load("laptop"))
    made = definitions.resolve_job_def("crawl_and_clean").asset_layer.selected_asset_keys
    assert {key("benchmark_items"), key("heldout"), key("mixture/decay")} <= made
    assert not made & {key("heldout_tasks"), key("tokenizer"), dg.AssetKey("pretraining_main")}


def test_where_work_is_done_is_part_of_no_identity() -> None:
    """But of the four that print the recipe."""
    recipe = load("laptop")
    data = recipe.compute.data.model_copy(update={"engine": "ray", "tasks": 999, "cpus": 7, "memory": "1T"})
    moved = recipe.model_copy(update={"compute": recipe.compute.model_copy(update={"data": data, "workers": 31})})
    versions, there = ({n: s.version for n, s in build.stages(r).items()} for r in (recipe, moved))
    assert len(versions) > 40 and {n for n in versions if versions[n] != there[n]} == {
        "factory_report",
        "paper",
        "release",
        "site",
    }
