"""Records about the tracker itself: control records, decisions to skip, and usage."""
