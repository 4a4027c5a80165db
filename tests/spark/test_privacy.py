"""Removing address bits and query parameters from landed rows."""

import ipaddress
from string import ascii_letters, digits

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from include.contracts import ACCESS_LOG_DDL
from spark_jobs.transforms.access_log import select_landed_lines, select_lines
from spark_jobs.transforms.privacy import anonymise_rows, mask_addresses, parse_query_names
from tests.builders import build_line
from tests.conftest import matrix_cases

HIDDEN_BITS = {1: (8, 64), 2: (16, 80), 3: (24, 96)}  # bits of IPv4 and IPv6: goaccess(1)


def mask_with_ipaddress(address, level):
    """Mask an address with Python's `ipaddress` module."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6 and parsed.ipv4_mapped:
        return f"::ffff:{mask_with_ipaddress(str(parsed.ipv4_mapped), level)}"
    bits = HIDDEN_BITS[level][parsed.version == 6]
    return str(type(parsed)(int(parsed) >> bits << bits))


def evaluate(spark, texts, expression):
    rows = spark.createDataFrame(list(enumerate(texts)), "n INT, text STRING")
    results = rows.select("n", expression(F.col("text")).alias("text")).collect()
    return [row.text for row in sorted(results)]


@st.composite
def addresses(draw):
    """An address in one of its notations."""
    if draw(st.booleans()):
        return str(draw(st.ip_addresses(v=4)))
    # Few distinct values, so that runs of zeros of every length occur.
    groups = draw(
        st.lists(st.sampled_from([0, 0, 1, 0xFFFF, 0xDB8, 0x2001]), min_size=8, max_size=8)
    )
    if draw(st.booleans()):
        groups[:6] = [0] * 5 + [draw(st.sampled_from([0, 0xFFFF]))]
    address = ipaddress.IPv6Address(sum(g << 16 * (7 - n) for n, g in enumerate(groups)))
    text = draw(
        st.sampled_from(
            [address.exploded, address.compressed, f"{':'.join(f'{g:x}' for g in groups)}"]
        )
    )
    if draw(st.booleans()):
        head = ":".join(f"{g:x}" for g in groups[:6])
        text = f"{head}:{ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)}"
        if groups[:6] == [0] * 5 + [0xFFFF]:
            text = draw(st.sampled_from([text, f"::ffff:{text.rpartition(':')[2]}"]))
    return draw(st.sampled_from([text, text.upper()]))


# Few examples with many addresses: Spark takes seconds to plan each, whatever its number of rows.
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(addresses(), min_size=400, max_size=600))
def test_spark_masks_addresses_like_the_ipaddress_module(spark, texts):
    levels = [1, 2, 3]
    masked = evaluate(
        spark, texts, lambda text: F.array(*[mask_addresses(text, level) for level in levels])
    )
    assert dict(zip(texts, map(tuple, masked), strict=True)) == {
        address: tuple(mask_with_ipaddress(address, level) for level in levels) for address in texts
    }


HOSTS = {
    "192.168.20.100": "192.168.20.0",
    "2a03:2880:2110:df07:face:b00c::1": "2a03:2880:2110:df07::",  # GoAccess's own example
    "fe80::1%eth0": "fe80::",
    "[2001:db8::1]:443": "2001:db8::",
    "192.0.2.7:50123": "192.0.2.0",
    "crawl-66-249-66-1.googlebot.com": "*.googlebot.com",
    "cafe.de": "*.de",
    "localhost": "*",
    "a.example.org:50123": "*.example.org",
    "unix:": None,
    "::1": "::",
    "::ffff:192.0.2.7": "::ffff:192.0.2.0",
    "::FFFF:c000:207": "::ffff:192.0.2.0",
}


@pytest.fixture(scope="module")
def masked_hosts(spark):
    rows = land_lines(spark, [build_line(host=host) for host in HOSTS], 1)
    return dict(zip(HOSTS, (row.host for row in rows), strict=True))


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_masked_in_every_notation(masked_hosts, host):
    assert masked_hosts[host] == HOSTS[host]


def land_lines(spark, lines, level=0, names=()):
    rows = spark.createDataFrame([(line,) for line in lines], "value STRING")
    landed = select_landed_lines(select_lines(rows, "socket"), "UTC")
    return anonymise_rows(landed, level, names).collect()


def test_proxy_lists_and_bad_lines_keep_no_full_address(spark):
    line = build_line(host="192.0.2.7, 198.51.100.8, 2001:db8::7")
    (row,) = land_lines(spark, [line], 1)
    assert row.raw == build_line(host="192.0.2.0, 198.51.100.0, 2001:db8::")
    (row,) = land_lines(spark, [build_line(user="198.51.100.8,2001:db8::7")], 1)
    assert row.user == "198.51.100.0,2001:db8::"
    bad = 'junk 192.0.2.7 from="2001:db8:1:2:3:4:5:6" at 10:05:03 \\x16198.51.100.8\u0001::1 x:y'
    (row,) = land_lines(spark, [bad], 1)
    assert row.raw == (
        'junk 192.0.2.0 from="2001:db8:1:2::" at 10:05:03 \\x16198.51.100.0\ufffd:: x:y'
    )


def test_without_privacy_settings_rows_are_unchanged(spark):
    rows = spark.createDataFrame([], ACCESS_LOG_DDL)
    assert anonymise_rows(rows, 0, []) is rows


PARAMETER_NAMES = ["token", "E-Mail"]


QUERIES = {
    "a=1&token=2&b=3": "a=1&b=3",
    "token=2&b=3": "b=3",
    "a=1&token=2": "a=1",
    "TOKEN=2": None,
    "token": None,
    "a=1;token=2;b=3": "a=1;b=3",
    "%74oken=2&b=%": "b=%",
    "e%2dmail=x&e-mail=y&c": "c",
    "token[]=1&user[token]=2&tokens=3": "tokens=3",
    "%ZZ=1&token=2": "%ZZ=1",
    "a=token=2": "a=token=2",
    "": "",
}


@pytest.fixture(scope="module")
def rows_without_parameters(spark):
    lines = [
        line
        for query in QUERIES
        for line in (
            build_line(
                request=f"GET /p?{query} HTTP/1.1", referrer=f"https://example.org/r?{query}#x"
            ),
            f"junk /p?{query} {query}",
        )
    ]
    rows = land_lines(spark, lines, 0, PARAMETER_NAMES)
    return dict(zip(QUERIES, zip(rows[::2], rows[1::2], strict=True), strict=True))


@pytest.mark.parametrize("query", QUERIES)
def test_named_parameters_are_removed_from_every_query(rows_without_parameters, query):
    good, bad = rows_without_parameters[query]
    remaining = QUERIES[query]
    assert (good.query, good.endpoint) == (remaining, "/p")
    tail = f"?{remaining}" if remaining else "" if query else "?"
    assert good.referrer == f"https://example.org/r{tail}#x"
    assert bad.raw.startswith(f"junk /p{tail} ")
    if query and "=2" in query and "a=token" not in query:
        assert "=2" not in bad.raw


def test_a_star_removes_all_parameters(spark):
    line = build_line(request="GET /p?a=1 HTTP/1.1", referrer="https://example.org/r?b=2#x")
    good, bad = land_lines(spark, [line, 'junk "GET /p?a=1 HTTP/1.1" ?'], 0, ["*"])
    assert (good.query, good.referrer) == (None, "https://example.org/r")
    assert bad.raw == 'junk "GET /p HTTP/1.1" '


def test_other_columns_are_unchanged(spark):
    lines = [
        build_line(),
        build_line(host="2001:db8::7", request="GET /a?b=1&token=2 HTTP/1.1"),
        "junk",
        "",
    ]
    before, after = land_lines(spark, lines), land_lines(spark, lines, 3, PARAMETER_NAMES)
    for was, now in zip(before, after, strict=True):
        changed = {name for name in was.asDict() if was[name] != now[name]}
        assert changed <= {"host", "query"}


def test_parameter_names_with_spaces_are_refused():
    import argparse

    assert parse_query_names("") == []
    assert parse_query_names("token,E-Mail") == ["token", "E-Mail"]
    with pytest.raises(argparse.ArgumentTypeError, match="names without spaces"):
        parse_query_names("token, email")


@pytest.mark.parametrize("names", [["token"], *matrix_cases(["*"])])
@pytest.mark.parametrize("filler", ["1:", *matrix_cases("x", '\\"', "::1.", "%3a")])
def test_a_hostile_line_is_masked(spark, names, filler):
    """A pattern that backtracks or recurses for each character fails at 100,000 characters."""
    line = f"junk /p?token={filler * (90_000 // len(filler))} 192.0.2.7"
    (row,) = land_lines(spark, [line], 1, names)
    assert row.raw.startswith("junk /p ")
    assert row.raw.endswith(" 192.0.2.0")
    (row,) = land_lines(spark, [build_line(user=filler * 5_000)], 1)
    assert row.user


def test_a_parameter_whose_name_only_ends_like_a_removed_one_is_kept(spark):
    query = "&".join(f"{character}token=2" for character in ascii_letters + digits + "_-.~+")
    line = build_line(
        request=f"GET /p?{query} HTTP/1.1", referrer=f"https://example.org/{query}?{query}"
    )
    good, bad = land_lines(spark, [line, f"junk /p?{query}"], 0, PARAMETER_NAMES)
    assert (good.query, good.referrer) == (query, f"https://example.org/{query}?{query}")
    assert bad.raw == f"junk /p?{query}"
