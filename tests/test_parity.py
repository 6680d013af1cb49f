"""Our network gives the published model's numbers: those that ship, and the recorded ones where they are at hand."""

import re
from pathlib import Path

import numpy as np
import pytest

from parity.__main__ import CASES, check, main
from parity.fixture import Fixture

RECORDED = Path(__file__).parents[1] / ".." / "shared" / "reference" / "parity"
FILES = sorted(RECORDED.glob("*.npz"))
at_hand = pytest.mark.skipif(not FILES, reason=f"NO RECORDED NUMBERS in {RECORDED}")


def failures(path: Path, *, prepared: bool = False) -> list[str]:
    fixture = Fixture(path, prepared)
    check(fixture)
    assert fixture.lines and not fixture.untouched
    return [str(line) for line in fixture.lines if not line.ok]


@pytest.mark.parametrize("name", ["first_pass", "criterion", "feedback"])
def test_what_ships_is_within_tolerance(name: str) -> None:
    assert failures(CASES / f"{name}.npz") == []


def test_the_network_that_inference_runs_is_within_the_same_tolerance() -> None:
    assert failures(CASES / "feedback.npz", prepared=True) == []


@pytest.mark.slow
@at_hand
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_was_recorded_is_within_tolerance(path: Path) -> None:
    assert failures(path) == []


@pytest.mark.slow
@at_hand
def test_the_network_that_inference_runs_gives_what_was_recorded() -> None:
    assert failures(RECORDED / "single_eval.npz", prepared=True) == []


def copy_with(folder: Path, **changes: np.ndarray) -> Path:
    with np.load(CASES / "criterion.npz") as arrays:
        np.savez(folder / "changed.npz", **{**arrays, **changes})
    return folder


def test_an_unchanged_copy_passes(tmp_path: Path) -> None:
    assert main([str(copy_with(tmp_path))]) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_eval/loss_oks": np.float32(0.8914)},
        {"match_src_0": np.array([21, 22, 30])},
        {"match_tgt_1": np.array([0])},
        {"loss_eval/loss_ce": np.float32("nan")},
    ],
)
def test_a_wrong_number_fails_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], changes) -> None:
    assert main([str(copy_with(tmp_path, **changes))]) == 1
    assert re.search(rf"changed.npz +{next(iter(changes))} .* FAIL", capsys.readouterr().out)


def test_a_folder_without_fixtures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no .npz file" in capsys.readouterr().err


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--prepare"]) == 2
    assert "usage: python -m parity [DIR] [--prepared]" in capsys.readouterr().err


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "stranger.npz", weights=np.ones(3))
    assert main([str(tmp_path)]) == 2
    assert "stranger.npz is no fixture" in capsys.readouterr().err


def test_a_broken_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut off")
    assert main([str(tmp_path)]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with np.load(CASES / "criterion.npz") as arrays:
        np.savez(tmp_path / "part.npz", **{name: arrays[name] for name in ("meta", "loss_eval/loss_ce")})
    with pytest.raises(SystemExit, match=r"part.npz lacks the array target_keypoints_0"):
        main([str(tmp_path)])
