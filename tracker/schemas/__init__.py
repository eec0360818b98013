"""The folder with the schemas of the user's own event types."""
