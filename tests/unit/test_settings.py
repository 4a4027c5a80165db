"""Settings from the environment and the `.env` file: defaults, types and refusals."""

from datetime import date
from pathlib import Path

import pytest

from include import settings as settings_module
from include.settings import load_settings, render_settings_table


def test_without_variables_every_setting_has_its_default():
    settings = load_settings({})
    assert settings.kafka_servers == "127.0.0.1:9092"
    assert settings.home.name == "var"


def test_the_default_kafka_servers_follow_the_port_setting():
    assert load_settings({"TIDEMARK_KAFKA_PORT": "1234"}).kafka_servers == "127.0.0.1:1234"


def test_zero_days_are_accepted_and_mean_for_ever():
    assert load_settings({"TIDEMARK_KEEP_LANDING_DAYS": "0"}).keep_landing_days == 0


def test_stream_hosts_may_be_names_addresses_and_networks():
    hosts = "localhost,lines-1.example.org,192.0.2.1,10.0.0.0/8,fd00::/64"
    assert load_settings({"TIDEMARK_STREAM_HOSTS": hosts}).stream_hosts == hosts


def test_values_are_converted_to_their_types():
    settings = load_settings({
        "TIDEMARK_HOME": "elsewhere", "TIDEMARK_FIRST_SCHEDULED_DAY": "2026-02-03",
        "TIDEMARK_TIME_ZONE": "Europe/Paris",
    })  # fmt: skip
    assert settings.home == settings_module.PROJECT / "elsewhere"
    assert settings.first_scheduled_day == date(2026, 2, 3)
    assert settings.zone.key == "Europe/Paris"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TIDEMARK_KAFKA_PORT", "many", "a number from 1 to 65535"),
        ("TIDEMARK_KAFKA_PORT", "70000", "a number from 1 to 65535"),
        ("TIDEMARK_ANONYMISE_ADDRESSES", "4", "a number from 0 to 3"),
        ("TIDEMARK_DROP_QUERY_NAMES", "token, email", "names without spaces"),
        ("TIDEMARK_DROP_QUERY_NAMES", "token,,email", "names without spaces"),
        ("TIDEMARK_DATA_LOCATION", "s3://lake", "an address such as s3a://bucket/tidemark"),
        ("TIDEMARK_DATA_LOCATION", "s3a://key:secret@lake", "an address such as"),
        ("TIDEMARK_DATA_LOCATION", "s3a://lake/../x", "an address such as"),
        ("TIDEMARK_DATA_LOCATION", "s3a://lake/{{ x }}", "an address such as"),
        ("TIDEMARK_STREAM_HOSTS", "localhost, ::1", "addresses or networks without spaces"),
        ("TIDEMARK_STREAM_HOSTS", "10.0.0.5/8", "such as localhost,127.0.0.0/8,::1"),
        ("TIDEMARK_STREAM_HOSTS", "10.0.0.256", "host names, addresses or networks"),
        ("TIDEMARK_STREAM_HOSTS", "http://localhost", "host names, addresses or networks"),
        ("TIDEMARK_STREAM_HOSTS", "localhost:9999", "host names, addresses or networks"),
        ("TIDEMARK_STREAM_HOSTS", "*.example.org", "host names, addresses or networks"),
        ("TIDEMARK_STREAM_HOSTS", "localhost,", "host names, addresses or networks"),
        ("TIDEMARK_KEEP_LANDING_DAYS", "-1", "a number from 0 to 36500"),
        ("TIDEMARK_TIME_ZONE", "Mars/Olympus", "the name of a time zone"),
        ("TIDEMARK_TIME_ZONE", "../etc/passwd", "the name of a time zone"),
        ("TIDEMARK_FIRST_SCHEDULED_DAY", "yesterday", "a date"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_accepted(name, text, expected):
    with pytest.raises(ValueError, match=expected) as error:
        load_settings({name: text})
    assert name in str(error.value)
    assert text in str(error.value)


def test_only_the_outer_quotes_of_a_value_in_the_file_are_removed(tmp_path, monkeypatch):
    text = r"%h %t \"%r\" %>s \"%{Referer}i\""
    (tmp_path / ".env").write_text(f"TIDEMARK_LOG_FORMAT='{text}'\nTIDEMARK_SPARK_MASTER=a \"b\"\n")
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    assert (load_settings().log_format, load_settings().spark_master) == (text, 'a "b"')


def test_the_environment_overrides_the_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("# ports\nTIDEMARK_KAFKA_PORT=1\nTIDEMARK_AIRFLOW_PORT='2'\n")
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    monkeypatch.setenv("TIDEMARK_KAFKA_PORT", "3")
    settings = load_settings()
    assert (settings.kafka_port, settings.airflow_port) == (3, 2)


def test_an_invalid_line_of_the_file_is_refused_with_its_number(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("\nTIDEMARK_KAFKA_PORT 1\n")
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    with pytest.raises(ValueError, match="line 2"):
        load_settings()


def test_the_settings_page_has_the_generated_table():
    assert Path("docs/settings.md").read_text().endswith(render_settings_table())


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("FIRST_NIGHT", "FIRST_SCHEDULED_DAY", "2026-02-03"),
        ("LANDING_DATA", "DATA_LOCATION", "s3a://bucket/lake"),
        ("REPEAT_SHARE_WARN", "DUPLICATE_SHARE_WARN", "0.1"),
        ("REPEAT_SHARE_QUARANTINE", "DUPLICATE_SHARE_QUARANTINE", "0.2"),
        ("REPEAT_SHARE_FAIL", "DUPLICATE_SHARE_FAIL", "0.3"),
    ],
)
def test_the_old_name_of_a_setting_is_refused_with_the_new_name(old, new, value):
    with pytest.raises(ValueError, match=f"{old} is now called TIDEMARK_{new}"):
        load_settings({f"TIDEMARK_{old}": value})
    assert load_settings({f"TIDEMARK_{old}": ""}) == load_settings({})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"%h %t"', "%h %t"),
        ("'%h'", "%h"),
        ('%h "%r"', '%h "%r"'),
        ('"%r" %h', '"%r" %h'),
        ("x%hx", "x%hx"),
        ('"', '"'),
        ("'%h\"", "'%h\""),
    ],
)
def test_only_a_pair_of_quotes_around_a_value_is_removed(tmp_path, monkeypatch, value, expected):
    (tmp_path / ".env").write_text(f"TIDEMARK_LOG_FORMAT={value}\n")
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    assert load_settings().log_format == expected
