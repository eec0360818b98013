"""What a visitor's browser asks of us with DNT and Sec-GPC, and what the deployment makes of it."""

from typing import Final, Literal

#: What is done when the signal is there. ``anonymous``: no cookie, no user id, no address, no exact browser.
Policy = Literal["ignore", "anonymous", "drop"]
Signal = Literal["dnt", "gpc"]

_STRICTNESS: Final[dict[Policy, int]] = {"ignore": 0, "anonymous": 1, "drop": 2}


def asked_for(*, dnt: str | None, gpc: str | None, dnt_policy: Policy, gpc_policy: Policy) -> tuple[Policy, Signal]:
    """Return the stricter of what both headers lead to, and which of them it was."""
    by_dnt: Policy = dnt_policy if dnt == "1" else "ignore"
    by_gpc: Policy = gpc_policy if gpc == "1" else "ignore"
    return (by_gpc, "gpc") if _STRICTNESS[by_gpc] >= _STRICTNESS[by_dnt] else (by_dnt, "dnt")
