"""The stages of a round: what a run that learns preferences is made from, and what is asked of it afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from neo_assets.align.own_answers import (
    PROGRAM,
    Generations,
    GenerationsInput,
    RoundAnswersInput,
    asking_again,
    asking_held_out,
    generations,
    round_answers,
    spoken,
)
from neo_assets.align.own_pairs import PairsInput, make_pairs
from neo_assets.align.pair_shards import PairsInput as ShardsInput
from neo_assets.align.pair_shards import write_pairs
from neo_assets.align.reference import PROGRAM as REFERENCE_PROGRAM
from neo_assets.align.reference import ReferenceJob, measured_against, policy_logprobs, reference_logprobs
from neo_assets.align.refused import REWARD_REPORT
from neo_assets.align.reward_model import PROGRAM as REWARDING
from neo_assets.align.rewarded import Rewards, RewardsInput, judged_by, reads_of, rewards
from neo_assets.align.round_names import GENERATIONS, POLICY, ROUND_ANSWERS, ROUND_REPORT, ROUND_REWARDS
from neo_assets.align.round_report import RoundReportInput, round_report
from neo_assets.core.recipe import Recipe
from neo_assets.core.recipe.align import Dpo, Generated, Guards, PairStage
from neo_assets.core.stage import ROWS_BALANCE, Claim, Stage
from neo_assets.runs.job_stage import JobStage
from neo_assets.runs.training_job import run_stages
from training.answering import TEXT
from training.reference import REFERENCE

PAIRS = [
    ROWS_BALANCE,
    Claim("not_empty", "There is something to learn from."),
    Claim("answers_end", "Of every answer the token that ends it is learnt, and of the prompt nothing."),
]
EVERY_PAIR = Claim("every_pair", "Both answers of every pair have a log-probability.")
GUARDS = [
    Claim("judge", "By a judge apart from the reward it did not become worse."),
    Claim("near_before", "It stays near the model it began from (Kullback and Leibler's divergence)."),
    Claim("chosen_stay_likely", "The better answers did not become much less likely."),
    Claim("distinct", "It does not give the same answer to everything."),
    Claim("length", "Its answers are about as long as before."),
    Claim("little_forgotten", "Text is about as likely as before."),
]


def pair_shards(recipe: Recipe, name: str, settings: PairStage, phase: str, own: bool = False) -> Stage[Any]:
    """Of a stage; or of a run that writes pairs of its own, by its name."""
    assert recipe.align is not None
    written = [f"pairs/{name}"] if own else []
    return Stage(
        f"pair_shards/{name}",
        write_pairs,
        ShardsInput(
            stage=name,
            own=own,
            settings=PairStage(rounds=settings.rounds, seed=settings.seed),
            template=recipe.align.template,
            tokenizer=recipe.tokenizer,
            window=recipe.window_of(phase),
        ),
        reads=["tokenizer", *(f"preferences/{given}" for given in sorted(settings.rounds)), *written],
        claims=PAIRS,
    )


@dataclass(frozen=True)
class Round:
    """A run that learns preferences."""

    recipe: Recipe
    run: str
    settings: Dpo

    @property
    def parent(self) -> str:
        """The run that it starts from."""
        return str(self.recipe.parent_of(self.run))

    @property
    def waits_for(self) -> list[str]:
        """The model that it starts from, and what its guards say of that."""
        guarded = [f"{ROUND_REPORT}/{self.parent}"] if self.recipe.guards(self.parent) else []
        return [f"checkpoint/{self.parent}", *guarded]

    def _sets(self, names: Iterable[str]) -> list[str]:
        assert self.recipe.align is not None
        return [key for name in sorted(names) for key in self.recipe.align.kinds_of(name)]

    def stages(self) -> Iterator[Stage[Any]]:
        """All that the run is made from and is asked, in order."""
        told = self.settings
        if told.generated is not None:
            yield from self._own_pairs(told.generated)
        of = self.recipe.reference_of(self.run)
        yield self._log_probabilities(REFERENCE, of)
        yield from run_stages(
            self.recipe, self.run, after=self.waits_for, reads=[f"{REFERENCE}/{self.run}"], preference=told.learnt
        )
        if told.guards is not None:
            yield self._log_probabilities(POLICY, self.run)
            yield from self._looked_at(told.guards)

    def _own_pairs(self, told: Generated) -> Iterator[Stage[Any]]:
        run, dtype = self.run, self.recipe.evaluation.dtype
        yield Generations(
            f"{GENERATIONS}/{run}",
            generations,
            GenerationsInput(spoken=spoken(self.recipe, run), asking=asking_again(told)),
            reads=["tokenizer", self.recipe.trained(self.parent), *self._sets(told.prompts)],
            claims=[Claim("every_prompt", "Each prompt that was drawn has as many answers as the recipe asks for.")],
            programs=[PROGRAM],
            after=self.waits_for,
            resources=["compute"],
        )
        yield self._rewards("rewards", f"{GENERATIONS}/{run}", told, dtype)
        yield Stage(
            f"pairs/{run}",
            make_pairs,
            PairsInput(run=run, margin=told.margin),
            reads=[f"{GENERATIONS}/{run}", f"rewards/{run}"],
            claims=[ROWS_BALANCE, Claim("not_empty", "There is something to learn from.")],
        )
        yield pair_shards(self.recipe, run, self.settings, self.recipe.runs[run].phase, own=True)

    def _rewards(self, kind: str, answers: str, told: Generated, dtype: str) -> Stage[Any]:
        judge = told.rewarded_by
        return Rewards(
            f"{kind}/{self.run}",
            rewards,
            RewardsInput(answers=answers, judged_by=judged_by(judge, dtype)),
            reads=[answers, *reads_of(judge)],
            claims=[Claim("every_answer", "Each answer was asked about; one that is too long has no reward.")],
            programs=[] if judge.rule else [REWARDING],
            after=[f"{REWARD_REPORT}/{judge.run}"] if judge.run else [],
            resources=["compute"],
        )

    def _log_probabilities(self, kind: str, of: str) -> Stage[Any]:
        stage, work = (ReferenceJob, reference_logprobs) if kind == REFERENCE else (JobStage, policy_logprobs)
        return stage(
            f"{kind}/{self.run}",
            work,
            measured_against(self.recipe, self.run, of),
            reads=[self.recipe.stream_of(self.run), self.recipe.trained(of)],
            kinds=["numpy"],
            claims=[EVERY_PAIR],
            programs=[REFERENCE_PROGRAM],
            after=[f"checkpoint/{of}", *(self.waits_for if kind == REFERENCE else [])],
            resources=["compute"],
        )

    def _looked_at(self, told: Guards) -> Iterator[Stage[Any]]:
        run, generated = self.run, self.settings.generated
        asking, texts = asking_held_out(told)
        yield JobStage(
            f"{ROUND_ANSWERS}/{run}",
            round_answers,
            RoundAnswersInput(spoken=spoken(self.recipe, run), asking=asking, texts=texts),
            reads=[
                "tokenizer", TEXT, self.recipe.trained(self.parent), self.recipe.trained(run),
                *self._sets(told.prompts),
            ],
            claims=[Claim("something_to_ask", "The sets hold prompts out.")],
            programs=[PROGRAM],
            after=[f"checkpoint/{self.parent}", f"checkpoint/{run}"],
            resources=["compute"],
        )  # fmt: skip
        if generated is not None:
            yield self._rewards(ROUND_REWARDS, f"{ROUND_ANSWERS}/{run}", generated, self.recipe.evaluation.dtype)
        rewarded = [f"{ROUND_REWARDS}/{run}"] if generated is not None else []
        stream = self.recipe.stream_of(run)
        yield Stage(
            f"{ROUND_REPORT}/{run}",
            round_report,
            RoundReportInput(run=run, stream=stream, guards=told, rewarded=bool(rewarded)),
            reads=[f"{ROUND_ANSWERS}/{run}", f"{REFERENCE}/{run}", f"{POLICY}/{run}", stream, *rewarded],
            kinds=["json"],
            claims=GUARDS,
        )
