"""The datasources as their files describe them: what a row must look like, for who sends rows and who takes them.

``project`` is ``tinybird/datasources``; an installed package carries a copy of it.
"""
