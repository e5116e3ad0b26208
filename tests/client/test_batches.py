"""Cutting a stream of messages into posts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuska.client import NewMessage
from nuska.client.encoding import TooLarge, batches, post_document

bodies = st.lists(st.text(max_size=40), max_size=60)


@given(bodies, st.integers(1, 7), st.integers(300, 600))
def test_batches_keep_every_message_in_order_and_within_both_limits(texts, count, size):
    made = list(batches((NewMessage(body=text) for text in texts), count=count, size=size))
    posts = [post_document(batch) for batch in made]
    assert all(len(post) <= size for post in posts)
    assert all(1 <= len(batch) <= count for batch in made)
    assert [m["body"] for post in posts for m in json.loads(post)["messages"]] == texts


def test_batches_are_as_large_as_the_limits_allow():
    messages = [NewMessage(body="x" * 80)] * 30
    made = list(batches(messages, count=100, size=1000))
    one_more = len(post_document([*made[0], made[1][0]]))
    assert one_more > 1000


def test_a_message_that_fits_into_no_post_is_refused_with_both_sizes():
    with pytest.raises(TooLarge, match=r"1011 bytes.*at most 500"):
        list(batches([NewMessage(body="x" * 1000)], size=500))
