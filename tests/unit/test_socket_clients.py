"""Clients that came through a Unix socket have no host: their requests count, they are no visitors."""

from tests.unit.synthetic_lines import line_row, summarise
from tests.unit.test_counting import GPTBOT, build_human_visit, panel_rows


def test_requests_without_a_host_count_as_requests_and_not_as_visitors(tmp_path):
    through_socket = [line_row(n, f"/{n}", host=None) for n in range(40)]
    summary = summarise(tmp_path, [*through_socket, *build_human_visit()])
    assert summary["requests"] == 52
    assert summary["visitors"] == 1
    assert panel_rows(summary, "hosts", "value", "hits") == [("198.51.100.9", 12)]
    assert ("/7", 1, 0) in panel_rows(summary, "requests", "value", "hits", "visitors")
    assert summary["visits"]["all"]["visits"] == 1


def test_only_what_it_declares_makes_a_client_without_a_host_a_bot(tmp_path):
    # All who name the same user agent are one row: nobody is as fast as all of them together.
    lines = [line_row(n / 10, f"/{n}", host=None) for n in range(300)]
    lines += [line_row(n, host=None, user_agent=GPTBOT, status=404) for n in range(3)]
    summary = summarise(tmp_path, [*lines, *build_human_visit()])
    assert [(bot["host"], bot["hits"], bot["reasons"]) for bot in summary["bots"]] == [
        ("-", 3, ["declares itself"])
    ]
    assert {row["host"] for row in summary["unsuccessful_requests"]} == {"-"}
