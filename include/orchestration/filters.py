"""Filtered reports: the Params that select requests, and the name of the filter's folder.

A filtered report is a second report of a day. Its summary and pages are in `filtered/<name>/` under the
summaries and the reports, and the day's own report does not change.
"""

import hashlib
import re
from typing import Any

from airflow.sdk import Param

# (?!\n): Python's `$` also matches before a final newline, and browsers do not know `\Z`.
GLOB_PATTERN = r"^[^\s'\"]{0,200}$(?!\n)"
SECTION = "A second, filtered report"
# Null and not "": the Trigger form treats an empty default as a missing required value.
OPTIONAL_TEXT = ["null", "string"]
FILTER_PARAMS = {
    "only_path": Param(
        None,
        type=OPTIONAL_TEXT,
        pattern=GLOB_PATTERN,
        title="Only these paths, such as /blog/*",
        section=SECTION,
        description="A shell pattern. With any of these filters, the day's own report does not change",
    ),
    "only_host": Param(
        None,
        type=OPTIONAL_TEXT,
        pattern=GLOB_PATTERN,
        title="Only these hosts, such as 192.0.2.*",
        section=SECTION,
    ),
    "only_status": Param(
        None,
        type=OPTIONAL_TEXT,
        pattern=r"^[1-5](xx|[0-9]{2})$(?!\n)",
        section=SECTION,
        title="Only this status, such as 404, or a class such as 5xx",
    ),
    "humans_only": Param(False, type="boolean", title="Humans only, no bots", section=SECTION),
}
# The same filter as templates: the job's flags, and the folder under summary/access_log/.
FILTER_FLAGS = {
    **{
        name: "{{ params." + name + " or '' }}"
        for name in ("only_path", "only_host", "only_status")
    },
    "humans_only": "{{ params.humans_only }}",
}
FILTER_FOLDER = "{{ ti.xcom_pull(task_ids='choose_days', key='folder') }}"


def get_filter_folder(params: Any) -> str:
    """Return the folder of the filter's summaries and reports; "" without a filter.

    The same filter always gives the same folder.
    """
    conditions = [
        f"{name.removeprefix('only_')}={params[name]}"
        for name in ("only_path", "only_host", "only_status")
        if params.get(name)
    ]
    conditions += ["people"] if params.get("humans_only") else []
    name = re.sub(r"[^A-Za-z0-9=._-]+", "_", "_".join(conditions)).strip("._")[:150]
    if not conditions:
        return ""
    # Two filters may differ only in characters that a folder name cannot contain.
    return f"filtered/{name}-{hashlib.sha256(repr(conditions).encode()).hexdigest()[:6]}"
