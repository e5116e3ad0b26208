"""Bodies that nobody should send, each as text under a name that says what is wrong with it.

Whichever transport they come by, they are refused with 400 and do no harm.
"""

import json


def one(**fields: object) -> str:
    """A post of one message with these fields."""
    return json.dumps({"messages": [{"body": 1} | fields]})


MALFORMED_JSON = {
    "nothing": "",
    "spaces": " \n\t ",
    "half an object": '{"messages": [{"body": 1}',
    "a comma too many": '{"messages": [{"body": 1},]}',
    "single quotes": "{'messages': [{'body': 1}]}",
    "two documents": '{"messages": [{"body": 1}]} {}',
    "a comment": '{"messages": [{"body": 1}]} // hi',
    "text": '"messages"',
    "a number": "1",
    "null": "null",
    "true": "true",
    "an array, as in v1": '[{"body": 1}]',
    "an empty object": "{}",
    "an empty array": "[]",
    "NaN": '{"messages": [{"body": NaN}]}',
    "Infinity": '{"messages": [{"body": Infinity}]}',
    "minus Infinity": '{"messages": [{"body": -Infinity}]}',
    "1e400": '{"messages": [{"body": 1e400}]}',
    "an integer of 65 bit": '{"messages": [{"body": 18446744073709551616}]}',
    "an integer of 64 bit unsigned": '{"messages": [{"body": 9223372036854775808}]}',
    "an integer below 64 bit": '{"messages": [{"body": -9223372036854775809}]}',
    "an integer of 5 000 digits": '{"messages": [{"body": ' + "9" * 5_000 + "}]}",
    "an integer with a leading zero": '{"messages": [{"body": 01}]}',
    "a hexadecimal integer": '{"messages": [{"body": 0x1}]}',
    "a lone surrogate": '{"messages": [{"body": "\\ud800"}]}',
    "a lone low surrogate as key": '{"messages": [{"body": {"\\udc00": 1}}]}',
    "a broken escape": '{"messages": [{"body": "\\x41"}]}',
    "a raw control character": '{"messages": [{"body": "a\nb"}]}',
    "a raw NUL": '{"messages": [{"body": "a\0b"}]}',
    "600 arrays": '{"messages": [{"body": ' + "[" * 600 + "]" * 600 + "}]}",
    "100 000 arrays": '{"messages": [{"body": ' + "[" * 100_000 + "]" * 100_000 + "}]}",
    "20 000 objects": '{"messages": [{"body": ' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}]}",
    "100 000 open brackets": "[" * 100_000,
    "a BOM": "\ufeff" + one(),
}

WRONG_POSTS = {
    "messages missing": '{"message": []}',
    "messages null": '{"messages": null}',
    "messages empty": '{"messages": []}',
    "messages an object": '{"messages": {"body": 1}}',
    "messages a text": '{"messages": "a"}',
    "a message that is a number": '{"messages": [1]}',
    "a message that is null": '{"messages": [null]}',
    "a message that is an array": '{"messages": [[]]}',
    "a message without a body": '{"messages": [{"ttl": 60}]}',
    "one bad among good": '{"messages": [{"body": 1}, {"body": 2, "ttl": 0}]}',
    "ttl 0": one(ttl=0),
    "ttl 59": one(ttl=59),
    "ttl too long": one(ttl=1_209_601),
    "ttl negative": one(ttl=-1),
    "ttl a text": one(ttl="60"),
    "ttl a float": one(ttl=60.5),
    "ttl true": one(ttl=True),
    "ttl an array": one(ttl=[60]),
    "ttl an object": one(ttl={}),
    "ttl of 2^62": one(ttl=2**62),
    "attributes a text": one(attributes="a"),
    "attributes an array": one(attributes=[1]),
    "attributes too large": one(attributes={"a": "b" * 20_000}),
    "20 000 messages": '{"messages": [' + ",".join(['{"body":1}'] * 20_000) + "]}",
}

WRONG_METADATA = {
    "an array": "[]",
    "a text": '"a"',
    "not JSON": "{",
    "a default ttl of 59": '{"_default_message_ttl": 59}',
    "a default ttl too long": '{"_default_message_ttl": 1209601}',
    "a default ttl of text": '{"_default_message_ttl": "60"}',
    "a default ttl of nothing": '{"_default_message_ttl": ""}',
    "a default delay of nothing": '{"_default_message_delay": ""}',
    "a default delay of an array": '{"_default_message_delay": []}',
    "a default delay of an object": '{"_default_message_delay": {}}',
    "a default delay too long": '{"_default_message_delay": 901}',
    "a default delay below 0": '{"_default_message_delay": -1}',
    "a post size of 0": '{"_max_messages_post_size": 0}',
    "a post size too large": '{"_max_messages_post_size": 262145}',
    "a post size of true text": '{"_max_messages_post_size": "true"}',
    "encryption by number": '{"_enable_encrypt_messages": 1}',
    "encryption of nothing": '{"_enable_encrypt_messages": ""}',
    "a claim count of text": '{"_max_claim_count": "3"}',
    "a dead-letter queue of a bad name": '{"_dead_letter_queue": "a b"}',
    "a dead-letter queue of a number": '{"_dead_letter_queue": 5}',
    "a dead-letter ttl of 0": '{"_dead_letter_queue_messages_ttl": 0}',
    "a flavor of a number": '{"_flavor": 5}',
    "a retry policy of an array": '{"_retry_policy": []}',
    "a retry policy of text": '{"_retry_policy": "often"}',
    "a durability nobody knows": '{"_durability": "perhaps"}',
    "metadata too large": '{"a": "' + "b" * 70_000 + '"}',
    "metadata nested too deeply": '{"a": ' + "[" * 200 + "]" * 200 + "}",
}

WRONG_CLAIMS = {
    "an array": "[]",
    "a text": '"a"',
    "ttl 59": '{"ttl": 59}',
    "ttl too long": '{"ttl": 43201}',
    "ttl a text": '{"ttl": "60"}',
    "ttl a float": '{"ttl": 60.5}',
    "ttl true": '{"ttl": true}',
    "ttl an object": '{"ttl": {}}',
    "grace 59": '{"ttl": 60, "grace": 59}',
    "grace below 0": '{"grace": -1}',
    "grace too long": '{"grace": 43201}',
    "grace a text": '{"grace": "60"}',
    "grace of 2^70": '{"grace": 1180591620717411303424}',
    "not JSON": "{ttl: 60}",
    "a body of 70 000 bytes": '{"a": "' + "b" * 70_000 + '"}',
}

WRONG_RENEWALS = {
    "nothing": "",
    "an array": "[]",
    "ttl 59": '{"ttl": 59}',
    "ttl a text": '{"ttl": "x"}',
    "grace below 0": '{"grace": -1}',
}
