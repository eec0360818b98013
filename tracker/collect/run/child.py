"""One of several collectors on a port: started by the parent, which has passed it its sockets."""

import os
import socket
import sys

from pydantic import ValidationError

from tracker.collect.run.process import serve
from tracker.errors import TrackerError
from tracker.observe.logs import configure_logging
from tracker.settings.environment import error_lines, read_settings


def main() -> int:
    """Serve until SIGTERM. The arguments are the listening sockets and the pipe to say ready on, as descriptors."""
    listening, told_fd = sys.argv[1], int(sys.argv[2])
    sockets = [socket.socket(fileno=int(number)) for number in listening.split(",")]

    def tell_ready() -> None:
        os.write(told_fd, b"1")
        os.close(told_fd)

    try:
        settings = read_settings()
        configure_logging(settings)
        serve(settings, sockets, tell_ready)
    except (TrackerError, ValidationError) as error:
        for line in error_lines(error):
            print(f"tracker: {line}", file=sys.stderr)  # noqa: T201 - for the operator
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
