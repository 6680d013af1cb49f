"""The command line: the one place that knows every package, and that no package knows."""
