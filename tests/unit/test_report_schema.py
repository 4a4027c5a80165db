"""docs/report.schema.json describes every field of report.json and allows no other."""

import json
from datetime import date

import pytest
from jsonschema import Draft202012Validator

from include.contracts import REPORT_SCHEMA_VERSION
from include.panels import list_panel_keys
from include.reporting.ranges import build_range_report
from include.reporting.report import build_report
from include.settings import PROJECT
from tests.unit.synthetic_summaries import (
    build_attack,
    build_bot,
    build_day_report,
    build_panel_row,
    write_day,
)
from tests.unit.test_report import build_summary

SCHEMA = json.loads((PROJECT / "docs" / "report.schema.json").read_text())


def build_validator(kind):
    """A validator of one kind of report; its errors are more precise than those of oneOf."""
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})


def build_range(folder):
    rows = [
        build_panel_row("endpoints", "/a", 6, timed=2, seconds_sum=3.0, seconds_p95=2.0, seconds_max=2.5),
        build_panel_row("not_found", "/gone", referrer="https://example.org/", method="GET"),
        build_panel_row("browsers", "Chrome 32", parent="Chrome"), build_panel_row("hosts", "192.0.2.1"),
    ]  # fmt: skip
    burst = {"from": "2015-05-17T10:00:00Z", "to": "2015-05-17T10:05:00Z", "requests": 30,
             "endpoint": "/a"}  # fmt: skip
    incidents = {"bursts": [burst], "attacks": [build_attack()]}
    for day in ("2015-05-16", "2015-05-17", "2015-05-19"):
        write_day(folder, day, rows, bots=[build_bot()], incidents=incidents)
    return build_range_report(folder, date(2015, 5, 17), date(2015, 5, 19))


def build_reports(folder):
    return {"day_report": build_day_report(), "range_report": build_range(folder)}


def test_the_schema_is_valid_and_has_the_current_version():
    Draft202012Validator.check_schema(SCHEMA)
    for kind in ("day_report", "range_report"):
        version = SCHEMA["$defs"][kind]["properties"]["schema_version"]
        assert version["const"] == REPORT_SCHEMA_VERSION
    assert SCHEMA["$id"] == "report.schema.json"


def test_reports_of_days_and_ranges_match_the_schema(tmp_path):
    for kind, report in build_reports(tmp_path).items():
        assert [error.message for error in build_validator(kind).iter_errors(report)] == []
        Draft202012Validator(SCHEMA).validate(report)


@pytest.mark.parametrize("kind", ["day_report", "range_report"])
def test_every_top_level_field_is_required_and_no_other_is_allowed(tmp_path, kind):
    report = build_reports(tmp_path)[kind]
    for name in report:
        changed = {f"{name}x" if key == name else key: value for key, value in report.items()}
        messages = " ".join(error.message for error in build_validator(kind).iter_errors(changed))
        assert f"'{name}x' was unexpected" in messages
        assert f"'{name}' is a required property" in messages
        assert not Draft202012Validator(SCHEMA).is_valid(changed)


@pytest.mark.parametrize("kind", ["day_report", "range_report"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["panels"]["hosts"][0].update(hit=1), "'hit' was unexpected"),
        (lambda r: r["panels"]["hosts"][0].pop("visitors"), "'visitors' is a required"),
        (lambda r: r["panels"].update(hostz=[]), "'hostz' is not one of"),
        (lambda r: r["panels"].update(hosts=r["panels"]["hosts"] * 1001), "is too long"),
        (lambda r: r["bots"][0].update(hits="5"), "'5' is not of type 'integer'"),
        (lambda r: r["by_hour"].update({"24": 1}), "'24' does not match"),
        (lambda r: r["incidents"]["bursts"][0].update(to="2015-05-17T10:05:00+00:00"), "not match"),
        (lambda r: r.update(schema_version=1), "3 was expected"),
    ],
)
def test_a_report_that_breaks_the_schema_is_refused(tmp_path, kind, change, message):
    report = build_reports(tmp_path)[kind]
    change(report)
    assert message in " ".join(error.message for error in build_validator(kind).iter_errors(report))


def test_every_field_has_a_description():
    def list_undescribed(node, path):
        if not isinstance(node, dict):
            return []
        undescribed = []
        for name, field in node.get("properties", {}).items():
            target = SCHEMA["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
            if name not in ("from", "to", "all", "humans", "provenance") and not (
                target.get("description") or field.get("description")
            ):
                undescribed.append(f"{path}.{name}")
            undescribed += list_undescribed(field, f"{path}.{name}")
        return undescribed + list_undescribed(node.get("items"), path)

    assert [
        field for name, node in SCHEMA["$defs"].items() for field in list_undescribed(node, name)
    ] == []


def test_the_schema_has_all_panels():
    assert set(SCHEMA["$defs"]["panels"]["propertyNames"]["enum"]) == {"day", *list_panel_keys()}
    assert (
        SCHEMA["$defs"]["panel_rows"]["propertyNames"]
        == (SCHEMA["$defs"]["panels"]["propertyNames"])
    )


def test_a_report_matches_the_schema_with_and_without_earlier_days():
    days = [build_summary(day=f"2026-01-{n:02}") for n in (15, 14, 8, 1)]
    for report in (
        build_report(days[0]),
        build_report(days[0], previous=days[1], baseline_summaries=days[2:]),
    ):
        errors = list(build_validator("day_report").iter_errors(report | {"checks": []}))
        assert not errors, [(list(error.absolute_path), error.message) for error in errors]
