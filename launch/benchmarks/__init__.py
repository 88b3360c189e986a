"""One module per benchmark: `run() -> rows`, medians and ratios."""
