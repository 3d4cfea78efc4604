"""Benchmarks: measured side by side in one run, because times differ from machine to machine and hour to hour."""
