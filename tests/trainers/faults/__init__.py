"""Runs that are killed, in processes of their own."""
