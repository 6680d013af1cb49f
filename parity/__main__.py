"""Compare the model with recorded numbers: ``python -m parity [DIR] [--prepared]``.

DIR has ``.npz`` files made by another implementation of Click-Pose on weights and images that both draw from
names and seeds (``draws.py``); without it, those that ship are compared. The arrays of a file tell what it is:

    topk_index          every stage of inference       inference
    loss_eval/loss_ce   matcher and losses             matching
    top20_index         rounds of the feedback loop    loop
    total_loss_f64      a training step                training
    annotations_json    AP at n clicks, NoC            clicks

With ``--prepared`` the network is the one that inference runs, wherever no gradient is wanted.
Each array gets one line with the largest error and its tolerance. Exit status: 0 if all are within, 1 if one is
not, 2 if there is nothing to compare or a file holds something else.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

from parity.clicks import check_clicks
from parity.fixture import Fixture
from parity.inference import check_eval
from parity.loop import check_loop
from parity.matching import check_criterion
from parity.training import check_train_loop

CASES = Path(__file__).with_name("cases")
PREPARED = "--prepared"
CHECKS: dict[str, Callable[[Fixture], None]] = {
    "topk_index": check_eval,
    "top20_index": check_loop,
    "loss_eval/loss_ce": check_criterion,
    "total_loss_f64": check_train_loop,
    "annotations_json": check_clicks,
}


def main(arguments: list[str]) -> int:
    """Check every fixture of a folder; return the exit status."""
    folders = [argument for argument in arguments if argument != PREPARED]
    if len(folders) > 1 or any(argument.startswith("-") for argument in folders):
        return refuse(f"usage: python -m parity [DIR] [{PREPARED}]")
    folder = Path(folders[0]) if folders else CASES
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        return refuse(f"{folder} holds no fixture: there is no .npz file in it")
    try:
        fixtures = [Fixture(path, PREPARED in arguments) for path in paths]
    except (OSError, ValueError, BadZipFile) as error:
        return refuse(f"{folder} holds a file that numpy cannot read: {error}")
    for fixture in fixtures:
        if not any(name in fixture for name in CHECKS):
            return refuse(f"{fixture.path} is no fixture: it holds none of the arrays {', '.join(CHECKS)}")
    for fixture in fixtures:
        check(fixture)
    return summarise(fixtures)


def check(fixture: Fixture) -> None:
    """Compare a fixture's arrays with ours and print a line for each."""
    for name, compare in CHECKS.items():
        if name in fixture:
            compare(fixture)
    for line in fixture.lines:
        print(line, flush=True)
    for name in sorted(fixture.untouched):
        print(f"{fixture.path.name:<26} {name:<36} is not compared with anything")


def summarise(fixtures: list[Fixture]) -> int:
    lines = [line for fixture in fixtures for line in fixture.lines]
    failed = [line for line in lines if not line.ok]
    ignored = sum(len(fixture.untouched) for fixture in fixtures)
    for line in failed:
        print(line)
    print(
        f"{len(fixtures)} files, {len(lines)} arrays compared, {len(failed)} beyond tolerance, {ignored} not compared"
    )
    return 1 if failed else 0


def refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
