"""Ids that come from a mistake: a program has turned a missing value, an object or an unfilled template into text.

Many senders make the same such id, so it would merge them: all visitors of a page into one session, all its users into
one user.
"""

from typing import Any, Final

_WORDS: Final = ("undefined", "null", "none", "nil", "nan", "true", "false")
#: As programs write them. A set of all forms costs half of changing each id to lower case.
REFUSED_IDS: Final = frozenset(
    {
        *_WORDS,
        *(word.capitalize() for word in _WORDS),
        *(word.upper() for word in _WORDS),
        *(f"({word})" for word in _WORDS),
        *(f"<{word}>" for word in _WORDS),
        "NaN",
        "-NaN",
        "%5Bobject%20Object%5D",
        "00000000-0000-0000-0000-000000000000",
    }
)
#: How the languages of templates begin a field: Jinja, JavaScript, ERB, shells; and an object that became a text.
REFUSED_BEGINNINGS: Final = frozenset({"{{", "{%", "${", "<%", "#{", "[o"})


def has_bug(first: Any, second: Any, third: Any) -> bool:
    """Return whether one of three ids is the mistake of a program, if they are texts. About 0.2 us for all of them."""
    try:
        return (
            first in REFUSED_IDS
            or second in REFUSED_IDS
            or third in REFUSED_IDS
            or first[:2] in REFUSED_BEGINNINGS
            or second[:2] in REFUSED_BEGINNINGS
            or third[:2] in REFUSED_BEGINNINGS
        )
    except TypeError:  # one of them is not a text: the check of the record refuses it
        return False


def is_bug(value: object) -> bool:
    """Return whether a value is a text that is certainly the mistake of a program. About 0.1 us."""
    return isinstance(value, str) and (value in REFUSED_IDS or value[:2] in REFUSED_BEGINNINGS)
