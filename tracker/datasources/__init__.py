"""The datasources as their files describe them: the form of a row, for those that send rows and those that take them.

The files lie in ``tinybird/datasources``; an installed package carries a copy of them.
"""
