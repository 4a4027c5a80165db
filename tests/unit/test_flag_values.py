"""Endpoints, addresses, days and times in flags and forms."""

import importlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidInput
from include.flag_values import (
    Endpoint,
    parse_address,
    parse_days,
    parse_endpoint,
    parse_folder_endpoint,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("kafka:access-log", "kafka", "access-log"),
        ("socket:[::1]:9999", "socket", "[::1]:9999"),
        ("foreach:sqlite:/a:b", "foreach", "sqlite:/a:b"),
        ("console", "console", ""),
    ],
)
def test_an_endpoint_is_split_at_its_first_colon_and_printed_unchanged(text, kind, name):
    assert parse_endpoint(text) == Endpoint(kind, name)
    assert str(parse_endpoint(text)) == text


@pytest.mark.parametrize("text", ["parquet", "parquet:", "orc:/data", "", "/data"])
def test_a_wrong_folder_endpoint_is_refused_with_the_accepted_form(text):
    assert parse_folder_endpoint("--sink", "parquet:/a:b", "parquet").name == "/a:b"
    with pytest.raises(InvalidInput, match=r"^--sink '.*' is not understood; use parquet:DIR$"):
        parse_folder_endpoint("--sink", text, "parquet")


@pytest.mark.parametrize(
    ("job", "flags"),
    [("maintain_landing", ()), ("replay_bad_lines", ("--report", "r")),
     ("summarise_clickstream", ("--sink", "summary:/s")),
     ("summarise_access_log", ("--sink", "summary:/s", "--source-kind", "files",
                               "--days", "2026-01-15"))],
)  # fmt: skip
def test_a_job_names_the_flag_with_a_wrong_folder_before_spark_starts(job, flags):
    main = importlib.import_module(f"spark_jobs.{job}").main
    with pytest.raises(InvalidInput, match=r"^--source 'orc:/data' is not understood; use parquet"):
        main(["--source", "orc:/data", *flags])


@pytest.mark.parametrize(
    "text",
    ["", "localhost", ":9092", "a:", "a:0", "a:65536", "a:-1", "a:x", "a:9 ", "a:٣", "a:1e3"],
)
def test_an_invalid_address_is_refused(text):
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        parse_address(text)


@given(host=st.sampled_from(["localhost", "192.0.2.1", "::1", "a.b"]), port=st.integers(1, 65535))
def test_an_address_is_split_at_its_last_colon(host, port):
    assert parse_address(f"{host}:{port}") == (host, port)


def test_days_are_sorted_and_duplicates_removed():
    assert parse_days("--days", "2026-02-01, 2026-01-31,2026-02-01") == ["2026-01-31", "2026-02-01"]


@pytest.mark.parametrize("text", ["", "2026-02-30", "2026-01-31,", "yesterday"])
def test_an_invalid_day_is_refused_with_the_name_of_its_flag(text):
    with pytest.raises(InvalidInput, match=r"--days '.*': expected days such as"):
        parse_days("--days", text)


def test_a_time_needs_a_time_zone():
    assert parse_time("2026-01-15T00:00:00Z") == datetime(2026, 1, 15, tzinfo=UTC)
    assert parse_time("2026-01-15T01:00:00+01:00") == datetime(2026, 1, 15, tzinfo=UTC)
    assert parse_time("2026-01-15T00:00:00") is parse_time("noon") is None
