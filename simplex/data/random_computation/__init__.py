"""Universal pre-training data: random machines fed on each other's output."""
