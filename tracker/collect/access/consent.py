"""Consent: a browser's signals DNT and Sec-GPC, the deployment's policy for each, and a visitor's own answer."""

from collections.abc import Callable
from typing import Any, Final, Literal

#: The treatment of visitors who send a signal. ``anonymous``: no cookie, no user id, no address, no exact browser.
Policy = Literal["ignore", "anonymous", "drop"]
Signal = Literal["dnt", "gpc"]

_STRICTNESS: Final[dict[Policy, int]] = {"ignore": 0, "anonymous": 1, "drop": 2}


def asked_for(*, dnt: bool, gpc: bool, dnt_policy: Policy, gpc_policy: Policy) -> tuple[Policy, Signal]:
    """Return the stricter of the policies of both headers, and whose policy it is."""
    by_dnt: Policy = dnt_policy if dnt else "ignore"
    by_gpc: Policy = gpc_policy if gpc else "ignore"
    return (by_gpc, "gpc") if _STRICTNESS[by_gpc] >= _STRICTNESS[by_dnt] else (by_dnt, "dnt")


def visitor_after(answer: Any, known_id: str, *, may_mint: bool, new_id: Callable[[], str]) -> str:
    """Return who a visitor is after an answer about analytics: a new one at the first consent, nobody when denied.

    ``known_id`` is who it was, empty if that is not known.
    """
    if answer == "denied":
        return ""
    return new_id() if answer == "granted" and not known_id and may_mint else known_id
