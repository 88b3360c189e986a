"""Tests that run in a process of their own, on eight simulated devices."""
