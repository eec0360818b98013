"""Events of your own types. Made by `tracker schemas build`; don't edit."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from event_tracker_client import OwnEvent


class PurchasePropertiesItems(TypedDict):
    """``items``."""

    sku: str
    quantity: NotRequired[int]


class PurchaseProperties(TypedDict):
    """Something was bought."""

    order_id: str
    total: float
    coupon: NotRequired[str]
    items: NotRequired[Sequence[PurchasePropertiesItems]]


def purchase_event(properties: PurchaseProperties) -> OwnEvent:
    """Something was bought.

    client.track(session_id, **purchase_event({...}))
    """
    return {"event_type": "purchase", "schema": "1-1-0", "properties": properties}
