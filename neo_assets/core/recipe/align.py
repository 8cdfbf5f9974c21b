"""Recipe sections of alignment: conversations and preferences, and the form that they are learnt in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from neo_assets.core.recipe.base import Lang, Name, Named, Section, Share, without_nulls
from neo_assets.core.recipe.sources import DocumentsSource, FilesSource
from neo_assets.core.trainings import Learning

HELD_OUT = Field(0.0, description="share of the prompts that nothing is trained on: they are what models are asked")


class ConversationSet(FilesSource):
    """Conversations in files of rows: OpenAI messages, ShareGPT, Alpaca, lists of turns; each row is recognised by its
    fields.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (*DocumentsSource.SUFFIXES, ".yml", ".yaml")
    kind: Literal["conversations"] = "conversations"
    lang: Lang = Field(description="of the whole set")
    held_out: Share = HELD_OUT


class TranslationSet(FilesSource):
    """Conversations made of sentences and their translations: rows with a field a language."""

    SUFFIXES: ClassVar[tuple[str, ...]] = DocumentsSource.SUFFIXES
    kind: Literal["translations"]
    fields: dict[Lang, str] = Field(
        min_length=2, max_length=2, description="by language, the field with the sentence; `a.b` for a field in a field"
    )
    held_out: Share = HELD_OUT


PageTask = Literal["title", "define", "translate", "language", "section"]


class Part(Section):
    """A part of the corpus that pages are of: by their addresses, and what it is called in each language."""

    url: str = Field(description="regular expression")
    name: dict[Lang, str]


class PageSet(Section):
    """Conversations made of the corpus's own documents: which title a text has, what something is (the first fitting
    sentence of the page of that title), what a title is in the other language, which language a text is in, which part
    of the corpus it is of.

    Prompts to ask models are made of held-out documents in the same way.
    """

    kind: Literal["pages"]
    tasks: list[PageTask] = Field(min_length=1)
    skip_scripts: list[str] = Field(default_factory=list, description="documents in these are left out (Hant)")
    sections: list[Part] = Field(default_factory=list, description="of the task `section`: the first that matches")
    items: int = Field(ge=1, description="of each task and language, at most; as many documents are drawn")
    held_out_items: int = Field(ge=0, description="of each task and language, at most, of held-out documents")
    max_text_chars: dict[Lang, int] = Field(description="of the text that is asked about")
    min_answer_chars: dict[Lang, int] = Field(description="of a sentence that answers what something is")
    max_answer_chars: dict[Lang, int] = Field(description="of titles and sentences")
    seed: int


def _kind_of_set(value: object) -> str:
    kind = value.get("kind", "conversations") if isinstance(value, dict) else getattr(value, "kind", "conversations")
    return str(kind)


InstructionSet = Annotated[
    Annotated[ConversationSet, Tag("conversations")]
    | Annotated[TranslationSet, Tag("translations")]
    | Annotated[PageSet, Tag("pages")],
    Discriminator(_kind_of_set),
]


class PreferenceSet(FilesSource):
    """Prompts with two answers or more, of which one is preferred: chosen and rejected, or ranked."""

    SUFFIXES: ClassVar[tuple[str, ...]] = DocumentsSource.SUFFIXES
    kind: Literal["preferences"] = "preferences"
    lang: Lang = Field(description="of the whole set")
    held_out: Share = Field(0.0, description="share of the prompts whose pairs reward models are judged by")


class Replay(Section):
    """Text of pre-training between the conversations, so that a model does not forget it."""

    phase: Name = Field(description="of which mixture")
    share: float = Field(gt=0, lt=1, description="of the windows")


