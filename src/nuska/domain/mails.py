"""What a subscription's options say about its mail, and how a message is put into one.

Templates are plain texts in which a few names between dollar signs stand for something:

| Name | Stands for |
|---|---|
| ``$message$`` | the JSON document that a webhook gets |
| ``$body$`` | the message's body: JSON, or the text itself where it is one |
| ``$body.KEY.KEY$`` | what stands under these keys of the body; nothing where there is none |
| ``$queue$`` | the name of the queue or topic |
| ``$message_id$`` | the message's id |
| ``$unsubscribe$`` | the link by which the subscriber leaves; nothing where there is none |

In the HTML form what is put in is escaped. Nothing here sends, and no template can run.
"""

import html
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from nuska.domain.errors import InvalidInput
from nuska.domain.messages import Message
from nuska.domain.templates import MAX_FILLED, TOO_LARGE, payload

FROM_KEY = "from"
SUBJECT_KEY = "subject"
TEXT_KEY = "mail_text"
HTML_KEY = "mail_html"

MAX_FROM = 320
MAX_SUBJECT = 500
MAX_TEMPLATE = 32_768
"""Characters."""
MAX_SHOWN_SUBJECT = 900
"""Characters of a subject once it is filled; the rest is cut off."""

_NAME = re.compile(r"\$(message|queue|message_id|unsubscribe|body(?:\.[A-Za-z0-9_-]{1,64}){0,8})\$")
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")
_FROM = re.compile(rf"(?:{_ADDRESS.pattern}|[^<>@,;:\\]{{1,200}}<{_ADDRESS.pattern}>)")


class MailOptions(Struct, frozen=True, kw_only=True):
    sender: str | None = None
    """``name@example.org`` or ``Name <name@example.org>``."""
    subject: str | None = None
    text: str | None = None
    """A template; None: the JSON document, and nothing else."""
    html: str | None = None


class Letter(Struct, frozen=True, kw_only=True):
    """The words of one mail."""

    subject: str
    text: str
    html: str | None = None


def is_sender(text: str) -> bool:
    """Whether mail can come from ``text``: ``name@example.org``, ``Name <name@example.org>``."""
    return len(text) <= MAX_FROM and text.isprintable() and _FROM.fullmatch(text) is not None


def parse_mail_options(options: Mapping[str, object]) -> MailOptions:
    """What ``options`` says about mail; ``InvalidInput`` when it cannot be sent. null is "not
    set"."""
    sender = _line(options, FROM_KEY, MAX_FROM)
    if sender and not is_sender(sender):
        raise InvalidInput(f"options.{FROM_KEY} must be an address, such as Me <me@example.org>.")
    return MailOptions(
        sender=sender or None,
        subject=_line(options, SUBJECT_KEY, MAX_SUBJECT),
        text=_template(options, TEXT_KEY),
        html=_template(options, HTML_KEY),
    )


def subject_of(subscriber: str) -> str | None:
    """The subject that ``mailto:…?subject=…`` names (C12)."""
    query = parse_qs(subscriber.partition("?")[2], keep_blank_values=True, max_num_fields=20)
    named = {key.lower(): values[0] for key, values in query.items()}
    return named.get("subject")


def letter(
    message: Message, name: str, options: MailOptions, *, subject: str, link: str | None
) -> Letter:
    """The mail about ``message`` of the queue or topic ``name``."""
    values = _values(message, name, link)
    text = payload(message, name)
    if options.text is not None:
        text = _filled(options.text, values, _as_it_is)
        if link is not None and "$unsubscribe$" not in options.text:
            text += f"\n\n-- \nTo get no more of these: {link}\n"
    page = None
    if options.html is not None:
        page = _filled(options.html, values, html.escape)
        if link is not None and "$unsubscribe$" not in options.html:
            page += f'\n<p><a href="{html.escape(link)}">Get no more of these</a></p>\n'
    head = " ".join(_filled(subject, values, _as_it_is).split())[:MAX_SHOWN_SUBJECT]
    return Letter(subject=head, text=text, html=page)


def _values(message: Message, name: str, link: str | None) -> Callable[[str], str]:
    body: object = None

    def value(wanted: str) -> str:
        nonlocal body
        if wanted == "message":
            return payload(message, name)
        if wanted == "queue":
            return name
        if wanted == "message_id":
            return message.id
        if wanted == "unsubscribe":
            return link or ""
        if body is None:
            body = msgspec.json.decode(message.body)
        found = body
        for key in wanted.split(".")[1:]:
            found = found.get(key) if isinstance(found, dict) else None
        return _shown(found)

    return value


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _filled(template: str, value: Callable[[str], str], escape: Callable[[str], str]) -> str:
    """``InvalidInput`` when more than ``MAX_FILLED`` characters would come of it."""
    room = MAX_FILLED - len(template)

    def replaced(match: re.Match[str]) -> str:
        nonlocal room
        text = escape(value(match[1]))
        room -= len(text)
        if room < 0:
            raise InvalidInput(TOO_LARGE)
        return text

    return _NAME.sub(replaced, template)


def _as_it_is(text: str) -> str:
    return text


def _line(options: Mapping[str, object], key: str, longest: int) -> str | None:
    """One line of text: what stands in a header must not begin another one."""
    value = options.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise InvalidInput(
            f"options.{key} must be one line of text of at most {longest} characters."
        )
    return value


def _template(options: Mapping[str, object], key: str) -> str | None:
    value = options.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEMPLATE:
        raise InvalidInput(f"options.{key} must be a text of at most {MAX_TEMPLATE} characters.")
    return value
