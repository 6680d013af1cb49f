"""Whatever is wrong with what people type, every command says so in one sentence and fails, without a traceback."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from clickpose.__main__ import main
from clickpose.checkpoints.model_folder import save_model
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton

COCO = Skeleton.load("coco17")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, images, and files that are not what they are called."""
    folder = tmp_path_factory.mktemp("bad-input")
    torch.manual_seed(0)
    save_model(folder / "model", ClickPose(tiny(len(COCO))), COCO, metrics={}, card="")
    (folder / "photos").mkdir()
    Image.new("RGB", (32, 24)).save(folder / "photos" / "one.png")
    (folder / "half.json").write_text('{"images": [')
    (folder / "bytes.json").write_bytes(b"\x80\xff")
    (folder / "list.json").write_text("[1, 2]")
    (folder / "number.json").write_text("7")
    (folder / "empty").mkdir()
    (folder / "weights.pth").write_bytes(b"no weights")
    for name, broken in (("half", "half.json"), ("bytes", "bytes.json"), ("list", "list.json")):
        save_model(folder / f"model-{name}", ClickPose(tiny(len(COCO))), COCO, metrics={}, card="")
        (folder / f"model-{name}" / "config.json").write_bytes((folder / broken).read_bytes())
    (folder / "model-short").mkdir()
    for file in (folder / "model").iterdir():
        (folder / "model-short" / file.name).write_bytes(file.read_bytes()[:200])
    (folder / "data.json").write_text(json.dumps(DATA))
    (folder / "store" / "models").mkdir(parents=True)
    (folder / "store" / "models" / "history.json").write_text("{")
    (folder / "store" / "models" / "current").write_text("../../etc\n")
    return folder


CATEGORY = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints), "skeleton": []}
DATA = {
    "images": [{"id": 1, "file_name": "one.png", "width": 32, "height": 24}],
    "annotations": [],
    "categories": [CATEGORY],
}
TRAIN = "--images photos --out out --run run"

