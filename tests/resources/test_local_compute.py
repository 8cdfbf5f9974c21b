"""One piece of work is one job, whatever dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neo_assets.core import process
from neo_assets.core.errors import ChangedCode, JobFailed, MachineLacks, NeoError
from neo_assets.core.jobs import Attempt, JobState
from resources.compute.local import LocalCompute
from resources.compute.slurm import ASK_SECONDS, SlurmCompute, _States
from tests.resources.sleeping import sleeper, starts, tell, until


@pytest.fixture
def compute(tmp_path: Path) -> Iterator[LocalCompute]:
    made = LocalCompute(tmp_path)
    yield made
    for folder in (tmp_path / "jobs").glob("*"):
        made.stop(folder.name, None)


def test_submitting_twice_starts_once_and_both_see_the_end(compute: LocalCompute) -> None:
    job = sleeper(compute)
    folder = compute.submit(job)
    until(lambda: starts(job) == 1)
    again = LocalCompute(compute.root).submit(job)
    assert again.path == folder.path
    tell(job, "end")
    assert [m.event for m in compute.follow(folder)] == ["note", "done"]
    assert [m.event for m in compute.follow(again)] == ["note", "done"]  # whoever comes later reads everything
    first = folder.log_file.read_text().splitlines()[1]  # before anything that libraries say when they are imported
    assert first.startswith(f"{job.title}, job {folder.fingerprint[:12]}: ") and "asked with" in first
    assert compute.poll(compute.submit(job)) is JobState.SUCCEEDED
    assert starts(job) == 1


def test_a_job_that_never_began_is_begun_as_it_is_asked_next(compute: LocalCompute) -> None:
    """A process that had read other code asked for it and was refused; whoever asks with today's code is not."""
    job = sleeper(compute)
    stale = job.model_copy(update={"code": {**job.code, "neo_assets.core.jobs": "another"}})
    with pytest.raises(ChangedCode, match=r"neo_assets\.core\.jobs has changed.*start it again"):
        compute.submit(stale)
    folder = compute.submit(job)
    until(lambda: starts(job) == 1)
    compute.submit(stale)  # what runs, keeps the code it was asked with
    assert folder.spec() == job and compute.folder(job.work_fingerprint).spec() == job
    tell(job, "end")
    list(compute.follow(folder))


def test_the_job_outlives_a_killed_submitter(compute: LocalCompute) -> None:
    job = sleeper(compute)
    script = (
        "from pathlib import Path\nfrom resources.compute.local import LocalCompute\nfrom neo_assets.core.jobs import"
        " JobSpec\nimport"
        f" time\nLocalCompute(Path({str(compute.root)!r})).submit(JobSpec.model_validate_json({job.model_dump_json()!r}))\nprint('ready',"  # noqa: E501
        " flush=True)\ntime.sleep(60)"
    )
    submitter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert submitter.stdout is not None
    submitter.stdout.readline()
    until(lambda: starts(job) == 1)
    os.kill(submitter.pid, signal.SIGKILL)
    submitter.wait()
    folder = compute.submit(job)
    assert compute.poll(folder) is JobState.RUNNING
    tell(job, "end")
    list(compute.follow(folder))
    assert starts(job) == 1


def test_a_submitter_that_died_before_writing_its_record_is_looked_up_by_name(compute: LocalCompute) -> None:
    job = sleeper(compute)
    folder = compute.submit(job)
    until(lambda: starts(job) == 1)
    (folder.path / "attempts" / "0001.json").unlink()
    assert compute.poll(compute.submit(job)) is JobState.RUNNING
    assert starts(job) == 1


def test_a_killed_job_is_tried_again_and_a_failing_one_up_to_its_cap(compute: LocalCompute) -> None:
    job = sleeper(compute, attempts=3)
    folder = compute.submit(job)
    messages = compute.follow(folder)
    assert next(messages).data["starts"] == 1
    for pid in list(_pids(folder.fingerprint)):
        os.kill(pid, signal.SIGKILL)
    assert next(messages).data["starts"] == 2
    (Path(job.out) / "fail").touch()
    assert next(messages).data["starts"] == 3
    (Path(job.out) / "fail").touch()
    with pytest.raises(JobFailed, match=r"(?s)after 3 attempt.*told to fail") as error:
        list(messages)
    assert "log.txt" in str(error.value)


