"""What `neo watch` shows of a job."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from neo_assets.core.jobs import JobFolder, JobSpec, JobState, Reporter
from neo_assets.runs.watch import spark, view


def shown(folder: JobFolder, state: JobState) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(view(folder, state, folder.messages()[0]))
    return console.export_text()


def test_a_job_is_shown_as_far_as_it_has_come(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.write_spec(
        JobSpec(
            work_fingerprint="x",
            title="pretraining/main",
            program="p",
            code={},
            libraries={},
            config={},
            inputs={},
            out="",
        )
    )
    assert "no step reported yet" in shown(folder, JobState.RUNNING)
    reporter = Reporter(tmp_path)
    for step in (1, 2, 3):
        reporter.send(
            "progress",
            step=step,
            steps=10,
            loss=9.0 - step,
            lr=1e-3,
            grad_norm=0.5,
            tokens=step * 100,
            tokens_per_s=1234.0,
            eta_s=70.0,
        )
    reporter.send("checkpoint", name="0000002-x", step=2, seconds=0.25)
    reporter.send("trouble", step=3, kind="loss_spike", value=1, median=1, stops=False, documents=3)
    text = shown(folder, JobState.RUNNING)
    assert all(
        part in text
        for part in (
            "step 3 of 10",
            "70 s left",
            "6.0000",
            "1,234",
            "written in 0.25 s",
            "the last at step 3: loss spike",
        )
    )
    assert any(line.startswith("loss ") for line in text.splitlines())
    assert "left" not in shown(folder, JobState.SUCCEEDED)


def test_a_spark_line_goes_from_its_lowest_to_its_highest() -> None:
    assert spark([1.0, 2.0, 3.0]) == "▁▄█"
    assert spark([2.0, 2.0]) == "▁▁" and spark([]) == ""
    assert len(spark([float(i) for i in range(1000)], 50)) == 50
