"""Import: historical events from files into a log of their own, with their own time."""
