"""Whose address a request comes from, and how much of it is stored."""

import pytest

from tracker.collect.access.client_address import TrustedProxies, counted_as, kept_ip
from tracker.errors import ConfigurationError


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger's word
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1, 10.0.0.7", "198.51.100.1"),  # what stands left of it is made up
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "fe80::1%eth0", "fe80::1"),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(peer, forwarded_for, client):
    assert TrustedProxies(["10.0.0.0/8"]).client(peer, forwarded_for) == client


def test_a_network_that_is_none_is_a_clear_error():
    with pytest.raises(ConfigurationError, match="TRACKER_TRUSTED_PROXIES"):
        TrustedProxies(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("address", "policy", "kept"),
    [
        ("198.51.100.77", "keep", "198.51.100.77"),
        ("198.51.100.77", "truncate", "198.51.100.0"),
        ("2001:db8:1:2:3:4:5:6", "truncate", "2001:db8:1::"),
        ("198.51.100.77", "drop", ""),
        ("", "keep", ""),
        ("unix", "truncate", ""),
        # The zone is the client's own word for a network card: no part of the address, and of any length.
        ("fe80::1%eth0", "keep", "fe80::1"),
        ("fe80::1%" + "x" * 100, "keep", "fe80::1"),
        ("fe80::1%eth0", "truncate", "fe80::"),
    ],
)
def test_what_is_kept_of_an_address_is_the_policys(address, policy, kept):
    assert kept_ip(address, policy) == kept


def test_a_whole_ipv6_network_counts_as_one_sender():
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff")
    assert counted_as("2001:db8::1") != counted_as("2001:db8:0:1::1")
    assert counted_as("198.51.100.1") == "198.51.100.1"
