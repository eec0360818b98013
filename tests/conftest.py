"""Fixtures for every test: a real broker and a local Tinybird, started when the first test asks for them."""

pytest_plugins = ["tests.fixtures.kafka", "tests.fixtures.tinybird"]
