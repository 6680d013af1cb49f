"""How the method learns: targets, matching, losses, denoising, the feedback loop, and the pictures it sees."""
