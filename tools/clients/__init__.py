"""Programs that check the OpenAPI document and make clients of it, in folders of their own."""