class Sft(Section):
    """What a stage of supervised fine-tuning reads: conversations, packed into windows whole, and text between them."""

    rounds: Annotated[dict[Name, Annotated[float, Field(ge=0)]], BeforeValidator(without_nulls)] = Field(
        min_length=1, description="by set of instructions: how often each conversation is read; a part of one: of some"
    )
    replay: Replay | None = None
    max_byte_share: Share = Field(
        1.0,
        description="of a conversation's tokens that are bytes of characters which the tokenizer has no piece for",
    )
    seed: int = Field(0, description="of which conversations a part of a round takes, and how windows are filled")


class PairStage(Section):
    """A stage that reads pairs of answers."""

    rounds: Annotated[dict[Name, Annotated[float, Field(ge=0)]], BeforeValidator(without_nulls)] = Field(
        default_factory=dict, description="by set of preferences: how often each pair is read; a part of one: of some"
    )
    seed: int = Field(0, description="of which pairs a part of a round takes")


class RewardLoss(Section):
    """How a reward model learns (Bradley and Terry's model of pairs; ``training/preferences.py``)."""

    center: float = Field(0.0, ge=0, description="weight of the square of a pair's summed rewards (arXiv 2312.09244)")


class Reward(PairStage, RewardLoss):
    """How a reward model is trained, and what is asked of it."""

    least_accuracy: Share = Field(0.0, description="of held-out pairs: below it the factory stops")
    bins: int = Field(10, ge=2, description="of its calibration: as many pairs in each")

    @property
    def learnt(self) -> RewardLoss:
        """What its training takes of this; the rest can change without training again."""
        return RewardLoss(center=self.center)

    @model_validator(mode="after")
    def _has_pairs(self) -> Reward:
        if not self.rounds:
            raise ValueError("rounds names no set of preferences")
        return self


class RewardedBy(Section):
    """What says how good an answer is: one of these."""

    run: Name | None = Field(None, description="a run of this recipe that trains a reward model")
    folder: str | None = Field(None, description="somebody else's, in Hugging Face's form: one number a conversation")
    rule: Literal["overlap"] | None = Field(
        None, description="overlap: pairs of characters shared with the set's own answer; 0 unless it ends, well formed"
    )

    @model_validator(mode="after")
    def _is_one(self) -> RewardedBy:
        if sum(given is not None for given in (self.run, self.folder, self.rule)) != 1:
            raise ValueError("one of run, folder and rule says how good an answer is")
        return self


Engine = Literal["transformers", "vllm"]
"""What draws answers. With the first each is the same in whatever batch; the second is fast, and exact to no bit."""
VLLM: Engine = "vllm"
VLLM_PYTHON = "NEO_VLLM_PYTHON"
"""Environment variable: the Python of an environment that has vLLM, where the job runs."""


class Generated(Section):
    """Pairs that the model writes itself, before it learns from them: of several answers to a prompt, the one with the
    highest reward and the one with the lowest.
    """

    prompts: Annotated[dict[Name, Annotated[float, Field(gt=0, le=1)]], BeforeValidator(without_nulls)] = Field(
        min_length=1, description="by set, of either kind: which share of its prompts is asked, once more"
    )
    samples: int = Field(ge=2, description="answers to a prompt")
    temperature: float = Field(gt=0)
    max_tokens: int = Field(ge=1, description="of an answer")
    rewarded_by: RewardedBy
    margin: float = Field(0.0, ge=0, description="answers whose rewards are no further apart make no pair")
    batch_size: int = Field(32, ge=1)
    seed: int
    engine: Engine = Field("transformers", description="vllm: on a GPU, in an environment of its own")


