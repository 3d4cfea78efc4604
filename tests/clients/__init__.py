"""Programs of others that read the OpenAPI document, and clients that they make of it."""
