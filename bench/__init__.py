"""Benchmarks. They measure two things side by side in one run, because times differ between machines and hours."""
