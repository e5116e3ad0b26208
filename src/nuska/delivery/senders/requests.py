"""The head of a POST, as bytes. Says nothing about what is posted."""

from collections.abc import Mapping

from nuska.domain.egress import WebhookUrl


def head(url: WebhookUrl, *headers: Mapping[str, str]) -> bytes:
    """Everything up to the value of ``Content-Length``, which comes last of what is given here.

    Of headers with one name the last one counts, however it is written. ``ValueError``, which
    repeats nothing, where one would end its line.
    """
    chosen: dict[str, tuple[str, str]] = {}
    for some in headers:
        for name, value in some.items():
            chosen[name.lower()] = (name, value)
    lines = [f"POST {url.target} HTTP/1.1", f"Host: {url.authority}"]
    lines += [f"{name}: {value}" for name, value in chosen.values()]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("A header ends its line.")
    lines.append("Content-Length: ")
    return "\r\n".join(lines).encode()