def _pids(fingerprint: str) -> Iterator[int]:
    from resources.compute.local import _processes_of

    yield from _processes_of(fingerprint)


def test_cancel_stops_every_process_and_resume_goes_on(compute: LocalCompute) -> None:
    job = sleeper(compute)
    folder = compute.submit(job)
    until(lambda: starts(job) == 1)
    compute.cancel(folder)
    assert compute.poll(folder) is JobState.CANCELLED
    assert not list(_pids(folder.fingerprint))
    assert compute.poll(compute.submit(job)) is JobState.CANCELLED  # asking again does not start what somebody stopped
    with pytest.raises(JobFailed, match="neo resume"):
        list(compute.follow(folder))
    compute.resume(folder)
    until(lambda: starts(job) == 2)
    tell(job, "end")
    list(compute.follow(folder))


def test_a_reused_process_id_is_not_taken_for_the_job(compute: LocalCompute) -> None:
    assert not compute.observe({**process.handle(os.getpid()), "ticks": 1})


def test_torn_messages_are_skipped_and_later_ones_read(compute: LocalCompute) -> None:
    job = sleeper(compute)
    folder = compute.folder(job.work_fingerprint)
    folder.write_spec(job)
    folder.messages_file.write_text('{"event": "note", "at": 1, "attempt": 1, "data": {}}\n{"event": "no')
    first, offset = folder.messages()
    assert [m.event for m in first] == ["note"]
    with folder.messages_file.open("a") as stream:
        stream.write('\n{"event": "done", "at": 2, "attempt": 2, "data": {}}\n')
    second, _ = folder.messages(offset)
    assert [m.event for m in second] == ["done"]


def test_a_job_that_was_asked_to_stop_is_started_again_and_uses_up_no_attempt(compute: LocalCompute) -> None:
    job = sleeper(compute)
    folder = compute.submit(job)
    messages = compute.follow(folder)
    assert next(messages).data["starts"] == 1
    for pid in _pids(folder.fingerprint):
        os.kill(pid, signal.SIGTERM)  # as a machine that shuts down
    assert [next(messages).event, next(messages).data.get("starts")] == ["stopped", 2]
    tell(job, "end")
    list(messages)
    assert (folder.failures(), len(folder.attempts())) == (0, 2)


def test_pause_waits_until_the_job_has_saved(compute: LocalCompute) -> None:
    job = sleeper(compute)
    folder = compute.submit(job)
    until(lambda: starts(job) == 1)
    assert compute.pause(folder) is JobState.PAUSED
    assert [m.event for m in folder.messages()[0]] == ["note", "stopped"]
    with pytest.raises(JobFailed, match="was paused"):
        list(compute.follow(folder))
    compute.resume(folder)
    until(lambda: starts(job) == 2)
    tell(job, "end")
    list(compute.follow(folder))


