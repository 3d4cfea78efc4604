"""Crash points, by mbsync's method: every effect of a cycle is counted, the process is killed before and after each,
and what the next cycles make of it is compared with what was there."""
