"""2-simplicial attention: a query looks at pairs of keys."""
