"""Where a landing's data lie: in `data/` beside its checkpoint, or in a store of its own.

    <folder>/data_at    the store's address, `s3a://bucket/…/data` or `hdfs://…/data`, if it has one

The address is the landing's own, written once, so that no reader can look elsewhere. `Stored` is the
part of pathlib.Path that a landing needs, by Hadoop's file systems, as Spark reaches them: the same
jars, endpoints and keys (https://hadoop.apache.org/docs/stable/hadoop-aws/tools/hadoop-aws/).
"""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from spark_jobs.runtime import session
from spark_jobs.runtime.claims import replace_text
from spark_jobs.runtime.words import Refused

ADDRESS = re.compile(r"(s3a|hdfs)://[^/\s]+(/[^/\s]+)*/data")


class Size(NamedTuple):
    """What is asked of `stat()`; bytes."""

    st_size: int


class Stored:
    """A file or folder in a store. Raises OSError with the store's own words."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"Stored({self.address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stored) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __lt__(self, other: "Stored") -> bool:
        return self.address < other.address

    def __truediv__(self, name: str) -> "Stored":
        return Stored(f"{self.address}/{name}")

    @property
    def name(self) -> str:
        return PurePosixPath(self.address).name

    @property
    def parent(self) -> "Stored":
        return Stored(self.address.rpartition("/")[0])

    def with_name(self, name: str) -> "Stored":
        return self.parent / name

    def resolve(self) -> "Stored":
        return self  # a store has no links

    def is_relative_to(self, other: "Stored") -> bool:
        return self.address.startswith(f"{other.address}/")

    def iterdir(self) -> Iterator["Stored"]:
        """What lies in the folder; nothing if there is none."""
        return iter([Stored(str(found.getPath())) for found in self._listed()])

    def glob(self, pattern: str) -> list["Stored"]:
        """What lies in the folder itself under such a name, in order."""
        return sorted(found for found in self.iterdir() if fnmatchcase(found.name, pattern))

    def is_file(self) -> bool:
        return bool(self._call("exists", self._path)) and not self.is_dir()

    def is_dir(self) -> bool:
        return bool(self._call("exists", self._path)) and bool(
            self._call("getFileStatus", self._path).isDirectory()
        )

    def stat(self) -> Size:
        return Size(self._call("getFileStatus", self._path).getLen())

    def read_text(self) -> str:
        stream = self._call("open", self._path)
        try:
            text: str = _session()._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
            return text
        finally:
            stream.close()

    def replace_text(self, text: str) -> None:
        """Write the whole file: a reader sees the old one or the new one."""
        whole = self if self.address.startswith("s3a:") else self.with_name(f".{self.name}.part")
        try:
            stream = self._call("create", whole._path, True)
            stream.write(bytearray(text.encode()))
            stream.close()  # in S3 an object is there from here on, and whole
        except Py4JJavaError as failed:
            raise _told(self.address, failed) from None
        if whole is not self:
            whole.replace(self)

    def replace(self, target: "Stored") -> "Stored":
        """Move to `target`, in place of what is there."""
        spark = _session()
        rename = getattr(spark._jvm.org.apache.hadoop.fs, "Options$Rename")
        options = spark.sparkContext._gateway.new_array(rename, 1)
        options[0] = rename.OVERWRITE
        try:
            context = spark._jvm.org.apache.hadoop.fs.FileContext.getFileContext(
                self._path.toUri(), spark._jsc.hadoopConfiguration()
            )
            context.rename(self._path, target._path, options)
        except Py4JJavaError as failed:
            raise _told(self.address, failed) from None
        return target

    def unlink(self, missing_ok: bool = False) -> None:
        if not self._call("delete", self._path, False) and not missing_ok:
            raise FileNotFoundError(f"{self.address} is not there")

    def remove_all(self) -> None:
        """Remove the folder and all in it, if it is there."""
        self._call("delete", self._path, True)

    def _listed(self) -> list[Any]:
        return list(self._call("listStatus", self._path)) if self.is_dir() else []

    @property
    def _path(self) -> Any:
        return _session()._jvm.org.apache.hadoop.fs.Path(self.address)

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            system = self._path.getFileSystem(_session()._jsc.hadoopConfiguration())
            return getattr(system, method)(*arguments)
        except Py4JJavaError as failed:
            raise _told(self.address, failed) from None


Data = Path | Stored


def data_of(folder: Path) -> Data:
    """Where the data of the landing `folder` lie."""
    kept = folder / "data_at"
    return Stored(kept.read_text().strip()) if kept.is_file() else folder / "data"


def keep_store(folder: Path, address: str) -> None:
    """Let the landing `folder` have its data at `address`. Raises Refused if they lie elsewhere."""
    if not ADDRESS.fullmatch(address):
        raise Refused(
            f"--data-at {address!r}: expected an address that ends in data, such as "
            "s3a://bucket/tidemark/access_log/kafka/data or hdfs://namenode:8020/…/data"
        )
    begun = (folder / "checkpoint").exists() or (folder / "data").exists()
    if (found := str(data_of(folder))) != address:
        if begun or (folder / "data_at").is_file():
            raise Refused(
                f"the landing {folder} has its data at {found}, not at {address}; leave the setting as "
                f"it was, or move all of {folder} away to land anew"
            )
        replace_text(folder / "data_at", f"{address}\n")


def data_at_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-at", default="", metavar="ADDRESS",
        help="where the data lie instead of in the sink's folder, where checkpoint and records stay: "
        "s3a://bucket/…/data or hdfs://…/data; a landing keeps the first it was given",
    )  # fmt: skip


def address_of(path: Data) -> str:
    """As Spark writes it: a URI."""
    return quote(str(path), safe=":/=") if isinstance(path, Stored) else (
        "file://" + quote(str(path), safe="/=")
    )  # fmt: skip


def path_at(address: str) -> Data:
    """What a URI of Spark's names."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Stored(unquote(address))


def remove_tree(folder: Data) -> None:
    """Remove the folder and all in it, if it is there."""
    if isinstance(folder, Stored):
        folder.remove_all()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _session() -> Any:
    """The job's session; the first that asks a store may be before the job itself has started it."""
    return SparkSession.getActiveSession() or session.start(Path(sys.argv[0]).stem)


def _told(address: str, failed: Py4JJavaError) -> OSError:
    """The first line of what Java says, and the remedy if we know one."""
    said = str(failed.java_exception.toString()).splitlines()[0]
    if "ClassNotFoundException" in said:
        said += "; `make s3-jars` brings what s3a needs"
    return OSError(f"{address}: {said}")
