"""The endpoints: one file for each resource, the responses they give, and the OpenAPI document."""
