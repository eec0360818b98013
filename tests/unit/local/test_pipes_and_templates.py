"""Pipe files and templates: what is known is read, what is not is an error and never a guess."""

import pytest

from tracker.errors import ConfigurationError
from tracker.local.tinybird.pipes import Pipe, parse_pipe, whole_template
from tracker.local.tinybird.templates import TemplateError, render

PIPE = """TOKEN "t" READ

NODE endpoint
SQL >
    %
    SELECT 1

    FROM x

TYPE endpoint
"""


def test_a_pipes_template_is_its_sql_without_the_indent():
    assert parse_pipe("p", PIPE).template == "%\nSELECT 1\n\nFROM x"


@pytest.mark.parametrize(
    "text",
    [
        PIPE + "\nNODE second\nSQL >\n    SELECT 2\n",
        PIPE.replace("TYPE endpoint", "TYPE materialized"),
        PIPE.replace("TYPE endpoint\n", ""),
        PIPE + "\nCACHE 10\n",
        "TYPE endpoint",
    ],
)
def test_what_the_local_tinybird_does_not_serve_is_an_error(text: str):
    with pytest.raises(ConfigurationError, match=r"p\.pipe"):
        parse_pipe("p", text)


def pipes(**templates: str) -> dict[str, Pipe]:
    return {name: Pipe(name, template) for name, template in templates.items()}


def test_a_pipe_may_read_from_other_pipes_and_they_share_the_parameters():
    given = pipes(
        outer="%\nSELECT n FROM middle JOIN table_1 WHERE n < {{Int32(most)}}",
        middle="SELECT n FROM inner",
        inner="%\nSELECT 1 AS n WHERE {{String(word)}} = 'x'",
    )
    assert render(whole_template("outer", given), {"most": "7", "word": "FROM inner"}) == (
        "SELECT n FROM (\nSELECT n FROM (\nSELECT 1 AS n WHERE 'FROM inner' = 'x'\n) AS inner\n) AS middle "
        "JOIN table_1 WHERE n < toInt32('7')"
    )


@pytest.mark.parametrize("last", ["SELECT 1 FROM a", "SELECT 1 FROM b", "SELECT 1 FROM c"])
def test_a_pipe_that_reads_from_itself_is_an_error(last: str):
    given = pipes(a="SELECT 1 FROM b", b="SELECT 1 FROM c", c=last)
    with pytest.raises(ConfigurationError, match="reads from itself"):
        whole_template("a", given)


def test_only_the_branch_that_holds_asks_for_its_parameters():
    template = "{% if defined(a) %}{{String(a)}}{% if not defined(b) %}!{% end %}{% else %}none{% end %}"
    assert render(template, {}) == "none"
    assert render(template, {"a": "x"}) == "'x'!"
    assert render(template, {"a": "x", "b": ""}) == "'x'"


@pytest.mark.parametrize(
    "template",
    [
        "{{String(a)}}",
        "{{Int32(a, 'x')}}",
        "{{DateTime(a, 'yesterday')}}",
        "{{Float64(a, 1)}}",
        "{{String(a, 'x', enum=['x'])}}",
        "{{__import__('os')}}",
        "{{a}}",
        "{{String(a, 'x'}}",
        "{% for a in b %}{% end %}",
        "{% if defined(a) %}",
        "{% if a %}{% end %}",
        "{% end %}",
    ],
)
def test_what_is_not_known_or_does_not_fit_is_an_error(template: str):
    with pytest.raises(TemplateError):
        render(template, {})
