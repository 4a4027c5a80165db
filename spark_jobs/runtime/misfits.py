"""Why messages do not fit the schema of click events: counted by field, with a sample."""

from collections import Counter

from pyspark.sql import Row

from spark_jobs.transforms.clickstream import EXPECTED

LONGEST_SAMPLE = 200


class NothingGood(Exception):
    """Nothing of what was read could be used, so that an empty result would be taken for a right one."""


class Misfits:
    """Adds up what `clickstream.count_misfits` observes, batch by batch."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._kinds: dict[str, set[str]] = {}
        self._sample = ""

    def add(self, found: Row | None) -> str:
        """Take in the observed metrics of a batch; give its most frequent reason, or ""."""
        if found is None:
            return ""
        counts = {part: found[part] for part in EXPECTED if found[part]}
        for part in counts:
            self._kinds.setdefault(part, set()).update(found[f"{part}_kinds"])
        self._counts.update(counts)
        self._sample = self._sample or found["sample"] or ""
        return _reason(max(counts, key=counts.__getitem__), self._kinds) if counts else ""

    def text(self, bad: int, read: int, unit: str, shape: str) -> str:
        """What to say at the end; "" if all fit."""
        if not self._counts:
            return ""
        reasons = "; ".join(
            f"{_reason(part, self._kinds)} ({count:,} {unit}{'s' if count > 1 else ''})"
            for part, count in self._counts.items()
        )
        lines = [f"{bad:,} of {read:,} {unit}s do not fit the schema: {reasons}"]
        lines.append(f"  sample: {printable(self._sample)}")
        kinds = " ".join(kind for found in self._kinds.values() for kind in found)
        if shape == "rows" and bad > read / 2 and ("a string" in kinds or "an array" in kinds):
            lines.append("  --shape batches reads arrays of events, and counts that are strings")
        return "\n".join(lines)


def _reason(part: str, kinds: dict[str, set[str]]) -> str:
    """`Clicks is a string, the schema has INT`"""
    return f"{part} is {' or '.join(sorted(kinds[part]))}, the schema has {EXPECTED[part]}"


def printable(text: str) -> str:
    """The text, cut, and with what a terminal would obey or not show as an escape."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:LONGEST_SAMPLE]
    )
    return shown + ("…" if len(text) > LONGEST_SAMPLE else "")