def test_a_job_whose_end_is_noted_is_resumed_though_its_scheduler_still_shows_it(
    compute: LocalCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sleeper(compute)
    folder = compute.submit(job)
    until(lambda: starts(job) == 1)
    assert compute.pause(folder) is JobState.PAUSED
    attempt = folder.last_attempt()
    assert attempt is not None
    shown = [attempt.handle]  # as Slurm does while it clears up after a job
    monkeypatch.setattr(compute, "look_up", lambda fingerprint: shown[0] if shown else None)
    monkeypatch.setattr(compute, "observe", lambda handle: JobState.RUNNING if handle in shown else None)
    monkeypatch.setattr(compute, "stop", lambda fingerprint, handle: shown.clear())
    compute.resume(folder)
    assert len(folder.attempts()) == 2  # before, the job was taken for one that runs, and nobody started it
    until(lambda: starts(job) == 2)
    tell(job, "end")
    until(lambda: folder.exit_code(2) == 0)


def test_a_job_of_another_host_is_never_taken_for_lost(compute: LocalCompute) -> None:
    job = sleeper(compute)
    folder = compute.submit(job)
    attempt = folder.last_attempt()
    assert attempt is not None
    folder.record_attempt(
        attempt.model_copy(update={"handle": {**attempt.handle, "host": "a node that is not this one"}})
    )
    assert compute.poll(folder) is JobState.ELSEWHERE
    assert compute.submit(job) == folder and len(folder.attempts()) == 1  # no second writer
    with pytest.raises(
        NeoError, match="was started on a node that is not this one, and how it is cannot be told from here"
    ):
        compute.cancel(folder)
    with pytest.raises(NeoError, match="neo resume --lost"):
        compute.resume(folder)
    compute.stop(folder.fingerprint, None)
    folder.rc_file(1).unlink(missing_ok=True)  # as a host that lost its power leaves it
    compute.resume(folder, lost=True)
    assert len(folder.attempts()) == 2 and compute.poll(folder) is JobState.RUNNING
    compute.stop(folder.fingerprint, None)


def test_a_job_of_before_a_reboot_is_lost_though_its_process_id_is_in_use(compute: LocalCompute) -> None:
    folder = compute.submit(sleeper(compute))
    attempt = folder.last_attempt()
    assert attempt is not None
    handle = {**attempt.handle, "boot": "the boot before"}
    assert compute.observe(attempt.handle) is JobState.RUNNING
    assert compute.observe(handle) is None
    compute.stop(folder.fingerprint, None)


def test_a_job_is_asked_through_the_backend_that_started_it(
    compute: LocalCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe that was moved to another backend met the old jobs' handles with a KeyError."""
    folder = compute.folder("s" * 32)
    folder.write_spec(sleeper(compute).model_copy(update={"work_fingerprint": "s" * 32}))
    folder.record_attempt(Attempt(number=1, backend="slurm", handle={"job": "7"}, started_at=1.0))
    asked: list[list[str]] = []

    def answer(self: SlurmCompute, command: list[str]) -> str:
        asked.append(command)
        return "7|RUNNING\n" if command[0] == "squeue" else ""

    monkeypatch.setattr(SlurmCompute, "_once", answer)
    monkeypatch.setattr(SlurmCompute, "_states", _States())
    assert compute.poll(folder) is JobState.RUNNING
    assert [c[0] for c in asked] == ["squeue"]
    other = compute.folder("o" * 32)
    other.write_spec(sleeper(compute).model_copy(update={"work_fingerprint": "o" * 32}))
    other.record_attempt(Attempt(number=1, backend="cloud of tomorrow", handle={}, started_at=1.0))
    with pytest.raises(MachineLacks, match="'cloud of tomorrow', which this version does not know"):
        compute.poll(other)


def test_slurm_is_asked_once_for_all_jobs_that_are_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    clock = [1000.0]

    def answer(self: SlurmCompute, command: list[str]) -> str:
        asked.append(next(c for c in command if c.startswith("--jobs=")))
        return "1|RUNNING\n2|PENDING\n3|COMPLETED\n"

    monkeypatch.setattr(SlurmCompute, "_once", answer)
    monkeypatch.setattr(SlurmCompute, "_states", _States())
    monkeypatch.setattr("resources.compute.slurm.time.monotonic", lambda: clock[0])
    compute = SlurmCompute(tmp_path)
    for job in ("1", "2", "3"):
        compute.observe({"job": job})
    first = len(asked)
    for _ in range(100):
        clock[0] += 0.5
        states = [compute.observe({"job": job}) for job in ("1", "2", "3")]
        assert states == [JobState.RUNNING, JobState.QUEUED, None]
    assert len(asked) - first <= 50 / ASK_SECONDS + 1
    assert set(asked[-1].removeprefix("--jobs=").split(",")) == {"1", "2"}  # what has ended is not asked about again
