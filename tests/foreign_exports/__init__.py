"""Exports of other analytics tools, made from their public schemas, and readers that share no code with the product.

``history`` invents what visitors did. Each tool's module writes it as that tool exports it, and reads such a file as
the tool's own documentation explains it: as the events that an import has to give.
"""
