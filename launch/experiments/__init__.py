"""One module per paper: `Config`, `tiny()`, `paper()` and `run()`."""
