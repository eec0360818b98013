"""Clients for services: the packages ``python`` and ``node``, and what makes their types."""
