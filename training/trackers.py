"""TensorBoard and Weights & Biases, where a recipe asks for them (``runs.‹run›.trackers``). Our own metrics are kept in
any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Trackers:
    """Passes each step's metrics on. A tracker that is not installed is one line at the start, never a lost run."""

    def __init__(self, wanted: Sequence[str], run: str, folder: Path) -> None:
        self.writers: list[Any] = []
        self.wandb: Any = None
        for name in wanted:
            try:
                if name == "tensorboard":
                    from torch.utils.tensorboard import SummaryWriter

                    self.writers.append(SummaryWriter(str(folder / "tensorboard")))
                else:
                    import wandb  # type: ignore[import-not-found,unused-ignore]

                    self.wandb = wandb.init(
                        project="neofoundry", name=run, id=folder.name, resume="allow", dir=str(folder)
                    )
            except ImportError as error:
                print(
                    f"trackers: {name} is not installed ({error}); `pip install {name}`. The run goes on without it.",
                    flush=True,
                )

    def log(self, row: Mapping[str, float | int]) -> None:
        step = int(row["step"])
        values = {name: value for name, value in row.items() if name != "step"}
        for writer in self.writers:
            for name, value in values.items():
                writer.add_scalar(f"train/{name}", value, step)
        if self.wandb is not None:
            self.wandb.log(values, step=step)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()
        if self.wandb is not None:
            self.wandb.finish()
