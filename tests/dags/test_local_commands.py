"""`make airflow`: Airflow's own command line, with what it is given."""

import pytest
from typer.testing import CliRunner

from include.local_stack.__main__ import app


@pytest.mark.parametrize(("words", "code"), [(["version"], 0), (["dags", "list", "--nothing"], 2)])
def test_airflows_commands_are_given_to_airflow_with_their_flags(
    tmp_path, monkeypatch, capfd, words, code
):
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["airflow", *words])
    said = capfd.readouterr()
    assert done.exit_code == code, said.err
    assert ("3." in said.out) if code == 0 else ("unrecognized arguments: --nothing" in said.err)
