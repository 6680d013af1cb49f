"""``clickpose evaluate`` on drawn people, with a model that has learnt nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from clickpose.__main__ import app
from clickpose.checkpoints.model_folder import save_model
from clickpose.commands.evaluation_outputs import name_curves
from clickpose.commands.paper_tables import COLUMNS, model_and_manual
from clickpose.errors import InvalidAnnotation, InvalidConfig, InvalidSkeleton
from clickpose.evaluation import STRATEGIES, Simulation, evaluate
from clickpose.model import ClickPose, tiny
from clickpose.poses import new_pose
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from integrations.coco import results_to_coco, write_coco
from integrations.label_studio.tasks import make_prediction

COCO17, CROWDPOSE14 = Skeleton.load("coco17"), Skeleton.load("crowdpose14")
DRAWN = DrawnPeople(COCO17, num_images=2, max_persons=2)
WRISTS = "left_wrist,right_wrist"  # two clicks per person at most


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 14 keypoints, data of 17, and the true poses as somebody's results."""
    folder = tmp_path_factory.mktemp("evaluate")
    torch.manual_seed(0)
    save_model(folder / "model", ClickPose(tiny(len(CROWDPOSE14))), CROWDPOSE14, metrics={}, card="")
    write_coco(DRAWN.annotations, folder / "data.json")
    for image in DRAWN.annotations.images:
        DRAWN.load_image(image).save(folder / image.file_name)
    write_results(folder / "oracle.json", [image.id for image in DRAWN.annotations.images])
    return folder


def write_results(path: Path, image_ids: list[int]) -> None:
    persons = [image.persons for image in DRAWN.annotations.images]
    poses = {
        id: [new_pose(person.keypoints_px, person.box_px, 0.9) for person in found]
        for id, found in zip(image_ids, persons, strict=True)
    }
    path.write_text(json.dumps(results_to_coco(poses)))


def run(folder: Path, *options: str, keypoints: str | None = WRISTS) -> Result:
    some = [] if keypoints is None else ["--keypoints", keypoints]
    command = ["evaluate", str(folder / "model"), str(folder / "data.json"), "--images", str(folder)]
    return CliRunner().invoke(app, [*command, "--max-clicks", "1", *some, *options])


def run_json(folder: Path, *options: str, keypoints: str | None = WRISTS) -> dict[str, Any]:
    return run_both(folder, *options, keypoints=keypoints)[0]


def run_both(folder: Path, *options: str, keypoints: str | None = WRISTS) -> tuple[dict[str, Any], str]:
    """What is written as JSON, and what is printed."""
    result = run(folder, "--json", str(folder / "out.json"), *options, keypoints=keypoints)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "out.json").read_text()), result.output


def test_the_numbers_are_those_of_evaluate_by_the_same_keys(folder: Path) -> None:
    from clickpose.annotations import convert_set

    annotations = convert_set(DRAWN.annotations, CROWDPOSE14)
    metrics = evaluate(Predictor.load(folder / "model"), annotations, DRAWN.load_image, Simulation(max_clicks=1))
    written = run_json(folder, keypoints=None)
    assert {name: written[name] for name in metrics if "answer_ms" not in name} == {
        name: value for name, value in metrics.items() if "answer_ms" not in name
    }
    assert set(written) - set(metrics) == {"settings", "seconds"}
    assert written["settings"]["strategies"] == []


def test_the_time_of_every_call_is_told(folder: Path) -> None:
    written, printed = run_both(folder)
    seconds = written["seconds"]
    assert {"encode", "detect", "hypotheses", "refine", "rest"} <= set(seconds) and min(seconds.values()) > 0
    assert "Took" in printed and list(seconds)[-1] == "rest"


def test_strategies_are_compared_and_settings_are_told(folder: Path) -> None:
    written = run_json(folder, "--strategy", "worst", "--strategy", "random", "--loop", "at-once", "--hold", "none")
    assert list(written["strategies"]) == written["settings"]["strategies"] == ["worst", "random"]
    assert (written["settings"]["loop"], written["settings"]["hold"]) == ("at-once", "none")
    assert written["strategies"]["worst"]["AP@C1"] == written["AP@C1"]
    assert written["max_held_drift_px@90"] > 0  # hold none


