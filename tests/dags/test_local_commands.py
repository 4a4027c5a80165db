"""`make airflow`: runs Airflow's own command line."""

from typer.testing import CliRunner

from include.local_stack.__main__ import app


def test_the_airflow_command_passes_its_arguments_to_airflow(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["airflow", "dags", "list", "--nothing"])
    assert done.exit_code == 2
    assert "unrecognized arguments: --nothing" in capfd.readouterr().err
