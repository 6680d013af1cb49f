"""Ray Serve around the same predictor: the service behind every click."""
