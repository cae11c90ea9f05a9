"""Text from foreign files on its way to a terminal."""

_CONTROL = {code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def printable(text: str) -> str:
    r"""Return ``text`` with ``\u001b`` and the like for control characters, and no surrogates.

    A terminal obeys control characters, and a file cannot hold surrogates. JSON on one line remains
    the same JSON.
    """
    return text.translate(_CONTROL).encode(errors="backslashreplace").decode()
