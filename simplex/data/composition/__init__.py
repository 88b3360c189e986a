"""Tasks whose answer joins two facts: a question is asked after the facts."""
