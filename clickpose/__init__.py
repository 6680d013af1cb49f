"""Click-Pose: keypoints of every person in a picture, refined by clicks (Yang et al., ICCV 2023)."""
