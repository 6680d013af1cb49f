"""Ray Train and Ray Data around the method, and the loop from annotations to a promoted model.

train.py          train a model: in this process, on a GPU, on a cluster
train_worker.py   what runs in every training worker
epochs.py         the batches of an epoch, in either form of the method
validation.py     how a training is doing on images that it does not learn from
mixture.py        several data sets trained on together, by weight
run_log.py        the progress of training, in a file beside its checkpoints
trackers.py       its numbers for TensorBoard and MLflow

evaluate.py       measure a model on several workers

prelabel.py       label images by the million: shards, actors, resumable; prelabel_summary.py counts the results
listing.py        find images, here or in a bucket
name_files.py     files that list images
planning.py       what was asked for, listed on disk and cut into shards
inventory.py      what is labelled already; known.py keeps that small
labelling_model.py  the model that labels, known by its content
label_shards.py   hand out shards: to Ray Data's actors, or in this process
labeller.py       label one shard: read ahead, look at several images at once
stability.py      how far poses move when the model looks once more, or at the mirrored image
prelabelled.py    models, shards and predictions, and the rows that these are on disk
shards.py         predictions on disk: Parquet data sets of persons and images
candidates.py     pre-labelled images as something to choose from
selection.py      which of them are worth a person's time next
control_arm.py    what the images drawn at random say: clicks left, and whether more images pay
breadcrumbs.py    which image was open when a worker crashed
image_files.py    images by name, here or in a bucket
roots.py          what an image is called: its path below its root

retrain.py        one round: collect, snapshot, train, compare, promote if better, report
watch.py          unattended rounds
round_plan.py     the plan of a round: champion, data, what both models are compared on
open_round.py     a round on disk while it is running
task_log.py       tasks of Label Studio as they were last read, so that only changes are read
snapshot.py       annotations frozen under a name that follows from their content
replay.py         data that the champion was trained on, so that a fine-tuned model does not forget it
agreement.py      several annotators on one image
set_aside.py      annotations that look wrong, kept with the reason
suspicion.py      which annotations look wrong
gold.py           images whose labels are trusted
compare.py        champion and challenger on the same held-back images
gate.py           the rule: whether the challenger replaces the champion
round_report.py   the report of a round
progress_report.py  how the model improved over all rounds
data_diff.py      what changed between two snapshots

store.py          bytes, folders and pointers below one root, a folder or a bucket
lease.py          one writer at a time
sweep.py          leftovers of interrupted writers
prune.py          which files of a store are still needed
registry.py       the models of a store
dataset.py        a data set, local or in a bucket
cluster.py        the cluster that RAY_ADDRESS names, or a small one on this machine
autoscaler.py     what the cluster's autoscaler may start
lost_cluster.py   end when the cluster that was joined is gone
progress.py       progress bars and progress lines
"""
