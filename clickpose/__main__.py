"""``clickpose``: every part of the product from the command line."""

from __future__ import annotations

import logging
import os
import sys

import typer

from clickpose.commands.annotate.command import annotate
from clickpose.commands.convert import convert
from clickpose.commands.data import data
from clickpose.commands.demo.command import demo
from clickpose.commands.evaluate import evaluate
from clickpose.commands.label_studio import label_studio
from clickpose.commands.models import models
from clickpose.commands.predict import predict
from clickpose.commands.prelabel import prelabel
from clickpose.commands.report import report
from clickpose.commands.retrain import retrain
from clickpose.commands.select import select
from clickpose.commands.serve import serve
from clickpose.commands.store import store
from clickpose.commands.train import train
from clickpose.errors import ClickPoseError, StoreInUse
from pipeline.cluster import show_token

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Interactive human keypoint annotation: Click-Pose on Ray, inside Label Studio.",
)
for command in (predict, annotate, demo, train, retrain, report, prelabel, select, serve, evaluate, convert):
    app.command()(command)
app.add_typer(models, name="models")
app.add_typer(data, name="data")
app.add_typer(store, name="store")
app.add_typer(label_studio, name="label-studio")


def main() -> None:
    """Run a command; an error of this product is printed as one line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "WARNING")  # read when ray.data is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by torch: threads that wait leave the core to others
    show_token()
    try:
        app()
    except StoreInUse as error:
        print(f"clickpose: {error}", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
    except ClickPoseError as error:
        sys.exit(f"clickpose: {error}")
    except OSError as error:  # most likely an output file: errors of input files are explained where they are read
        sys.exit(f"clickpose: {error.filename or 'the system'}: {error.strerror or error}")


if __name__ == "__main__":
    main()
