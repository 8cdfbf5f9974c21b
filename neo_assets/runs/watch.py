"""`neo watch`: a training job's metrics in the terminal, as they come."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from neo_assets.core.jobs import ALIVE, JobFolder, JobState, Message
from neo_assets.core.scalars import real, whole
from neo_assets.core.words import age
from resources.compute.base import Compute

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 72
REFRESH_SECONDS = 1.0


def spark(values: Sequence[float], width: int = WIDTH) -> str:
    """A line of bars, lowest to highest; many values are averaged into ``width`` bars."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    means = [sum(part) / len(part) for i in range(0, len(values), size) if (part := values[i : i + size])]
    low, high = min(means), max(means)
    return "".join(BARS[int((v - low) / (high - low) * (len(BARS) - 1))] if high > low else BARS[0] for v in means)


def view(folder: JobFolder, state: JobState, messages: Sequence[Message]) -> RenderableType:
    """What is known of a job now."""
    steps = [m for m in messages if m.event == "progress" and "loss" in m.data]
    checkpoints = [m for m in messages if m.event == "checkpoint"]
    troubles = [m for m in messages if m.event == "trouble"]
    title = Text(
        f"{folder.title}  job {folder.fingerprint[:12]}  {state}  attempt {len(folder.attempts())}", style="bold"
    )
    if not steps:
        return Group(title, Text("no step reported yet"))
    last = steps[-1].data
    step, total = whole(last["step"]), whole(last["steps"])
    table = Table.grid(padding=(0, 2))
    losses = [real(m.data["loss"]) for m in steps]
    table.add_row("loss", f"{losses[-1]:.4f}", f"{spark(losses)}  {max(losses):.2f} … {min(losses):.2f}")
    rates = [real(m.data["tokens_per_s"]) for m in steps]
    counts = str(last.get("counts", "tokens"))
    table.add_row(f"{counts}/s", f"{rates[-1]:,.0f}", spark(rates))
    table.add_row("learning rate", f"{real(last['lr']):.3g}", spark([real(m.data["lr"]) for m in steps]))
    table.add_row("gradient norm", f"{real(last['grad_norm']):.3g}", spark([real(m.data["grad_norm"]) for m in steps]))
    table.add_row(counts, f"{whole(last['tokens']):,}", "")
    if checkpoints:
        newest = checkpoints[-1].data
        table.add_row(
            "checkpoint",
            f"step {newest['step']}",
            f"{age(max(0.0, time.time() - checkpoints[-1].at))} ago, written in {real(newest['seconds']):.2f} s",
        )
    if troubles:
        table.add_row(
            "troubled steps",
            str(len(troubles)),
            f"the last at step {troubles[-1].data['step']}: {str(troubles[-1].data['kind']).replace('_', ' ')}",
        )
    left = f"{age(real(last['eta_s']))} left" if state is JobState.RUNNING and step < total else ""
    bar = Table.grid()  # a bar of its own ends no line
    bar.add_row(ProgressBar(total=total, completed=step, width=WIDTH))
    return Group(title, Text(f"step {step:,} of {total:,}  {left}"), bar, table)


def watch_job(folder: JobFolder, compute: Compute) -> None:
    """Show a job until it ends. Away from a terminal, it is shown once."""
    console = Console()
    messages, offset = folder.messages()
    if not console.is_terminal:
        console.print(view(folder, compute.poll(folder), messages))
        return
    with Live(view(folder, compute.poll(folder), messages), console=console, auto_refresh=False) as live:
        while True:
            state = compute.poll(folder)
            more, offset = folder.messages(offset)
            messages += more
            live.update(view(folder, state, messages), refresh=True)
            if state not in ALIVE:
                return
            time.sleep(REFRESH_SECONDS)
