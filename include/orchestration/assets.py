"""The assets that connect the DAGs. They have plain names: the Kafka provider checks `kafka://` URIs."""

from airflow.sdk import Asset

ACCESS_LOG_TOPIC = Asset("access_log_topic")
CLICKSTREAM_TOPIC = Asset("clickstream_topic")
ACCESS_LOG_LANDED = Asset("access_log_landed")
ACCESS_LOG_SUMMARY = Asset("access_log_summary")
ACCESS_LOG_REPORT = Asset("access_log_report")
CLICKSTREAM_LANDED = Asset("clickstream_landed")
CLICKSTREAM_REPORT = Asset("clickstream_report")
STREAM_RUN = Asset("stream_run")
