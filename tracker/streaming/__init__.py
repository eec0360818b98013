"""Faust, fed by chunks: a transport that hands agents consecutive records under a lease."""
