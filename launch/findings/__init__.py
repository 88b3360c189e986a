"""One module per paper: from what was measured to claims and figures."""
