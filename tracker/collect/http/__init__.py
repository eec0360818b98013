"""HTTP/1.1: sockets, connections, parsing and rendering. It knows no event, key or session."""
