"""Moving from the queue to the tracker step by step: which session takes which lane, and what both lanes got."""
