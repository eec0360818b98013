"""The version: the tracker's own."""

VERSION = "0.2.0"
