"""From the body of a request to the bytes of source records. Pure: no clock, no IO."""
