"""Goes through a JSON text value by value: a large one is never in memory as a whole, and its decoder (C code, which
holds the interpreter's lock) comes back after each value. Whatever is no JSON is a ValueError.
"""

import json
import re
from collections.abc import Iterator

BLANKS = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()


class Walk:
    """A place in a text. Whoever is given a key, or is told of an element, reads its value before the next."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def value(self) -> object:
        """Return the value that comes next, whole."""
        self._skip()
        value, self._at = DECODER.raw_decode(self._text, self._at)
        return value

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that comes next."""
        self._take("{")
        if self.is_next("}"):
            self._take("}")
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise ValueError(f"expected a key, got {type(key).__name__}")
            self._take(":")
            yield key
            if self._take(",}") == "}":
                return

    def elements(self) -> Iterator[object]:
        """Yield the values of the list that comes next."""
        self._take("[")
        if self.is_next("]"):
            self._take("]")
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def end(self) -> None:
        """See that nothing comes any more."""
        self._skip()
        if self._at < len(self._text):
            raise ValueError(f"more behind the end, from character {self._at} on")

    def is_next(self, character: str) -> bool:
        self._skip()
        return self._text.startswith(character, self._at)

    def _take(self, one_of: str) -> str:
        self._skip()
        found = self._text[self._at : self._at + 1]
        if not found or found not in one_of:
            raise ValueError(f"expected one of {one_of} at character {self._at}")
        self._at += 1
        return found

    def _skip(self) -> None:
        blanks = BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at
