"""The errors of the task `produce` that a retry may mend: they name the file that failed."""

import errno
import os

import pytest

from include.lake.paths import inbox_path
from include.settings import load_settings
from producers import kafka_client
from producers.access_log import produce as produce_module
from producers.ledger import UnusableLedger

READ_ERROR = OSError(errno.EIO, os.strerror(errno.EIO))
LEDGER_ERROR = UnusableLedger("the ledger l.csv cannot be used: No space left on device")


@pytest.mark.parametrize(
    ("conf", "error", "message"),
    [
        ({}, LEDGER_ERROR, str(LEDGER_ERROR)),
        ({}, READ_ERROR, "the generated log: [Errno 5] Input/output error"),
        ({"source": "file", "file": "a.log"}, LEDGER_ERROR, str(LEDGER_ERROR)),
        ({"source": "file", "file": "a.log"}, READ_ERROR,
         "the log {inbox}/a.log: [Errno 5] Input/output error"),
    ],
)  # fmt: skip
def test_the_error_names_the_ledger_or_the_log(
    dag_bag, tmp_path, monkeypatch, conf, error, message
):
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    def raise_error(*args, **kwargs):
        raise error

    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    monkeypatch.setattr(kafka_client, "ensure_topics", lambda *args: None)
    monkeypatch.setattr(produce_module, "produce_lines", raise_error)
    inbox = inbox_path(load_settings(), "access_log")
    inbox.mkdir(parents=True)
    (inbox / "a.log").write_text("one\n")
    dag = dag_bag.dags["produce_access_log"]
    params = {name: param.value for name, param in dag.params.items()} | conf
    with pytest.raises(AirflowException) as caught:
        dag.get_task("produce").python_callable(params)
    assert str(caught.value) == message.format(inbox=inbox)
    assert not isinstance(caught.value, AirflowFailException), "the next try may succeed"
