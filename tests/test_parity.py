"""The published model's numbers, on weights and pictures drawn from names and seeds, where they are at hand."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity import check, main
from tests.parity_fixture import Fixture

RECORDED = Path(__file__).parents[1] / ".." / "shared" / "reference" / "parity"
FILES = sorted(path.name for path in RECORDED.glob("*.npz"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine two threads take three times as long as one."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


recorded = pytest.mark.skipif(not FILES, reason=f"no parity fixtures in {RECORDED}")


@recorded
@pytest.mark.parametrize("name", FILES)
def test_every_array_is_within_tolerance(name: str) -> None:
    fixture = Fixture(RECORDED / name)
    check(fixture)
    assert [str(line) for line in fixture.lines if not line.ok] == []
    assert fixture.lines and not fixture.untouched


@recorded
def test_the_network_that_inference_runs_is_within_the_same_tolerance() -> None:
    fixture = Fixture(RECORDED / "single_eval.npz", prepared=True)
    check(fixture)
    assert [str(line) for line in fixture.lines if not line.ok] == []


def copy_with(folder: Path, **changes: np.ndarray) -> Path:
    with np.load(RECORDED / "single_criterion.npz") as arrays:
        np.savez(folder / "changed.npz", **{**arrays, **changes})
    return folder


@recorded
def test_an_unchanged_copy_passes(tmp_path: Path) -> None:
    assert main([str(copy_with(tmp_path))]) == 0


@recorded
@pytest.mark.parametrize(
    "changes",
    [
        {"loss_eval/loss_oks": np.float32(0.8914)},
        {"match_src_0": np.array([21, 22, 30])},
        {"match_tgt_0": np.array([0, 1])},
        {"meancost_class": np.float32("nan")},
    ],
)
def test_a_wrong_number_fails_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], changes) -> None:
    assert main([str(copy_with(tmp_path, **changes))]) == 1
    assert re.search(rf"changed.npz +{next(iter(changes))} .* FAIL", capsys.readouterr().out)


def test_a_folder_without_fixtures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no .npz file" in capsys.readouterr().err


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "stranger.npz", weights=np.ones(3))
    assert main([str(tmp_path)]) == 2
    assert "stranger.npz is no fixture" in capsys.readouterr().err


def test_a_broken_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut off")
    assert main([str(tmp_path)]) == 2
    assert "cannot read" in capsys.readouterr().err


@recorded
def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with np.load(RECORDED / "single_criterion.npz") as arrays:
        np.savez(tmp_path / "part.npz", **{name: arrays[name] for name in ("meta", "loss_eval/loss_ce")})
    with pytest.raises(SystemExit, match=r"part.npz lacks the array target_keypoints_0"):
        main([str(tmp_path)])
