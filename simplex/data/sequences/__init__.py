"""Tasks that map one sequence to another, each with its optimal attention."""
