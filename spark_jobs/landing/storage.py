"""Storage location of a landing's data: `data/` next to its checkpoint, or a folder in S3 or HDFS.

    <folder>/data_at    JSON: `at` (the storage location, `s3a://bucket/…/data` or `hdfs://…/data`, or ""),
                        `id` (the landing's id) and `landing` (the landing's own folder)
    <data>/_owner       JSON at the storage location: id, folder and host of the landing that owns the data

The storage location is fixed from the landing's first batch on, so that no reader looks elsewhere. It belongs
to one landing, so that no other landing writes there.

`RemotePath` implements the part of pathlib.Path that a landing needs, with Hadoop's file systems. It uses
the same jars, endpoints and keys as Spark (https://hadoop.apache.org/docs/stable/hadoop-aws/tools/hadoop-aws/).
"""

import argparse
import json
import platform
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from include.errors import InvalidInput
from include.lake.files import replace_file
from include.lake.landing_files import LandingFiles
from spark_jobs.streaming import session

# A folder in a bucket, not the bucket itself. No keys in the URI: process lists and logs show commands.
LOCATION_PATTERN = re.compile(r"(s3a|hdfs)://[\w.-]+(:\d+)?(/(?!\.+/)[\w.=-]+)+/data")


class FileStatus(NamedTuple):
    """Result of `RemotePath.stat()`: the size in bytes."""

    st_size: int


