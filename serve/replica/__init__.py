"""One model replica. In reading order:

replica          detect, refine, add a person, apply an annotator's edit
edits            what an edit on the annotator's screen means to the predictor
encoded_cache    encoded images, shared and limited in memory
encode_queue     images that wait to be encoded
routing          which replica answers
client           how the ingress calls replicas
"""
