"""A job that fails says why in a sentence, without a traceback of Java or Python."""

import errno
import os

from spark_jobs.streaming.session import run_main


def test_an_error_inside_the_jvm_is_reported_with_its_causes(spark):
    code, message = run_main("job", lambda: spark._jvm.java.util.Optional.empty().get())
    assert (code, message) == (1, "job: java.util.NoSuchElementException: No value present")


def test_a_batch_job_whose_output_cannot_be_written_names_the_reason(spark):
    code, message = run_main("job", lambda: spark.range(1).write.parquet("file:/proc/no/folder"))
    assert code == 1
    assert message.startswith("job: ")
    assert "/proc/no/folder" in message
    assert "the JVM has stopped" not in message
    assert "\tat org.apache" not in message


def test_a_full_disk_has_its_remedy(spark):
    def fill():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "var/lake/manifest.json")

    code, message = run_main("job", fill)
    assert code == 1
    assert "No space left on device: 'var/lake/manifest.json'" in message
    assert message.endswith("the disk is full; free some space and run again, nothing is lost")
