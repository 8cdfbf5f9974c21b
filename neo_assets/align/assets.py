"""The align room: `instructions` and `preferences` by set, `conversation_shards` by stage, and the runs that learn from
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neo_assets.align.chat_tasks import ChatTasksInput, make_chat_tasks
from neo_assets.align.from_pages import make_conversations
from neo_assets.align.refused import REWARD_REPORT
from neo_assets.align.reward_model import KEY as REWARD_MODEL
from neo_assets.align.reward_model import PROGRAM as REWARDING
from neo_assets.align.reward_model import (
    exported_reward_model,
    reward_export,
    reward_report,
)
from neo_assets.align.reward_report import RewardReportInput
from neo_assets.align.round_assets import Round, pair_shards
from neo_assets.align.sets import read_instructions, read_preferences, set_input
from neo_assets.align.shards import ShardsInput, write_conversations
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.align import Align, PageSet, Sft
from neo_assets.core.recipe.evaluation import CHAT_TASKS
from neo_assets.core.stage import ROWS_BALANCE, Claim, Stage
from neo_assets.core.withdrawn import KEY as WITHDRAWN
from neo_assets.core.withdrawn import SIDES
from neo_assets.runs.export import PROGRAM as EXPORT
from neo_assets.runs.job_stage import JobStage
from neo_assets.runs.plan import ids
from neo_assets.runs.training_job import run_stages
from neo_assets.tasks.benchmark_items import KEY as BENCHMARKS

NOT_EMPTY = Claim("not_empty", "Something of the set is left.")
CAN_BE_USED = Claim(
    "rows_can_be_used", "No more rows than max_bad_share cannot be used; the first are named with file and record."
)
CONVERSATIONS = [
    ROWS_BALANCE,
    Claim("not_empty", "There is something to learn from."),
    Claim("whole_in_a_window", "Each conversation stands whole in one window."),
    Claim("answers_end", "Of every answer the token that ends it is learnt."),
    Claim("prompts_begin", "Each conversation begins with the tokens that its prompts have when somebody chats."),
]

REWARDS = [
    Claim("accurate", "Of held-out pairs, the better answer gets the higher reward as often as the recipe asks for."),
    Claim("more_than_length", "It tells better answers more often than their length does.").only_warns(),
]


def stages(recipe: Recipe) -> Iterator[Stage[Any]]:
    """Nothing for a recipe without alignment."""
    if recipe.align is None:
        return
    yield from _sets(recipe, recipe.align)
    if recipe.align.asked:
        yield Stage(
            CHAT_TASKS,
            make_chat_tasks,
            ChatTasksInput(settings=recipe.align.asked, languages=recipe.languages, template=recipe.align.template),
            reads=[f"instructions/{name}" for name in recipe.align.instructions],
            kinds=["json"],
            claims=[Claim("something_to_ask", "There is something to ask in every language.").only_warns()],
        )
    used = {run.phase for run in recipe.runs.values()}
    for name, settings in recipe.align.sft.items():
        if name in used:
            yield _shards(recipe, recipe.align, name, settings)
    for name, pairs in {**recipe.align.reward, **recipe.align.dpo}.items():
        if name in used and not getattr(pairs, "generated", None):
            yield pair_shards(recipe, name, pairs, name)
    for run in recipe.runs:
        if recipe.learns(run) == "sft":
            yield from run_stages(recipe, run)
        elif recipe.learns(run) == "reward":
            yield from run_stages(recipe, run, reward=recipe.align.reward[recipe.runs[run].phase].learnt)
            yield from _rewards(recipe, recipe.align, run)
        elif recipe.learns(run) == "dpo":
            yield from Round(recipe, run, recipe.align.dpo[recipe.runs[run].phase]).stages()


def _sets(recipe: Recipe, align: Align) -> Iterator[Stage[Any]]:
    kinds = (
        ("instructions", align.instructions, read_instructions),
        ("preferences", align.preferences, read_preferences),
    )
    for kind, sets, read in kinds:
        for name, settings in sets.items():
            told = set_input(name, settings, recipe)
            pages = isinstance(settings, PageSet)
            yield Stage(
                f"{kind}/{name}",
                make_conversations if pages else read,
                told,
                reads=[*([*SIDES, WITHDRAWN] if pages else []), *([BENCHMARKS] if told.decontamination else [])],
                claims=[ROWS_BALANCE, NOT_EMPTY, CAN_BE_USED],
            )


def _shards(recipe: Recipe, align: Align, name: str, settings: Sft) -> Stage[Any]:
    replayed = [f"token_shards/{settings.replay.phase}"] if settings.replay else []
    return Stage(
        f"conversation_shards/{name}",
        write_conversations,
        ShardsInput(
            stage=name,
            settings=settings,
            template=align.template,
            tokenizer=recipe.tokenizer,
            window=recipe.window_of(name),
        ),
        reads=["tokenizer", *(f"instructions/{given}" for given in sorted(settings.rounds)), *replayed],
        claims=CONVERSATIONS,
    )


def _rewards(recipe: Recipe, align: Align, name: str) -> Iterator[Stage[Any]]:
    run = recipe.runs[name]
    settings = align.reward[run.phase]
    yield JobStage(
        f"{REWARD_MODEL}/{name}",
        exported_reward_model,
        reward_export(name, run, run.model.vocab_rows(ids(recipe.tokenizer)), align.template),
        reads=[recipe.trained(name), "tokenizer"],
        kinds=["huggingface"],
        claims=[
            Claim("logits_match", "The folder gives the rewards of the checkpoint's own weights, to the last bit.")
        ],
        programs=[EXPORT],
        after=[f"checkpoint/{name}"],
        resources=["compute"],
    )
    sets = sorted(settings.rounds)
    yield JobStage(
        f"{REWARD_REPORT}/{name}",
        reward_report,
        RewardReportInput(run=name, settings=settings, sets=sets),
        reads=[f"{REWARD_MODEL}/{name}", *(f"preferences/{given}" for given in sets)],
        claims=REWARDS,
        programs=[REWARDING],
        modules=["neo_assets.align.reward_report"],
        resources=["compute"],
    )
