"""Mutation testing: small mistakes, planted one at a time in the parts that decide, for the fast tests to notice."""
