"""The parser of datasource files."""

import pytest

from tracker.datasources.files import Column, parse_datasource
from tracker.errors import ConfigurationError

VISITS = """\
TOKEN "append_only" APPEND

DESCRIPTION >
    Visits, one a row.

# a comment
SCHEMA >
    `at` DateTime64(3, 'UTC') `json:$.at`,
    `kind` LowCardinality(Nullable(String)) `json:$.kind`,
    country String `json:$.country` DEFAULT 'nowhere'

ENGINE "ReplacingMergeTree"
ENGINE_PARTITION_KEY "toYYYYMM(at)"
ENGINE_SORTING_KEY "country, at"
ENGINE_VER "at"
"""


def test_reads_every_part_of_a_file():
    visits = parse_datasource("visits", VISITS)

    assert visits.columns == (
        Column("at", "DateTime64(3, 'UTC')"),
        Column("kind", "LowCardinality(Nullable(String))"),
        Column("country", "String", "'nowhere'"),
    )
    assert [column.nullable for column in visits.columns] == [False, True, False]
    assert (visits.name, visits.engine, visits.sorting_key) == ("visits", "ReplacingMergeTree", "country, at")
    assert (visits.partition_key, visits.version_column) == ("toYYYYMM(at)", "at")


def test_partition_and_version_may_be_left_out():
    text = "".join(line for line in VISITS.splitlines(keepends=True) if "PARTITION" not in line and "VER" not in line)

    visits = parse_datasource("visits", text)

    assert (visits.partition_key, visits.version_column) == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ENGINE_VER ", "ENGINE_VERSION ", "visits.datasource:15: not known"),
        ("SCHEMA >", "SCHEME >", "visits.datasource:7: not known"),
        ("`json:$.kind`", "", "visits.datasource:9: not a column"),
        ("json:$.kind", "json:$.visit.kind", "visits.datasource:9: .*from visit.kind"),
        ('ENGINE "ReplacingMergeTree"\n', "", "visits.datasource: ENGINE missing"),
        ('ENGINE_VER "at"', 'ENGINE_VER "version"', "ENGINE_VER names no column: version"),
    ],
)
def test_says_where_it_does_not_understand(old: str, new: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        parse_datasource("visits", VISITS.replace(old, new))


def test_a_name_that_could_not_be_a_table_is_refused():
    with pytest.raises(ConfigurationError, match="letters, digits and underscores"):
        parse_datasource("visits`; DROP", VISITS)
