"""Texts of others (sysfs, the kubelet, a configuration) as they are shown: cut, and without what a terminal obeys."""

SHOWN_CHARACTERS = 100


def cut(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Return a text of so many characters at most; one that was longer ends in dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(value: object) -> str:
    """Return a value as Python writes it, cut."""
    return cut(repr(value))


def printable(text: str) -> str:
    """Return a text with escapes for all that is no printable character, such as a line break or a terminal's ESC."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
