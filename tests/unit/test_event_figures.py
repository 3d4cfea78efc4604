"""The arithmetic of `make bench ARGS=events`."""

from bench.events import latency


def test_latency_counts_each_receiver_once_and_tells_what_was_lost() -> None:
    committed = {"one": 10.0, "two": 20.0}
    received = {"one": [10.3, 10.1, 99.0], "two": [20.2], "foreign": [5.0]}
    found = latency(committed, received, 2)
    assert (found.received, found.lost) == (3, 1)
    assert round(found.p50_s, 3) == 0.2
    assert round(found.p99_s, 3) == 0.3


def test_what_is_received_before_its_commit_is_known_took_no_time() -> None:
    assert latency({"one": 10.0}, {"one": [9.999]}, 1).p99_s == 0.0