class Guards(Section):
    """What must hold of a model after it has learnt preferences, against the model that it began from. Where something
    does not, the factory stops: no round follows.
    """

    prompts: list[Name] = Field(min_length=1, description="sets, of either kind, whose held-out prompts are asked")
    items: int = Field(ge=1, description="of each language, at most")
    max_tokens: int = Field(ge=1, description="of an answer")
    batch_size: int = Field(32, ge=1)
    judge: Literal["exact", "overlap"] = Field("exact", description="which is not what answers were rewarded for")
    max_fall: Share = Field(
        0.02, description="of the judge's mean; more is a fall where the 95 % interval says so, too"
    )
    max_kl: float = Field(1.0, gt=0, description="nats a token, along its own answers")
    least_chosen: float = Field(-1.0, description="nats a token by which the better answers may become less likely")
    least_distinct: Share = Field(0.5, description="distinct answers, as a share of those before")
    max_longer: float = Field(2.0, gt=1, description="characters of an answer, on average, as a multiple of before")
    documents: int = Field(20, ge=1, description="held-out documents of each language")
    document_chars: int = Field(400, ge=1, description="of each")
    max_forgotten: Share = Field(0.07, description="bits per byte of those, as a share of before")
    seed: int


class DpoLoss(Section):
    """How preferences are learnt (``training/preferences.py``)."""

    loss: Literal["sigmoid", "ipo", "sigmoid_norm"] = "sigmoid"
    beta: float = Field(gt=0, description="how dear it is to leave the reference")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of pairs that may be the wrong way round")
    sft_weight: float = Field(0.0, ge=0, description="of the better answer's own likelihood, by tokens' mean")


class Dpo(PairStage, DpoLoss):
    """From which pairs preferences are learnt, how, and what must hold afterwards."""

    reference: Literal["previous", "first"] = Field(
        "previous", description="the checkpoint the run starts from; or the last one before any preferences"
    )
    generated: Generated | None = None
    guards: Guards | None = None

    @property
    def learnt(self) -> DpoLoss:
        """What its training takes of this; the rest can change without training again."""
        return DpoLoss(**{name: getattr(self, name) for name in DpoLoss.model_fields})

    @model_validator(mode="after")
    def _has_pairs(self) -> Dpo:
        if not self.rounds and self.generated is None:
            raise ValueError("rounds names no set of preferences, and no pairs are generated")
        if self.generated and self.guards and self.guards.judge == self.generated.rewarded_by.rule:
            raise ValueError(
                f"guards.judge is '{self.guards.judge}', for which answers are rewarded: it sees no cheating; take the"
                " other of exact and overlap, or reward answers by something else"
            )
        return self


class Asked(Section):
    """What models are asked in conversations: held-out prompts of the sets, as tasks ``chat_‹lang›``."""

    items: int = Field(ge=1, description="of each language, at most; sets and their tasks take turns")
    max_tokens: int = Field(ge=1, description="of an answer")
    seed: int


class Align(Section):
    template: Literal["neo", "map_neo"] = Field(
        "neo", description="neo: markers that are tokens; map_neo: the paper's, which is Llama 2's"
    )
    instructions: Named[InstructionSet] = Field(default_factory=dict)
    preferences: Named[PreferenceSet] = Field(default_factory=dict)
    repetition_penalty: float = Field(
        1.0, ge=1, description="of what an answer has said already, whenever the model is talked with; 1: none"
    )
    asked: Asked | None = None
    reward: Named[Reward] = Field(default_factory=dict, description="stages of reward models; a run's phase names one")
    dpo: Named[Dpo] = Field(default_factory=dict, description="stages of preferences; a run's phase names one")
    sft: Named[Sft] = Field(default_factory=dict, description="stages of fine-tuning; a run's phase names one")

    def stages(self) -> dict[Learning, Mapping[str, Sft | PairStage]]:
        """Those that a run's phase can name, by what such a run learns."""
        return {"sft": self.sft, "reward": self.reward, "dpo": self.dpo}

    def kinds_of(self, name: str) -> list[str]:
        """The artifacts that a set of this name is: of instructions, of preferences, of neither or both."""
        sets: dict[str, Mapping[str, object]] = {"instructions": self.instructions, "preferences": self.preferences}
        return [f"{kind}/{name}" for kind, told in sets.items() if name in told]

    def named(self) -> list[str]:
        """Names of all stages."""
        return [name for told in self.stages().values() for name in told]
