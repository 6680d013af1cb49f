"""Images from outside: decoded in one place, upright, RGB, within limits.

decoding.py      bytes or a file to an RGB image
orientation.py   which way up it is, as browsers see it
png.py           chunks of a PNG that browsers ignore
fitting.py       records whose size is not that of their image; findings.py logs them
limits.py        small files that would take hours or all memory, rejected before they are decoded
"""

from clickpose.images.decoding import FORMATS, decode_image, read_image
from clickpose.images.findings import Findings
from clickpose.images.fitting import open_fitted
from clickpose.images.limits import MAX_BYTES, MAX_PIXELS, refuse_large_file

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Findings",
    "decode_image",
    "open_fitted",
    "read_image",
    "refuse_large_file",
]
