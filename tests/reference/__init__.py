"""The session rules once more, independent of the code that they judge."""
