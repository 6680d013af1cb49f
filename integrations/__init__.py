"""Formats and protocols. Knows no Ray and no torch.

coco.py           COCO keypoint files, read and written; results for pycocotools
coco_results.py   COCO keypoint results of any pose estimator, read as poses
coco_predictions.py  predictions as a COCO file, as other tools open it
layouts.py        which keypoints the records of a COCO file hold, and where
whole_body.py     COCO-WholeBody, whose feet, face and hands have fields of their own
ochuman.py        OCHuman's own file
persons.py        images and persons of any of these files, checked
places.py         keypoints where none can be: shares instead of pixels, outside the image
records.py        the records of a JSON file: every error names file, id and field
strict_json.py    JSON as the standard has it, without NaN
store.py          models in a store as training writes them and the service reads them
redaction.py      addresses without signatures and passwords, for logs
label_studio/     Label Studio: its labelling interface, its JSON, its ML-backend protocol, its server
"""
