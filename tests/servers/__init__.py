"""Real servers that integration tests run against: one that is installed, else one unpacked for the tests."""
