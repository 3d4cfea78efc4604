"""The fixtures of the real servers (`tools/servers/`), and the tests of the servers themselves."""
