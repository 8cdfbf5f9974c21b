"""Recipe section of a scaling series: small runs that share all of a run but its size, and what is foretold by them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neo_assets.core.recipe.base import Name, Named, Section, Share
from neo_assets.core.recipe.run import Run, Shape


class Size(Shape):
    """What a model of the series has of its own; all else is the base run's."""

    peak_lr: float | None = Field(None, gt=0, description="the base run's if left out")


class Scaling(Section):
    """A series at a constant rate, so that one run gives a loss for many amounts of tokens; the laws fitted to it, and
    the forecast of a run that has not begun.
    """

    base: Name = Field(description="the run whose text, batch, optimizer and rate all sizes share")
    target: Name = Field(description="the run whose loss is foretold before its first step")
    sizes: Named[Size] = Field(min_length=3, description="by name: each is a training run of that name")
    steps: int = Field(ge=1, description="of each run of the series")
    read_at: list[Share] = Field(min_length=3, description="shares of a run at which its loss is read")
    read_over: float = Field(
        gt=0, le=0.5, description="share of a run's steps, up to where it is read, that the loss is the mean of"
    )
    beyond_tokens: int = Field(0, ge=0, description="readings before this many tokens are no part of a fit")
    held_out: list[Name] = Field(
        default_factory=list, description="sizes that laws are asked about and not fitted to, before the forecast's fit"
    )
    law: Literal["neo", "chinchilla", "kaplan", "sms"] = Field("neo", description="the one that the forecast uses")
    count: Literal["non_embedding", "total"] = Field(
        "non_embedding", description="which parameters are N: embeddings are most of a small model"
    )
    rounds: int = Field(200, ge=20, description="fits of points drawn again, for the intervals")
    level: float = Field(0.95, gt=0, lt=1, description="of the intervals")
    seed: int = 0
    max_error: float = Field(0.03, gt=0, description="of a forecast's last loss, as a share of it, that is called held")
    tasks: list[str] = Field(
        default_factory=list, description="of bits per byte of held-out documents, whose last score is foretold, too"
    )
    checkpoints: int = Field(1, ge=1, description="of each run of the series, evenly; `tasks` are asked of all of them")

    @model_validator(mode="after")
    def _sizes_are_known(self) -> Scaling:
        for name in self.held_out:
            if name not in self.sizes:
                raise ValueError(f"held_out names '{name}', which is not in sizes ({', '.join(self.sizes)})")
        if len(self.sizes) - len(set(self.held_out)) < 2:
            raise ValueError("two sizes at least must be left to fit to")
        if self.steps % self.checkpoints:
            fit = [n for n in range(1, self.steps + 1) if not self.steps % n]
            near = sorted(sorted(fit, key=lambda n: abs(n - self.checkpoints))[:2])
            told = " and ".join(map(str, near))
            raise ValueError(f"checkpoints ({self.checkpoints}) must divide steps ({self.steps}), as {told} do")
        return self

    def run_of(self, size: Size, base: Run) -> Run:
        """The run of one size: the base run from scratch, at a constant rate, with checkpoints up to its end."""
        told = base.model_dump()
        shape = size.model_dump(exclude={"peak_lr"})
        told["model"] |= shape
        rate = base.schedule
        told["schedule"] = {
            "kind": "constant",
            "peak_lr": size.peak_lr or rate.peak_lr,
            "min_lr": 0.0,
            "warmup_start_lr": rate.warmup_start_lr,
            "warmup_steps": rate.warmup_steps,
        }
        told |= {"steps": self.steps, "checkpoint_every": self.steps // self.checkpoints, "early_checkpoints": 0}
        told |= {"keep": None}  # its laws are fitted to all of them
        return Run.model_validate(told | {"parent": None, "from_model": None, "evaluate_at": []})
