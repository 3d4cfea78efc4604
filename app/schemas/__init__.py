"""The shapes that callers send and get, one module for each resource."""
