"""What callers send and get: one module a resource."""
