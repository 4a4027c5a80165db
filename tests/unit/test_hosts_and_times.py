"""Hosts by the grammar of `ipaddress`, times by `datetime`."""

import ipaddress
import itertools
import re
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.log_formats.hosts import parse_hosts
from include.log_formats.times import parse_times
from tests.unit.log_writers import format_clf_time

properties = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
hex_texts = st.text("0123456789abcdefABCDEF:.", max_size=40)
ip_texts = (
    st.ip_addresses().map(str)
    | st.ip_addresses(v=6).map(lambda address: address.exploded)
    | st.lists(st.sampled_from([":", "::", "0", "1", "ffff", "a", "1.2.3.4", "255", "256", "01", ".", "%",
                               "%eth0", "10000"]),
               max_size=14).map("".join)
    | hex_texts
)  # fmt: skip
zoned_texts = st.builds(
    lambda text, zone: text + zone,
    ip_texts,
    st.sampled_from(["", "%", "%eth0", "%1", "%a%b", "%é"]),
)


def is_address(text: str) -> bool:
    """As `ipaddress` has it; a zone, which it takes as any text, by RFC 6874, and of IPv6 only."""
    address, percent, zone = text.partition("%")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return False
    return not percent or (version == 6 and re.fullmatch(r"[0-9A-Za-z_.~-]+", zone) is not None)


@properties
@given(
    st.lists(
        zoned_texts | st.text(max_size=20).map(lambda text: f"{text}:"), min_size=1, max_size=200
    )
)
def test_addresses_are_those_that_python_accepts(texts):
    # What has no colon and a letter may be a name, and what ends in a colon or a port is tested elsewhere.
    texts = [text for text in texts if ":" in text or re.fullmatch(r"[0-9.]+", text)]
    texts = [text for text in texts if not re.fullmatch(r"(?s)(unix:.*|[^:]*:[0-9]{1,5})", text)]
    hosts, is_host = parse_hosts(pl.Series(texts, dtype=pl.String))
    expected = [is_address(text) for text in texts]
    assert dict(zip(texts, is_host, strict=True)) == dict(zip(texts, expected, strict=True))
    assert hosts.filter(is_host).to_list() == [text for text in texts if is_address(text)]


def test_a_port_is_separated_from_its_host_by_their_grammar():
    cases = {
        "192.0.2.7": "192.0.2.7", "192.0.2.7:80": "192.0.2.7", "[::1]:80": "::1", "[::1]": "::1",
        "::1:80": "::1:80",
        "a.example:443": "a.example", "a.example.": "a.example.", "a_b.example": "a_b.example",
        "1and1.de": "1and1.de",
        "ip-10-0-0-1": "ip-10-0-0-1", "1-2-3-4": "1-2-3-4", "fe80::1%eth0": "fe80::1%eth0",
        "[fe80::1%e]:1": "fe80::1%e",
        "-": None, "@": None, "": None, "unix:": None, "unix:/run/a b.sock": None,
    }  # fmt: skip
    bad = ["1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4:", "1.2.3.4:123456", "a..b", ".a", "-a",
           "a-", "a b",
           "[1.2.3.4]", "[::1", "::1]", "[::1]:", "[]:80", "a/b", "é.example", "1.2.3.4%eth0", "x" * 256,
           "12", "a.12",
           "::1%", "[::1]80", "1.2.3.4, 5.6.7.8", "--", "a:b:80", " a", "a\n", "a.example\0"]  # fmt: skip
    hosts, is_host = parse_hosts(pl.Series([*cases, *bad]))
    assert dict(zip(cases, hosts, strict=False)) == cases
    assert [text for text, fits in zip([*cases, *bad], is_host, strict=True) if fits] == list(cases)


zones = st.integers(-19 * 60 - 59, 19 * 60 + 59).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
moments = st.datetimes(datetime(1900, 1, 2), datetime(2099, 12, 30), timezones=zones)


@properties
@given(st.lists(moments, min_size=1, max_size=100))
def test_times_are_those_that_datetime_computes(times):
    whole = [time.replace(microsecond=0) for time in times]
    clf = [format_clf_time(time) for time in whole]
    iso = [time.isoformat(timespec="microseconds") for time in times]
    in_utc = [time.replace(tzinfo=UTC) for time in whole]
    forms = {
        "Apache": (clf, whole), "ISO": ([time.isoformat(timespec="seconds") for time in whole], whole),
        "ISO with microseconds": (iso, times),
        "ISO with a comma": ([text.replace(".", ",") for text in iso], times),
        "Apache with milliseconds": (
            [
                text.replace(" ", f".{time.microsecond // 1000:03} ")
                for text, time in zip(clf, times, strict=True)
            ],
            [time.replace(microsecond=time.microsecond // 1000 * 1000) for time in times],
        ),
        "without a zone": ([f"{time:%Y-%m-%d %H:%M:%S}" for time in whole], in_utc),
        "Caddy": ([f"{time:%Y/%m/%d %H:%M:%S}" for time in whole], in_utc),
    }  # fmt: skip
    for texts, expected in forms.values():
        got = parse_times(pl.Series(texts)).cast(pl.Datetime("us", "UTC")).to_list()
        assert got == expected


def test_every_day_of_the_calendar_is_a_time_and_no_other_day_is():
    texts, expected = [], []
    for year, month, day in itertools.product(
        [1900, 1996, 1999, 2000, 2015, 2024, 2099], range(14), range(33)
    ):
        texts.append(f"{year}-{month:02}-{day:02}T23:59:58Z")
        try:
            expected.append(datetime(year, month, day, 23, 59, 58, tzinfo=UTC))
        except ValueError:
            expected.append(None)
    assert parse_times(pl.Series(texts)).cast(pl.Datetime("us", "UTC")).to_list() == expected
    assert None in expected


@pytest.mark.parametrize(
    "text",
    ["24:00:00 +0000", "10:60:00 +0000", "10:05:61 +0000", "10:05:03", "10:05:03 +2000", "10:05:03 +0060",
     "10:05 +0000",
     "1:05:03 +0000", "10:05:03 UTC", "10:05:03  +0000", "10:05:03 +0000 ", "10:05:03 +000",
     "10:05:03. +0000", "é"],
)  # fmt: skip
def test_what_no_clock_shows_is_no_time(text):
    assert parse_times(pl.Series([f"17/May/2015:{text}"])).to_list() == [None]


@properties
@given(st.lists(st.integers(10**8, 9 * 10**9), min_size=1, max_size=100))
def test_the_unit_of_an_epoch_follows_from_its_size(seconds):
    for zeros in (0, 3, 6, 9):
        texts = pl.Series([str(number) + "0" * zeros for number in seconds])
        assert parse_times(texts).to_list() == [number * 1_000_000 for number in seconds]
    with_fraction = pl.Series([f"{number}.123456789" for number in seconds])
    assert parse_times(with_fraction).to_list() == [
        number * 1_000_000 + 123_456 for number in seconds
    ]
