"""Session ids from a path are decoded, or refused."""

import pytest

from tracker.collect.errors import RequestError
from tracker.collect.records.session_ids import session_id_from_path


def test_a_percent_encoded_id_in_a_path_is_decoded():
    assert session_id_from_path("s%C3%A9%2F1") == "sé/1"


@pytest.mark.parametrize("raw", ["%ff", "%C3", "", "a%20b", "%00", "x" * 129])
def test_a_bad_id_in_a_path_is_refused(raw):
    with pytest.raises(RequestError) as caught:
        session_id_from_path(raw)
    assert (caught.value.code, caught.value.status) == ("bad_session_id", 400)
