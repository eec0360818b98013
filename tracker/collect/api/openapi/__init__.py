"""The OpenAPI document of the collector."""