def test_all_strategies_and_both_kinds_of_rounds_stand_side_by_side(folder: Path) -> None:
    names = [f"{strategy}, {loop}" for loop in ("progressive", "at-once") for strategy in STRATEGIES]
    written, printed = run_both(folder, "--strategy", "all", "--loop", "all")
    assert list(written["strategies"]) == names and written["settings"]["loop"] == "progressive, at-once"
    assert "side by side" in printed
    alone = run_json(folder, "--strategy", "random", "--loop", "at-once")
    assert written["strategies"]["random, at-once"]["AP@C1"] == alone["AP@C1"]


def test_disturbed_persons_are_scored_and_drawn(folder: Path, tmp_path: Path) -> None:
    levels = run_json(folder, "--disturb", "--plots", str(tmp_path / "plots"))["disturbed"]
    assert levels[0]["noise"] == 0 and levels[0]["given_ap"] > 0.99 > levels[-1]["given_ap"]
    assert Image.open(tmp_path / "plots" / "disturbed.png").width > 400


def test_a_perfect_model_beside_ours_needs_no_clicks(folder: Path) -> None:
    written, printed = run_both(folder, "--results", str(folder / "oracle.json"))
    oracle = written["results"]["oracle"]
    assert oracle["AP"] == pytest.approx(1.0) and oracle["clicks@95"] == oracle["NoC@95"] == 0
    assert oracle["gain_by_loop@C1"] == 0
    assert written["clicks@95"] > 0
    assert "oracle" in printed


def test_an_image_is_encoded_once_for_all_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, encode = [], Predictor.encode
    monkeypatch.setattr(Predictor, "encode", lambda self, image: encoded.append(image) or encode(self, image))
    write_results(folder / "again.json", [image.id for image in DRAWN.annotations.images])
    starts = ["--start-from", str(folder / "oracle.json"), "--start-from", str(folder / "again.json")]
    written, printed = run_both(folder, *starts)
    results = written["results"]
    assert len(encoded) == len(DRAWN.annotations)
    assert results["from oracle"]["AP"] == results["from again"]["AP"] == pytest.approx(1.0)
    assert "Click-Pose-C1 from oracle" in printed and "from again, by hand" in printed


def test_results_of_other_categories_than_the_data_s_persons_do_not_count(folder: Path, tmp_path: Path) -> None:
    document, results = (json.loads((folder / name).read_text()) for name in ("data.json", "oracle.json"))
    for record in (*document["annotations"], *results):
        record["category_id"] = 3
    document["categories"][0]["id"] = 3
    stray = [result | {"category_id": 0, "score": 1.0, "keypoints": [0.0] * 51} for result in results]
    (tmp_path / "data.json").write_text(json.dumps(document))
    (tmp_path / "oracle.json").write_text(json.dumps(results + stray))
    for name in ("model", *(image["file_name"] for image in document["images"])):
        (tmp_path / name).symlink_to(folder / name)
    assert run_json(tmp_path, "--results", str(tmp_path / "oracle.json"))["results"]["oracle"]["AP"] == pytest.approx(1)


def test_plots_are_images(folder: Path, tmp_path: Path) -> None:
    run_json(folder, "--plots", str(tmp_path / "plots"))
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    stems = [Path(image.file_name).stem for image in DRAWN.annotations.images]
    assert names == sorted(["click-curve.png", "clicks.png", *(f"{stem}-clicks.jpg" for stem in stems)])
    assert all(Image.open(tmp_path / "plots" / name).width > 400 for name in names)


def test_figures_tell_whose_clicks_another_model_had() -> None:
    one, two = {"worst": {"AP": 0.1}}, {"worst": {"AP": 0.1}, "random": {"AP": 0.2}}
    assert list(name_curves("v1", one, {"movenet": one})) == ["v1", "movenet, by hand"]
    assert list(name_curves("v1", two, {"movenet": two})) == ["worst", "random", "movenet, by hand, worst"]


def test_seconds_come_from_label_studio(folder: Path, tmp_path: Path) -> None:
    pose = new_pose(
        DRAWN.annotations.images[0].persons[0].keypoints_px[3:], DRAWN.annotations.images[0].persons[0].box_px, 0.9
    )
    result = make_prediction([pose], CROWDPOSE14, (320, 240), model_version="v1")["result"]
    annotation = {"id": 1, "result": result, "lead_time": 7.5}
    (tmp_path / "export.json").write_text(json.dumps([{"id": 1, "data": {"image": "a"}, "annotations": [annotation]}]))
    options = ["--label-studio-export", str(tmp_path / "export.json"), "--plots", str(tmp_path / "plots")]
    (times,) = run_json(folder, *options)["label_studio"]
    assert (times["model_version"], times["seconds_per_person"], times["mean_s"]) == ("v1", 7.5, 7.5)
    assert Image.open(tmp_path / "plots" / "seconds.png").width > 300


