"""Who counts as the same user, or the same address."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User

from durable_state.users import follower_name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "", True),
        ("a:unix:socket", "a:unix:socket", True),
    ],
)
def test_addresses_share_places(one: str, other: str, same: bool) -> None:
    """As providers assign them: whoever has an IPv6 address has its network."""
    for nobody in (AnonymousUser(), None):
        assert (follower_name(nobody, one) == follower_name(nobody, other)) is same


def test_a_user_has_the_same_places_from_everywhere() -> None:
    """And never the same as an address."""
    assert follower_name(User(pk=7), "192.0.2.1") == follower_name(User(pk=7), "192.0.2.2")
    assert follower_name(User(pk=7), "7") != follower_name(None, "7")
