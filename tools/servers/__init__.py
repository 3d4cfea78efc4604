"""The real servers of the tests and the benchmark: installed ones, otherwise servers that are unpacked for them."""
