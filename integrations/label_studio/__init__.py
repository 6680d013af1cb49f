"""Label Studio.

Its labelling interface and its JSON:
interface.py      the XML that says what can be labelled, and with which keys
regions.py        poses written as regions
points.py         single regions read, and what a human did to a point
people.py         regions read as people; submitted.py reads a whole annotation, where nothing may be lost
foreign.py        what other projects have in an annotation: several images, other boxes, other choices
provenance.py     for every keypoint of an annotation, whether a human or a model placed it
times.py          seconds per person, by Label Studio's clock
tasks.py          tasks to import: images with their predictions
export.py         annotated tasks, read to learn from
read_tasks.py     tasks as they were read, and the JSON that keeps them
addresses.py      the address of an image that a task shows, and its name below its root
ordering.py       which task an annotator gets next
policy.py         which of several annotations of one task may be used

Its ML-backend protocol:
routes.py         the routes, with schemas.py, what Label Studio sends
interactions.py   the annotator's last action, read from the request that Label Studio sends
edits.py          a drawn or moved region read as an edit
answers.py        the answer to an edit
service.py        what the routes need from a pose service
auth.py           passwords and bearer tokens

Its server:
connection.py     requests to it: tokens of both kinds, pages, errors
client.py         its API, as far as this product uses it
pushing.py        pre-labelled images pushed to a project, each once
server.py         a local server, started in a folder
simulated_editor.py  its editor as a backend sees it, for simulated annotators
simulated_server.py  a server in memory, for tests and benchmarks of collecting
proxy.py          a reverse proxy that adds the script in page/ to its pages, so that dragged points are refined
"""
