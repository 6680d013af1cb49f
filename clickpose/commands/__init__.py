"""The command line: the one place that knows every package, and that no package knows.

label_studio.py        clickpose label-studio: a project for a skeleton; predictions in, annotations out
serve.py               clickpose serve, with serving.py, which starts and stops the Ray Serve application
prelabel.py            clickpose prelabel
train.py retrain.py    clickpose train and retrain, with recipes.py and settings.py, the training options they share
evaluate.py            clickpose evaluate, with evaluation.py and evaluation_{options,outputs,tables}.py
models.py convert.py   clickpose models: the registry of a store; clickpose convert: the authors' checkpoints
predict.py             clickpose predict: skeletons of photos, without a server
annotate/              clickpose annotate: a folder of photos, an editor, and a model that learns
proxying.py            the proxy in front of Label Studio, started and stopped
demo/                  clickpose demo: the whole loop on one machine
options.py             options of a command as fields of a dataclass
output.py              the results of a command as JSON
"""
