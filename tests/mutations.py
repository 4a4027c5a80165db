r"""Changes lines at random, as damage, attacks and odd servers do: pieces are put in, cut, moved, doubled."""

import random

# What could begin or end a field, or be taken for one.
PIECES = (
    '"', "\\", '\\"', "\\\\", "\\x41", " ", "  ", "\t", "-", " - ", '""', '" "', '"-"', "[", "]", "] ", ",",
    ", ",
    "?", ":", "::", ":80", ":80 ", "a:80 ", "%", "%eth0", ".", "1", "0000", "404", '" 200 5', '" 200 5 "',
    " HTTP/1.1", "HTTP/1.1", "[17/May/2015:10:05:03 +0000]", "17/May/2015:10:05:03 +0000", ".123", "60",
    "192.0.2.7", "[2001:db8::1]:443", "2001:db8::1", "www.example.org", "http://a/", "{", "}", "#", "\r",
    "\0", "\x01", "\x7f", "\x85", "\u2028", "\xa0", "\ufeff", "é", "🌊",
)  # fmt: skip


def mutate(line: str, rng: random.Random) -> str:
    """Change a line in one to three places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        line = rng.choice(CHANGES)(line, rng)
    return line


def _pick_part(line: str, rng: random.Random) -> tuple[int, int]:
    begin = rng.randrange(len(line) + 1)
    return begin, min(len(line), begin + rng.choice((1, 1, 1, 2, 3, 5, 10, 40)))


def _insert(line: str, rng: random.Random) -> str:
    at = rng.randrange(len(line) + 1)
    return line[:at] + rng.choice(PIECES) + line[at:]


def _replace(line: str, rng: random.Random) -> str:
    begin, end = _pick_part(line, rng)
    return line[:begin] + rng.choice(PIECES) + line[end:]


def _delete(line: str, rng: random.Random) -> str:
    begin, end = _pick_part(line, rng)
    return line[:begin] + line[end:]


def _duplicate(line: str, rng: random.Random) -> str:
    begin, end = _pick_part(line, rng)
    return line[:end] + line[begin:end] * rng.choice((1, 1, 2, 7)) + line[end:]


def _swap(line: str, rng: random.Random) -> str:
    (a, b), (c, d) = sorted((_pick_part(line, rng), _pick_part(line, rng)))
    c = max(b, c)
    d = max(c, d)
    return line[:a] + line[c:d] + line[b:c] + line[a:b] + line[d:]


def _move_words(line: str, rng: random.Random) -> str:
    words = line.split(" ")
    a, b = rng.randrange(len(words)), rng.randrange(len(words))
    words[a], words[b] = words[b], words[a]
    return " ".join(words)


def _cut_off(line: str, rng: random.Random) -> str:
    return line[: rng.randrange(len(line) + 1)]


def _join(line: str, rng: random.Random) -> str:
    """Two writers at once: the end of the line behind a part of its beginning."""
    return line[: rng.randrange(len(line) + 1)] + line[rng.randrange(len(line) + 1) :]


CHANGES = (_insert, _insert, _insert, _replace, _replace, _delete, _delete, _duplicate, _swap, _move_words,
           _cut_off, _join)  # fmt: skip
