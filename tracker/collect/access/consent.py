"""Consent: the signals DNT and Sec-GPC of a browser, and the policy of the deployment for each."""

from typing import Final, Literal

#: The treatment of visitors who send a signal. ``anonymous``: no cookie, no user id, no address, no exact browser.
Policy = Literal["ignore", "anonymous", "drop"]
Signal = Literal["dnt", "gpc"]

_STRICTNESS: Final[dict[Policy, int]] = {"ignore": 0, "anonymous": 1, "drop": 2}


def asked_for(*, dnt: bool, gpc: bool, dnt_policy: Policy, gpc_policy: Policy) -> tuple[Policy, Signal]:
    """Return the stricter of the policies of both headers, and whose policy it is."""
    by_dnt: Policy = dnt_policy if dnt else "ignore"
    by_gpc: Policy = gpc_policy if gpc else "ignore"
    return (by_gpc, "gpc") if _STRICTNESS[by_gpc] >= _STRICTNESS[by_dnt] else (by_dnt, "dnt")