def test_what_does_not_exist_is_named(folder: Path, tmp_path: Path) -> None:
    strange, doubled = tmp_path / "strange.json", tmp_path / "oracle.json"
    write_results(strange, [1, 404])
    write_results(doubled, [1, 2])
    for options, kind, message in (
        (["--strategy", "best"], InvalidConfig, "no click strategy 'best': choose one of worst"),
        (["--loop", "backwards"], InvalidConfig, "no click loop 'backwards'"),
        (["--hold", "most"], InvalidConfig, "no hold 'most'"),
        (["--results", str(strange)], InvalidAnnotation, "names image 404, which is not in the data set"),
        (["--results", str(doubled), "--results", str(folder / "oracle.json")], InvalidConfig, "'oracle'"),
    ):
        error = run(folder, *options).exception
        assert isinstance(error, kind) and message in str(error)


def test_bad_records_and_images_are_left_out_unless_they_shall_end_it(folder: Path) -> None:
    good = (folder / "data.json").read_text()
    document = json.loads(good)
    document["annotations"][0]["bbox"] = [1, 2, 3]
    (folder / "data.json").write_text(json.dumps(document))
    try:
        assert isinstance(run(folder, "--strict").exception, InvalidAnnotation)
        assert run_json(folder)["num_persons"] == DRAWN.annotations.num_persons - 1
    finally:
        (folder / "data.json").write_text(good)


def test_data_of_other_beings_are_refused(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "data.json").read_text())
    document["categories"][0] = {"id": 1, "name": "table", "keypoints": [f"leg_{n}" for n in range(17)]}
    (tmp_path / "data.json").write_text(json.dumps(document))
    (tmp_path / "model").symlink_to(folder / "model")
    error = run(tmp_path).exception
    assert isinstance(error, InvalidAnnotation) and "crowdpose14" in str(error)


def test_only_the_keypoints_asked_for_are_scored_and_clicked(folder: Path) -> None:
    everything, wrists = run_json(folder, keypoints=None), run_json(folder)
    assert wrists["manual_clicks@95"] < everything["manual_clicks@95"] / 2
    assert "data.json, keypoints 5-6" in run(folder, keypoints="5-6").output
    error = run(folder, keypoints="1-99").exception
    assert isinstance(error, InvalidSkeleton) and "'1-99'" in str(error)


def test_crowded_images_are_scored_apart_where_the_data_tell_which_they_are(folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "data.json").read_text())
    for image in document["images"]:
        image["crowdIndex"] = 0.9
    (tmp_path / "data.json").write_text(json.dumps(document))
    for name in ("model", *(image["file_name"] for image in document["images"])):
        (tmp_path / name).symlink_to(folder / name)
    metrics = run_json(tmp_path)
    assert metrics["hard/AP"] == metrics["AP"] and "easy/AP" not in metrics


def test_the_paper_s_tables_show_every_model_by_hand_and_the_gain_of_the_last_answer() -> None:
    curve = {f"{key}@C{n}{of}": 0.5 for key in COLUMNS for n in (0, 1) for of in ("", "/by_hand", "/unanswered")}
    ours = curve | {"AP@C1": 0.75, "AP_M@C1": -1.0, "box/AP@C0": 0.25, "box/AP@C1": 0.2}
    started = {"from movenet": {"worst": curve | {"AP@C1": 0.875}}}
    table = model_and_manual({"worst": ours}, {"movenet": {"worst": curve | {"AP@C1/by_hand": 0.625}}}, started)
    rows = {name: list(numbers) for name, *numbers in zip(*(column.cells for column in table.columns), strict=True)}
    names = ["model", "movenet", "from movenet"]
    assert list(rows) == [
        *names,
        *(f"{name} + manual, C1" for name in names),
        "Click-Pose-C1",
        "Click-Pose-C1 from movenet",
    ]
    assert rows["Click-Pose-C1 from movenet"][0] == "0.875\n(+0.375)"
    assert rows["movenet + manual, C1"] == ["0.625", "0.500", "0.500", "0.500", "0.500", ""]
    same = "0.500\n(+0.000)"
    assert rows["Click-Pose-C1"] == ["0.750\n(+0.250)", same, same, "-", same, "0.200\n(-0.050)"]
