"""What a browser's headers and the address of a page tell of a visitor. Pure."""
