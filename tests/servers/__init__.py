"""The real servers of the integration tests: installed ones, otherwise servers that are unpacked for the tests."""
