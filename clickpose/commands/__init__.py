"""The command line: the one place that knows every package, and that no package knows.

label_studio.py        clickpose label-studio: a project for a skeleton; predictions in (pushing.py), annotations out
serve.py               clickpose serve, with serving.py, which starts and stops the Ray Serve application
prelabel.py select.py  clickpose prelabel, and select: which of these images are worth a person's time next
train.py retrain.py    clickpose train and retrain, with recipes.py and settings.py, the training options they share,
                       and workers.py, those of the cluster
evaluate.py            clickpose evaluate: evaluation_options.py says what is measured, evaluation.py measures it,
                       evaluation_outputs.py writes it, with evaluation_tables.py, paper_tables.py, table_cells.py
models.py store.py     clickpose models: the registry of a store; clickpose store: what else is in it
convert.py             clickpose convert: the authors' checkpoints
report.py data.py      clickpose report: how a model improved; clickpose data: the snapshots it learned from
predict.py             clickpose predict: skeletons of photos, without a server
annotate/              clickpose annotate: a folder of photos, an editor, and a model that learns
demo/                  clickpose demo: the whole loop on one machine

collecting.py          a project of Label Studio: connect to it, collect its annotations
predict_again.py       new predictions for it when a model was promoted
proxying.py            the proxy in front of Label Studio, started and stopped
options.py             options of a command as fields of a dataclass
data_sources.py        several data sets: files, folders of their images, weights
locations.py           where commands read and write: local paths and URIs
output.py              the results of a command as JSON
"""
