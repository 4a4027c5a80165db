"""Count by field why messages do not fit the schema of click events, and keep a sample."""

from collections import Counter

from pyspark.sql import Row

from spark_jobs.transforms.clickstream import EXPECTED_TYPES

MAX_SAMPLE_LENGTH = 200


class AllEventsBad(Exception):
    """Every event that was read is bad: the empty result could be mistaken for a correct one."""


class TypeMismatches:
    """Add up what `clickstream.count_misfits` observes, batch by batch."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._kinds: dict[str, set[str]] = {}
        self._sample = ""

    def add(self, metrics: Row | None) -> str:
        """Add the observed metrics of a batch; return its most frequent reason, "" if all fit."""
        if metrics is None:
            return ""
        counts = {field: metrics[field] for field in EXPECTED_TYPES if metrics[field]}
        for field in counts:
            self._kinds.setdefault(field, set()).update(metrics[f"{field}_kinds"])
        self._counts.update(counts)
        self._sample = self._sample or metrics["sample"] or ""
        return _format_reason(max(counts, key=counts.__getitem__), self._kinds) if counts else ""

    def format_message(self, bad: int, read: int, unit: str, shape: str) -> str:
        """Return the message for the end of a run; "" if all messages fit.

        Args:
            bad: Number of bad events.
            read: Number of all events that were read.
            unit: Name of one event, such as `line`.
            shape: Value of --shape; the message suggests `batches` if most events need it.
        """
        if not self._counts:
            return ""
        reasons = "; ".join(
            f"{_format_reason(field, self._kinds)} ({count:,} {unit}{'s' if count > 1 else ''})"
            for field, count in self._counts.items()
        )
        lines = [f"{bad:,} of {read:,} {unit}s do not fit the schema: {reasons}"]
        lines.append(f"  sample: {escape_text(self._sample)}")
        kinds = " ".join(kind for field_kinds in self._kinds.values() for kind in field_kinds)
        if shape == "rows" and bad > read / 2 and ("a string" in kinds or "an array" in kinds):
            lines.append("  --shape batches reads arrays of events, and counts that are strings")
        return "\n".join(lines)


def _format_reason(field: str, kinds: dict[str, set[str]]) -> str:
    """Format a reason as `Clicks is a string, the schema has INT`."""
    return f"{field} is {' or '.join(sorted(kinds[field]))}, the schema has {EXPECTED_TYPES[field]}"


def escape_text(text: str) -> str:
    """Shorten a text for a terminal, and escape its control and other unprintable characters."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in text[:MAX_SAMPLE_LENGTH]
    )
    return shown + ("…" if len(text) > MAX_SAMPLE_LENGTH else "")
