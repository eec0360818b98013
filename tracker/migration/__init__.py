"""Moving from the queue to the tracker step by step: the lanes of each session, and a comparison of both lanes."""
