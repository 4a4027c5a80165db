"""A second report of a day, of some requests only: the Params that say which, and its name.

It lies in `filtered/<name>/`, under the summaries and under the reports, and changes no other.
"""

import hashlib
import re
from typing import Any

from airflow.sdk import Param

# Python's `$` also matches before a newline at the end, hence (?!\n); a browser knows no `\Z`.
GLOB = r"^[^\s'\"]{0,200}$(?!\n)"
SECTION = "A second, filtered report"
NO_TEXT = ["null", "string"]  # an empty text would be one that the form asks for
FILTER_PARAMS = {
    "only_path": Param(
        None, type=NO_TEXT, pattern=GLOB, title="Only these paths", section=SECTION,
        description="As in a shell: `/blog/*`. With any of these, the day's own report stays as it is",
    ),
    "only_host": Param(None, type=NO_TEXT, pattern=GLOB, title="Only these hosts: 192.0.2.*",
                       section=SECTION),
    "only_status": Param(None, type=NO_TEXT, pattern=r"^[1-5](xx|[0-9]{2})$(?!\n)", section=SECTION,
                         title="Only this status: 404, or a class, 5xx"),
    "people_only": Param(False, type="boolean", title="Only people, no machines", section=SECTION),
}  # fmt: skip
# The same as templates: the job's flags, and the folder under summary/access_log/.
ONLY = {
    **{
        name: "{{ params." + name + " or '' }}"
        for name in ("only_path", "only_host", "only_status")
    },
    "people_only": "{{ params.people_only }}",
}
FILTER = "{{ ti.xcom_pull(task_ids='choose_days', key='folder') }}"


def filter_name(params: Any) -> str:
    """The folder of the filter's summaries and reports, the same for the same filter; "" for none."""
    told = [
        f"{name.removeprefix('only_')}={params[name]}"
        for name in ("only_path", "only_host", "only_status") if params.get(name)
    ]  # fmt: skip
    told += ["people"] if params.get("people_only") else []
    name = re.sub(r"[^A-Za-z0-9=._-]+", "_", "_".join(told)).strip("._")[:150]
    # Two filters may differ in what a folder's name cannot hold.
    return f"filtered/{name}-{hashlib.sha256(repr(told).encode()).hexdigest()[:6]}" if told else ""