LINES = f"""
evaluate missing data.json --images photos
evaluate empty data.json --images photos
evaluate half.json data.json --images photos
evaluate model-half data.json --images photos
evaluate model-bytes data.json --images photos
evaluate model-list data.json --images photos
evaluate model-short data.json --images photos
evaluate model missing.json --images photos
evaluate model half.json --images photos
evaluate model bytes.json --images photos
evaluate model list.json --images photos
evaluate model number.json --images photos
evaluate model photos --images photos
evaluate model photos/one.png --images photos
evaluate model data.json --images missing
evaluate model data.json --images photos --strategy luck
evaluate model data.json --images photos --hold sometimes
evaluate model data.json --images photos --loop endless
evaluate model data.json --images photos --noise -1
evaluate model data.json --images photos --noise much
evaluate model data.json --images photos --max-clicks -1
evaluate model data.json --images photos --keypoints tail
evaluate model data.json --images photos --results missing.json
evaluate model data.json --images photos --results half.json
evaluate model data.json --images photos --label-studio-export number.json
evaluate model data.json --images photos --label-studio-export bytes.json
evaluate model data.json --images photos --json half.json/results.json
train missing.json {TRAIN} --preset tiny
train half.json {TRAIN} --preset tiny
train list.json {TRAIN} --preset tiny
train data.json {TRAIN} --init missing
train data.json {TRAIN} --init model-short
train data.json {TRAIN} --preset huge
train data.json {TRAIN} --recipe secret
train data.json {TRAIN} --init model --epochs none
train data.json {TRAIN} --init model --epochs -1
train data.json {TRAIN} --init model --batch-size 0
train data.json {TRAIN} --init model --set epochs
train data.json {TRAIN} --init model --set speed=9
train data.json {TRAIN} --init model --set epochs=many
train data.json {TRAIN} --init model --workers -1
train data.json {TRAIN} --init model --threads 0
train data.json {TRAIN} --preset tiny --backbone-weights weights.pth
train data.json {TRAIN} --preset tiny --backbone-weights missing
train data.json {TRAIN} --skeleton dragon --preset tiny
train data.json {TRAIN} --skeleton list.json --preset tiny
train data.json {TRAIN} --skeleton bytes.json --preset tiny
convert missing out
convert empty out
convert weights.pth out
convert half.json out
convert model out --to-published --skeleton coco17
convert missing out.pth --to-published
convert empty out.pth --to-published
convert model-list out.pth --to-published
prelabel missing out --model model --workers 0
prelabel empty out --model model --workers 0
prelabel missing.txt out --model model --workers 0
prelabel bytes.json out --model missing --workers 0
prelabel photos out --model missing --workers 0
prelabel photos out --model half.json --workers 0
prelabel photos out --model model-bytes --workers 0
prelabel photos nowhere://out --model model --workers 0
prelabel photos half.json --model model --workers 0
prelabel photos out --model model --workers 0 --shard-size 0
prelabel photos out --model model --workers -1
prelabel photos out --model model --workers 0 --max-failed most
prelabel photos out --model model --workers 0 --max-failed 150%
prelabel photos out --model model --limit -1
prelabel list.json out --model model --workers 0
prelabel data.json out --model model --workers 0
select missing --count 3
select empty --count 3
select photos --count 0
select photos --count 3 --by luck
select photos --count 3 --url http://127.0.0.1:9
select photos --count 3 --url http://127.0.0.1:9 --title poses
models list --store nowhere://store
models list --store half.json
models show v1 --store empty
models show ../../etc --store empty
models add missing --store empty/store
models add empty --store empty/store
models add model-short --store empty/store
models promote v9 --store empty
models rollback --store empty
serve
serve --store empty
serve --store store
serve --store empty --model model
serve --model missing
serve --model model-half --port many
serve --model model --port 99999
serve --model model --replicas 0
serve --model model --gpus -1
serve --model model --image-root missing
serve --model model --image-root nowhere://bucket
serve --model model --label-studio localhost
serve --model model --label-studio http://[
retrain --store empty --url http://127.0.0.1:9 --title poses --images photos
retrain --store empty --url localhost --title poses --images photos
retrain --store empty --url http://127.0.0.1:9 --title poses --images photos --held-back-share 2
retrain --store empty --url http://127.0.0.1:9 --title poses --images photos --epochs 0
retrain --store empty --url http://127.0.0.1:9 --title poses --images photos --watch -1
retrain --store empty --url http://127.0.0.1:9 --title poses --images photos --batch-size 0
retrain --store empty --url http://127.0.0.1:9 --title poses --images photos --set dance=1
label-studio init --url http://127.0.0.1:9 --title poses --model model
label-studio init --url http://127.0.0.1:9 --title poses --model missing
label-studio init --url localhost --title poses --model model
label-studio init --url http://[ --title poses --model model
label-studio push missing --url http://127.0.0.1:9 --title poses --model model --serve-from /
label-studio push empty --url http://127.0.0.1:9 --title poses --model empty --serve-from /
label-studio sync --url http://127.0.0.1:9 --title poses --store empty --model model
label-studio proxy --label-studio localhost
label-studio proxy --label-studio http://127.0.0.1:9 --skeleton half.json
label-studio proxy --label-studio http://127.0.0.1:9 --port 99999
label-studio proxy --label-studio http://127.0.0.1:9 --host no.such.host.invalid
demo --images missing
demo --images photos
demo --images empty --model missing
demo --model model-short
demo --limit 1
dance
"""


@pytest.mark.parametrize("line", [line for line in LINES.splitlines() if line])
def test_bad_input_is_explained_in_one_sentence(
    folder: Path, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*arguments: object, **options: object) -> None:
        raise AssertionError("Ray is started before the input is checked")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr("clickpose.training.cpu.tune_for_cpu", lambda num_threads: None)  # outlives the test
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("CLICKPOSE_SECRET", "open sesame")
    monkeypatch.setattr(sys, "argv", ["clickpose", *line.split()])
    with pytest.raises(SystemExit) as exit:
        main()
    said = exit.value.code if isinstance(exit.value.code, str) else capsys.readouterr().err
    assert exit.value.code and said.strip() and "Traceback" not in said
    if isinstance(exit.value.code, str):
        assert said.startswith("clickpose: ") and len(said.splitlines()) == 1 and len(said) < 600


def test_a_round_without_a_model_says_to_add_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"retrain --store {tmp_path} --url http://127.0.0.1:9 --title poses"
    monkeypatch.setattr(sys, "argv", ["clickpose", *line.split()])
    with pytest.raises(SystemExit, match="has no current model to start from: add one and promote it"):
        main()
