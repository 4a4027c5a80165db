"""`make airflow`: Airflow's own command line, with what it is given."""

from typer.testing import CliRunner

from include.local_stack.__main__ import app


def test_airflows_commands_are_given_to_airflow_with_their_flags(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["airflow", "dags", "list", "--nothing"])
    assert done.exit_code == 2
    assert "unrecognized arguments: --nothing" in capfd.readouterr().err
