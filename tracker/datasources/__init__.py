"""The datasources as their files describe them: what a row must look like, for who sends rows and who takes them.

The files lie in ``tinybird/datasources``; an installed package carries a copy of them.
"""
