"""Texts that come to pipes as parameters: Tinybird puts a backslash before each per cent sign of them."""

import re

import pytest

from tests.fixtures.kafka import PROJECT_DIR

PIPES = sorted((*PROJECT_DIR.glob("tinybird/pipes/*.pipe"), *PROJECT_DIR.glob("examples/**/*.pipe")))
PARAMETER = re.compile(r"(replaceAll\()?\{\{String\((\w+)[^{}]*(?:'[^']*'[^{}]*)*\)\}\}(, '\\\\%', '%'\))?")
#: Words of a list, event types and networks: no per cent sign is ever in them.
NEVER_WITH_PER_CENT = {"by", "period", "internal_networks", "goal", "step_type", "step_1", "step_2", "step_3", "step_4"}


@pytest.mark.parametrize("pipe", PIPES, ids=lambda pipe: pipe.stem)
def test_every_text_that_may_hold_a_per_cent_sign_is_compared_without_the_backslash(pipe):
    found = list(PARAMETER.finditer(text := pipe.read_text()))
    assert len(found) == text.count("{{String(")
    unmended = {match[2] for match in found if not (match[1] and match[3])}
    assert unmended <= NEVER_WITH_PER_CENT
