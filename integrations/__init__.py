"""Formats and protocols: COCO keypoint files and Label Studio. Knows no Ray and no torch."""
