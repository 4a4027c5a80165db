"""A second report of a day, of some requests only: the Params that say which, and its name.

It lies in `filtered/<name>/`, under the summaries and under the reports, and changes no other.
"""

import re
from typing import Any

from airflow.sdk import Param

NOTHING: dict[str, Any] = {
    "only_path": "",
    "only_host": "",
    "only_status": "",
    "people_only": False,
}
GLOB = r"^[^\s'\"]{0,200}$"
FILTER_PARAMS = {
    "only_path": Param(
        "", type="string", pattern=GLOB, title="Only these paths", section="A second, filtered report",
        description="As in a shell: `/blog/*`. With any of these, the day's own report stays as it is",
    ),
    "only_host": Param("", type="string", pattern=GLOB, title="Only these hosts: `192.0.2.*`",
                       section="A second, filtered report"),
    "only_status": Param("", type="string", pattern=r"^([1-5](xx|\d\d))?$",
                         title="Only this status: `404`, or a class, `5xx`",
                         section="A second, filtered report"),
    "people_only": Param(False, type="boolean", title="Only people, no machines",
                         section="A second, filtered report"),
}  # fmt: skip
# The same as templates: the job's flags, and the folder under summary/access_log/.
ONLY = {
    "only_path": "{{ params.only_path }}", "only_host": "{{ params.only_host }}",
    "only_status": "{{ params.only_status }}", "people_only": "{{ params.people_only }}",
}  # fmt: skip
FILTER = "{{ ti.xcom_pull(task_ids='choose_days', key='folder') }}"


def filter_name(params: Any) -> str:
    """The folder of the filter's summaries and reports, the same for the same filter; "" for none."""
    told = [
        f"{name.removeprefix('only_')}={params[name]}"
        for name in ("only_path", "only_host", "only_status") if params.get(name)
    ]  # fmt: skip
    told += ["people"] if params.get("people_only") else []
    name = re.sub(r"[^A-Za-z0-9=,._-]+", "_", ",".join(told)).strip("._")[:150]
    return f"filtered/{name}" if told else ""
