"""`make report` prints a report in a terminal; text from the log is hostile there, too."""

import json
import re
import subprocess
import sys
from datetime import date

import pytest

from include.lake.paths import reports_path, summaries_path
from include.reporting.ranges import build_range_report
from include.reporting.terminal_table import main
from include.settings import PROJECT, load_settings
from tests.unit.synthetic_summaries import (
    build_day_report,
    build_panel_row,
    to_report_row,
    write_day,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A lake with two days that have a summary, the newer one reported."""
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    rows = [
        build_panel_row("hosts", "192.0.2.1", 10),
        build_panel_row("hosts", "192.0.2.2", 4, humans_hits=4),
    ]
    for day in ("2015-05-16", "2015-05-17"):
        write_day(summaries_path(load_settings(), "access_log"), day, rows)
    publish(build_day_report())
    return load_settings()


def publish(report):
    folder = reports_path(load_settings(), "access_log") / report["day"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report))


def run_report(capsys, *arguments):
    main(list(arguments))
    return capsys.readouterr().out


def run_refused_report(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    assert exit_info.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_day_is_printed_with_its_totals_and_the_top_of_each_panel(home, capsys):
    text = run_report(capsys, "--day", "2015-05-17")
    assert "Access log, 2015-05-17, UTC" in text
    for pattern in (r"Visitors +2 ", r"Humans +1 +50 % of the requests", r"Requests +10 +25 % more",
                    r"Errors +2 +20 %, status not 200", r"Sent +1\.00 kB +1,000 bytes, 50 % less",
                    r"Bad lines +1 +of 12 lines", r"against 2015-05-16"):  # fmt: skip
        assert re.search(pattern, text), pattern
    assert re.search(r"GET /gone +https://example.o… +2 +20 % +2 +200 B", text)
    assert re.search(r"Chrome 32 +Chrome +7 ", text)
    assert re.search(r"/a +6 +60 % +6 +600 B +2 s", text)
    assert "Cities" not in text, "an empty panel says nothing"


def test_the_default_is_the_newest_day_with_a_summary(home, capsys):
    assert "2015-05-17" in run_report(capsys).partition("\n")[0]


def test_a_range_is_added_up(home, capsys):
    text = run_report(capsys, "--from", "2015-05-15", "--to", "2015-05-17", "--panel", "hosts")
    assert "2015-05-15 to 2015-05-17 (missing days: 1)" in text
    assert re.search(r"192\.0\.2\.1 +20 +100 %", text)
    text = run_report(capsys, "--from", "2015-05-15", "--to", "2015-05-17")
    assert re.search(r"Different visitors +about 2 +± 3\.3 %", text)


def test_a_range_with_more_or_fewer_days_is_not_compared(home, capsys):
    assert re.search(r"Requests +10 +the same *\n", run_report(
        capsys, "--from", "2015-05-17", "--to", "2015-05-17"))  # fmt: skip
    write_day(summaries_path(home, "access_log"), "2015-05-18")
    write_day(summaries_path(home, "access_log"), "2015-05-14", requests=0)
    text = run_report(capsys, "--from", "2015-05-16", "--to", "2015-05-17")
    assert re.search(r"Requests +20\s*\n", text)
    assert "not compared with 2015-05-14 to 2015-05-15 (days with a summary: 1)" in " ".join(
        text.split()
    )


def test_flags_choose_a_panel_the_number_of_rows_and_humans_only(home, capsys):
    rows = [
        to_report_row(build_panel_row("hosts", f"h{n}", 20 - n, humans_hits=n)) for n in range(15)
    ]
    publish(
        build_day_report(
            panels={"hosts": rows, "cities": []}, panel_rows={"hosts": 900, "cities": 0}
        )
    )
    text = run_report(capsys, "--panel", "hosts")
    assert "Hosts: 10 of 900" in text
    assert ("h9 " in text, "h10" in text, "Bad lines" in text) == (True, False, False)
    assert "h10" in run_report(capsys, "--panel", "hosts", "--rows", "11")
    humans = run_report(capsys, "--panel", "hosts", "--humans-only", "--rows", "2")
    assert re.findall(r"^(h\d+) +(\d+) +([\d,]+ %)", humans, re.M) == [
        ("h14", "14", "280 %"), ("h13", "13", "260 %")
    ]  # fmt: skip
    assert "Nothing to show." in run_report(capsys, "--panel", "cities")


def test_entry_pages_are_shown_as_a_share_of_visits(home, capsys):
    row = to_report_row(build_panel_row("entry_pages", "/in", 1))
    publish(build_day_report(panels={"entry_pages": [row]}, panel_rows={"entry_pages": 1}))
    assert re.search(r"/in +1 +50 %", run_report(capsys, "--panel", "entry_pages"))


def test_json_output_is_the_report_itself(home, capsys):
    assert json.loads(run_report(capsys, "--json")) == build_day_report()
    output = run_report(capsys, "--json", "--from", "2015-05-16", "--to", "2015-05-17")
    days = (date(2015, 5, 16), date(2015, 5, 17))
    assert json.loads(output) == build_range_report(summaries_path(home, "access_log"), *days)


HOSTILE = ["[red]x[/red]", "[/]", "[link=https://evil.example]x[/link]", ":bomb:", "\x1b[31mx",
           "\x1b]0;title\x07", "\u202egpj.exe", "\x9b2J", "a\nb\tc", "\ud800", "日本語" * 60,
           "x" * 1000, "\\[red]", "%s{0}", ""]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda text: repr(text[:12]))
def test_text_from_a_log_is_no_markup_and_no_control_sequence(home, capsys, value):
    rows = {name: [to_report_row(build_panel_row(name, value, parent=value or None, referrer=value or None))]
            for name in ("not_found", "hosts")}  # fmt: skip
    publish(build_day_report(panels=rows, panel_rows=dict.fromkeys(rows, 1), time_zone=value,
                             filter={"path": value}))  # fmt: skip
    text = run_report(capsys)
    assert not set(text) & set("\x1b\x07\x9b\u202e\t\ud800")
    if len(value) < 20 and value.isprintable():
        assert value in text
    assert value.isprintable() or "\\" in text
    as_json = run_report(capsys, "--json")
    assert as_json.isascii()
    assert json.loads(as_json)["panels"]["hosts"][0]["value"] == value


def test_no_line_is_longer_than_the_80_columns_of_the_terminal(home, capsys):
    row = to_report_row(
        build_panel_row(
            "not_found", "/long" * 50, 10**9, method="GET", referrer="https://" + "x" * 99
        )
    )
    publish(
        build_day_report(panels={"not_found": [row]}, panel_rows={"not_found": 1}, requests=10**12)
    )
    text = run_report(capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert "1,000,000,000" in text
    assert "GET /long" in text


def test_piped_output_has_no_colours(home):
    command = [sys.executable, "-m", "include.reporting.terminal_table"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)
    assert b"Requests" in result.stdout
    assert b"\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--day", "2015-13-01"], "'2015-13-01' is not a date; write it as 2015-05-17"),
        (["--day", "../x"], "'../x' is not a date"),
        (["--from", "2015-05-17"], "give both days of a range: --from"),
        (["--to", "2015-05-17"], "give both days of a range"),
        (["--day", "2015-05-17", "--to", "2015-05-17"], "--day cannot be combined with"),
        (["--from", "2015-05-17", "--to", "2015-05-16"], "swap the two days"),
        (["--from", "2016-05-17", "--to", "2016-05-18"], "no day from 2016-05-17 to 2016-05-18"),
        (["--day", "2015-05-16"], "is summarised, so a check may have stopped its publication"),
        (
            ["--day", "2015-05-01"],
            "run analyse_access_log for it or choose a day that has a report",
        ),
        (["--panel", "hostz"], "unknown panel 'hostz'; choose one of hours, bots"),
        (["--rows", "0"], "give at least 1"),
    ],
)
def test_arguments_without_a_report_are_refused_with_a_remedy(home, capsys, arguments, message):
    text = run_refused_report(capsys, *arguments)
    assert message in text
    assert text.count("\n") == 1


def test_the_suggested_days_are_days_and_not_ranges(home, capsys):
    for name in ("2015", "2015-05-17", "2026-W47", "2015-05-17_2015-05-20"):
        path = reports_path(home, "access_log") / name / "report.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert "that has a report: 2015-05-17 to 2015-05-17" in run_refused_report(
        capsys, "--day", "2015-05-01"
    )


def test_without_any_summary_the_error_names_the_command_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    assert "run `make demo` or analyse_access_log" in run_refused_report(capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is damaged"), ('{"schema_version": 1}', "schema_version 1, expected")],
)
def test_an_unusable_report_is_named(home, capsys, text, message):
    path = reports_path(home, "access_log") / "2015-05-17" / "report.json"
    path.write_text(text)
    output = run_refused_report(capsys)
    assert str(path) in output
    assert message in output