class RemotePath:
    """A file or folder in S3 or HDFS, with the methods of pathlib.Path that a landing needs.

    Methods raise OSError with the storage system's error message.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"RemotePath({self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __lt__(self, other: "RemotePath") -> bool:
        return self.uri < other.uri

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.uri}/{name}")

    @property
    def name(self) -> str:
        return PurePosixPath(self.uri).name

    @property
    def parent(self) -> "RemotePath":
        return RemotePath(self.uri.rpartition("/")[0])

    def with_name(self, name: str) -> "RemotePath":
        return self.parent / name

    def resolve(self) -> "RemotePath":
        return self  # no symbolic links here

    def iterdir(self) -> Iterator["RemotePath"]:
        """Iterate over the entries of the folder; none if it does not exist."""
        return iter([RemotePath(str(status.getPath())) for status in self._list_statuses()])

    def glob(self, pattern: str) -> list["RemotePath"]:
        """List the entries whose name matches `pattern`, sorted; not recursive."""
        return sorted(entry for entry in self.iterdir() if fnmatchcase(entry.name, pattern))

    def is_file(self) -> bool:
        return bool(self._call_file_system("exists", self._hadoop_path)) and not self.is_dir()

    def is_dir(self) -> bool:
        return bool(self._call_file_system("exists", self._hadoop_path)) and bool(
            self._call_file_system("getFileStatus", self._hadoop_path).isDirectory()
        )

    def stat(self) -> FileStatus:
        return FileStatus(self._call_file_system("getFileStatus", self._hadoop_path).getLen())

    def read_text(self) -> str:
        stream = self._call_file_system("open", self._hadoop_path)
        try:
            text: str = _get_session()._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
            stream.close()
            return text
        except Py4JJavaError as error:
            raise _build_storage_error(self.uri, error) from None

    def write_text(self, text: str, overwrite: bool = True) -> None:
        """Write the file; raises OSError if it exists and `overwrite` is false."""
        try:
            stream = self._call_file_system("create", self._hadoop_path, overwrite)
            stream.write(bytearray(text.encode()))
            stream.close()  # in S3 the object becomes visible only now, complete
        except Py4JJavaError as error:
            raise _build_storage_error(self.uri, error) from None

    def replace_text(self, text: str) -> None:
        """Replace the file atomically: a reader sees the old or the new text."""
        if self.uri.startswith("s3a:"):
            self.write_text(text)
        else:
            part = self.with_name(f".{self.name}.part")
            part.write_text(text)
            part.replace(self)

    def replace(self, target: "RemotePath") -> "RemotePath":
        """Move to `target` and overwrite it; in S3, `target` must not exist."""
        if self.uri.startswith("s3a:"):
            if not self._call_file_system("rename", self._hadoop_path, target._hadoop_path):
                raise OSError(
                    f"{self.uri} could not be moved to {target}; check that it does not exist"
                )
            return target
        spark = _get_session()
        rename = getattr(spark._jvm.org.apache.hadoop.fs, "Options$Rename")
        options = spark.sparkContext._gateway.new_array(rename, 1)
        options[0] = rename.OVERWRITE
        try:
            context = spark._jvm.org.apache.hadoop.fs.FileContext.getFileContext(
                self._hadoop_path.toUri(), spark._jsc.hadoopConfiguration()
            )
            context.rename(self._hadoop_path, target._hadoop_path, options)
        except Py4JJavaError as error:
            raise _build_storage_error(self.uri, error) from None
        return target

    def unlink(self, missing_ok: bool = False) -> None:
        if not self._call_file_system("delete", self._hadoop_path, False) and not missing_ok:
            raise FileNotFoundError(f"{self.uri} does not exist")

    def remove_tree(self) -> None:
        """Delete the folder with its contents, if it exists."""
        self._call_file_system("delete", self._hadoop_path, True)

    def _list_statuses(self) -> list[Any]:
        return (
            list(self._call_file_system("listStatus", self._hadoop_path)) if self.is_dir() else []
        )

    @property
    def _hadoop_path(self) -> Any:
        return _get_session()._jvm.org.apache.hadoop.fs.Path(self.uri)

    def _call_file_system(self, method: str, *arguments: Any) -> Any:
        try:
            system = self._hadoop_path.getFileSystem(_get_session()._jsc.hadoopConfiguration())
            return getattr(system, method)(*arguments)
        except Py4JJavaError as error:
            raise _build_storage_error(self.uri, error) from None


DataPath = Path | RemotePath


def locate_data(folder: Path) -> DataPath:
    """Return the storage location of the data of the landing `folder`."""
    files = LandingFiles(folder)
    location = files.read_data_location().get("at")
    return RemotePath(location) if location else files.data


def resolve_location(folder: Path, location: str) -> str:
    """Record the storage location of a new landing; a landing that has started keeps its own.

    Args:
        folder: The landing folder.
        location: URI of the data, such as `s3a://bucket/…/data`. Empty: `data/` in `folder`.

    Returns:
        A message for the user if the landing has already started at another location. Otherwise "".

    Raises:
        InvalidInput: `location` is not a valid storage location.
    """
    if location and not LOCATION_PATTERN.fullmatch(location):
        raise InvalidInput(
            f"--data-location {location!r}: expected a folder that ends in data, in a URI without keys, such "
            "as s3a://bucket/tidemark/access_log/kafka/data or hdfs://namenode:8020/…/data"
        )
    files = LandingFiles(folder)
    has_started = files.progress.is_file() or files.list_committed_batches() or files.data.exists()
    if has_started:
        current = str(locate_data(folder))
        message = (
            f"--data-location is ignored: the data stay at {current}, where this landing started"
        )
        return message if location and current != location else ""
    record = files.read_data_location()
    if location != record.get("at", ""):
        # The id never changes, so that the landing keeps what it owns.
        landing_id = record.get("id") or str(uuid.uuid4())
        record = {"at": location, "id": landing_id, "landing": str(folder)}
        replace_file(files.data_location, json.dumps(record))
    return ""


def check_owner(folder: Path, *, take_ownership: bool) -> None:
    """Check that the remote data of a landing belong to it. Local data always do.

    Args:
        folder: The landing folder.
        take_ownership: Whether to write `_owner` if the data belong to no landing yet, or if the landing
            itself was relocated.

    Raises:
        InvalidInput: The data belong to another landing, or this landing was moved or copied.
    """
    data = locate_data(folder)
    if not isinstance(data, RemotePath):
        return
    own = LandingFiles(folder).read_data_location()
    if own["landing"] != str(folder):
        raise InvalidInput(
            f"{folder} was moved or copied from {own['landing']}, which owns {data}. If you moved it, run "
            "`make relocate`. If you copied it: a copy cannot land there"
        )
    owner_file = data / "_owner"
    owner = _read_owner(owner_file)
    if owner and owner["id"] != own["id"]:
        raise InvalidInput(
            f"{data} belongs to another landing, {owner['landing']} on {owner['host']}. Give this landing "
            "its own storage location (TIDEMARK_DATA_LOCATION or --data-location). If the other landing no "
            f"longer exists, move away what is at {data.parent}"
        )
    text = json.dumps({"id": own["id"], "landing": str(folder), "host": platform.node()})
    if take_ownership and not owner and not owner_file.is_file():
        owner_file.write_text(text, overwrite=False)
    elif take_ownership and (not owner or owner["landing"] != str(folder)):
        owner_file.replace_text(text)


def _read_owner(file: RemotePath) -> dict[str, str] | None:
    """Read `_owner`; None if there is none, or if it is incomplete because its writer was killed."""
    try:
        owner: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
        return owner or None
    except ValueError:
        return None


def add_data_location_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--data-location`."""
    parser.add_argument(
        "--data-location",
        default="",
        metavar="ADDRESS",
        help="storage location of the data, instead of the sink's folder: s3a://bucket/…/data or "
        "hdfs://…/data; checkpoint and records stay in the folder; ignored once a landing has started",
    )


def format_uri(path: DataPath) -> str:
    """Format a path as the URI that Spark writes to its logs."""
    return (
        quote(str(path), safe=":/=")
        if isinstance(path, RemotePath)
        else ("file://" + quote(str(path), safe="/="))
    )


def parse_uri(uri: str) -> DataPath:
    """Parse a URI from Spark's logs or metadata columns."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else RemotePath(unquote(uri))


def remove_tree(folder: DataPath) -> None:
    """Delete the folder with its contents, if it exists."""
    if isinstance(folder, RemotePath):
        folder.remove_tree()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _get_session() -> Any:
    """Return the job's Spark session; starts it if remote storage is needed before the job starts it."""
    return SparkSession.getActiveSession() or session.start_session(Path(sys.argv[0]).stem)


def _build_storage_error(uri: str, error: Py4JJavaError) -> OSError:
    """Build an OSError with the first line of Java's message, and the remedy if it is known."""
    message = str(error.java_exception.toString()).splitlines()[0]
    if "ClassNotFoundException" in message:
        message += ". The jars for s3a are missing: set TIDEMARK_DATA_LOCATION and run `make setup`, which "
        message += "installs them; jobs find them by SPARK_DIST_CLASSPATH (docs/cluster.md)"
    return OSError(f"{uri}: {message}")
