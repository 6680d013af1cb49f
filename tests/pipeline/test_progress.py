"""What long work tells while it runs: a bar, log lines, a run that is read from outside; and how many workers fit."""

import logging
import time

import pytest

from pipeline.cluster import free_workers, gpus_of_worker
from pipeline.progress import progress
from pipeline.run_log import RunLog, read_log, shown


def test_without_a_terminal_progress_is_a_line_in_the_log(caplog) -> None:
    with caplog.at_level(logging.INFO), progress("labelling", 3) as advance:
        advance(1)
        advance(2)
    (line,) = (record.message for record in caplog.records)
    assert line.startswith("labelling: 3 of 3, ") and line.endswith("/s")


def test_rate_and_time_left_count_what_was_done_and_not_what_was_skipped(caplog, monkeypatch) -> None:
    seconds = iter([0.0, 0.0, 20.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds, 20.0))
    with caplog.at_level(logging.INFO), progress("labelling", 1000) as advance:
        advance(40, failed=3, skipped=400)
    assert caplog.messages == ["labelling: 440 of 1000, 3 failed, 2/s, 5 min left"]


def test_in_a_terminal_progress_is_a_bar(capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("labelling", 3) as advance:
        advance(3)
    assert "labelling" in (shown := capsys.readouterr().err)
    assert "3/3" in shown


def test_a_log_is_taken_up_again_by_a_resumed_run(tmp_path) -> None:
    first = RunLog(str(tmp_path), total_steps=6, first_epoch=0)
    first.after_epoch(0, 2, {"train/loss": 3.0})
    first.after_epoch(1, 4, {"train/loss": 2.0})
    replayed = RunLog(str(tmp_path), total_steps=6, first_epoch=1)  # the last report was lost with its worker
    replayed.after_epoch(1, 4, {"train/loss": 1.5})
    assert read_log(str(tmp_path)) == {
        "step": 4,
        "total_steps": 6,
        "epochs": [{"epoch": 0, "train/loss": 3.0}, {"epoch": 1, "train/loss": 1.5}],
    }


def test_steps_are_not_written_more_often_than_anybody_looks(tmp_path) -> None:
    log = RunLog(str(tmp_path), total_steps=100, first_epoch=0)
    for step in range(1, 50):
        log.at_step(step)
    assert read_log(str(tmp_path))["step"] == 1


def test_a_run_is_shown_from_outside(tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr("pipeline.run_log.READ_EVERY_S", 0.01)
    with caplog.at_level(logging.INFO), shown(str(tmp_path), "training"):
        RunLog(str(tmp_path), total_steps=2, first_epoch=0).after_epoch(0, 2, {})
        time.sleep(0.1)
    assert [line for line in caplog.messages if line.startswith("training: 2 of 2")]


@pytest.mark.parametrize(
    ("now", "after_scaling", "asked", "workers"),
    [
        ({"CPU": 4}, {}, None, 3),
        ({"CPU": 1}, {}, None, 1),
        ({"CPU": 16, "GPU": 2}, {}, None, 2),
        ({"CPU": 2}, {"CPU": 16, "GPU": 2}, None, 2),
        ({"CPU": 16, "GPU": 2}, {}, 0.25, 8),
        ({"CPU": 16, "GPU": 2}, {}, 0, 15),
    ],
)
def test_workers_never_take_the_last_cpu(monkeypatch, now, after_scaling, asked, workers) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: now)
    monkeypatch.setattr("pipeline.cluster.could_have", lambda: after_scaling)
    assert free_workers(gpus_of_worker(asked)) == workers
