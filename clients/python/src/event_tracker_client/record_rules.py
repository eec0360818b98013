"""What the data of Kafka records may hold, as their annotations have it. Made by `make clients`; don't edit."""

from typing import Final

from event_tracker_client.checks import Integer, Number, OneOf, Rule, Text, TextOrObject

EVENT_RULES: Final[dict[str, Rule]] = {
    "event_id": Text(128),
    "event_value": Text(2_048),
    "event_value_type": Text(128),
    "user_id": Text(128),
    "campaign_id": Text(128),
    "attribution_id": Text(128),
    "workspace_id": Text(128),
    "project_id": Text(128),
    "landing_page_id": Text(128),
    "ab_test_id": Text(128, takes_null=True),
    "ab_test_variant_id": Text(128, takes_null=True),
    "form_id": Text(128, takes_null=True),
    "clicked_element": Text(2_048, takes_null=True),
    "clicked_url": Text(4_096, takes_null=True),
    "page_load_time": Number(0, 86_400_000, takes_null=True),
    "dom_ready_time": Number(0, 86_400_000, takes_null=True),
    "scroll_percentage": Number(0, 100, takes_null=True),
    "time_on_page": Number(0, 86_400_000, takes_null=True),
    "viewport_width": Integer(0, 100_000, takes_null=True),
    "viewport_height": Integer(0, 100_000, takes_null=True),
    "metadata": TextOrObject(16_384, 8, 1_000, takes_null=True),
    "environment": Text(128),
    "campaign_environment": Text(128),
    "page_url": Text(4_096),
    "referrer_url": Text(4_096, takes_null=True),
    "event_type": OneOf(("pageview", "click", "scroll", "form_submit", "conversion")),
}

SESSION_RULES: Final[dict[str, Rule]] = {
    "user_id": Text(128),
    "campaign_id": Text(128),
    "workspace_id": Text(128),
    "project_id": Text(128),
    "attribution_id": Text(128),
    "landing_page_id": Text(128),
    "ab_test_id": Text(128),
    "ab_test_variant_id": Text(128),
    "environment": Text(128),
    "campaign_environment": Text(128),
    "user_traits": Text(1_024),
    "consent_analytics": OneOf(("granted", "denied")),
    "consent_marketing": OneOf(("granted", "denied")),
    "timeout_seconds": Integer(1, 3_600),
}

#: What events and sessions may have beside their data.
ENVELOPE_RULES: Final[dict[str, Rule]] = {
    "visitor_id": Text(128),
}

#: No white space and no control characters.
SESSION_ID_PATTERN: Final = r"^[^\x00-\x20\x7f]+$"
MAX_SESSION_ID_CHARS: Final = 128
MAX_WORKSPACE_ID_CHARS: Final = 128
