"""Where a landing's data lie: in `data/` beside its checkpoint, or in a store of its own.

    <folder>/data_at    JSON: `at`, the store's address, `s3a://bucket/…/data` or `hdfs://…/data`, or "";
                        the landing's `id`, and its own folder, `landing`
    <data>/_owner       there: the landing to which the data belong, by its id

The address is the landing's own from its first batch on, so that no reader can look elsewhere, and the
place is the landing's own, so that nobody else writes there. `Stored` is the
part of pathlib.Path that a landing needs, by Hadoop's file systems, as Spark reaches them: the same
jars, endpoints and keys (https://hadoop.apache.org/docs/stable/hadoop-aws/tools/hadoop-aws/).
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

from spark_jobs.runtime import session
from spark_jobs.runtime.claims import replace_text
from spark_jobs.runtime.words import Refused

# A folder of its own in a bucket, without keys, which commands would show.
ADDRESS = re.compile(r"(s3a|hdfs)://[\w.-]+(:\d+)?(/(?!\.+/)[\w.=-]+)+/data")


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
            stream.close()
            return text
        except Py4JJavaError as failed:
            raise _told(self.address, failed) from None

    def write_text(self, text: str, over: bool = True) -> None:
        """Write the file; FileExistsError if it is there and must not be written `over`."""
        try:
            stream = self._call("create", self._path, over)
            stream.write(bytearray(text.encode()))
            stream.close()  # in S3 an object is there from here on, and whole
        except Py4JJavaError as failed:
            raise _told(self.address, failed) from None

    def replace_text(self, text: str) -> None:
        """Write the whole file: a reader sees the old one or the new one."""
        if self.address.startswith("s3a:"):
            self.write_text(text)
        else:
            part = self.with_name(f".{self.name}.part")
            part.write_text(text)
            part.replace(self)

    def replace(self, target: "Stored") -> "Stored":
        """Move to `target`, in place of what is there; in S3 nothing may be there."""
        if self.address.startswith("s3a:"):
            if not self._call("rename", self._path, target._path):
                raise OSError(f"{self.address} could not be moved to {target}")
            return target
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
    at = _kept(folder).get("at")
    return Stored(at) if at else folder / "data"


def settle(folder: Path, address: str) -> str:
    """Let the landing `folder` have its data at `address`, or here if that is empty.

    One that has begun stays where it is; gives then what to say about it, else nothing. Raises Refused
    if the address cannot be one.
    """
    if address and not ADDRESS.fullmatch(address):
        raise Refused(
            f"--data-at {address!r}: expected a folder that ends in data, without keys, such as "
            "s3a://bucket/tidemark/access_log/kafka/data or hdfs://namenode:8020/…/data"
        )
    progress, commits = folder / "progress.jsonl", folder / "checkpoint" / "commits"
    begun = progress.is_file() or any(commits.glob("[0-9]*")) or (folder / "data").exists()
    if begun:
        found = str(data_of(folder))
        stays = f"its data stay at {found}, where this landing began"
        return stays if address and found != address else ""
    kept = _kept(folder)
    if address != kept.get("at", ""):
        # The id is for good: what this landing has taken once stays its own.
        told = {"at": address, "id": kept.get("id") or str(uuid.uuid4()), "landing": str(folder)}
        replace_text(folder / "data_at", json.dumps(told))
    return ""


def check_owner(folder: Path, *, take: bool) -> None:
    """Raise Refused if the data of the landing `folder` belong to another one.

    What belongs to nobody is taken, if `take`. Here on the disk they are in the folder itself.
    """
    data = data_of(folder)
    if not isinstance(data, Stored):
        return
    own = _kept(folder)
    if own["landing"] != str(folder):
        raise Refused(
            f"{folder} was moved or copied from {own['landing']}, to which {data} belongs: after a move "
            "`make relocate`; a copy cannot land there"
        )
    kept = data / "_owner"
    told = _owner(kept)
    if told and told["id"] != own["id"]:
        raise Refused(
            f"{data} belongs to another landing, {told['landing']} on {told['host']}; give this one an "
            "address of its own (TIDEMARK_LANDING_DATA, or --data-at), or, if that one is gone, move away "
            f"what is at {data.parent}"
        )
    text = json.dumps({"id": own["id"], "landing": str(folder), "host": platform.node()})
    if take and not told and not kept.is_file():
        kept.write_text(text, over=False)
    elif take and (not told or told["landing"] != str(folder)):
        kept.replace_text(text)


def _kept(folder: Path) -> dict[str, str]:
    kept = folder / "data_at"
    found: dict[str, str] = json.loads(kept.read_text()) if kept.is_file() else {}
    return found


def _owner(kept: Stored) -> dict[str, str] | None:
    """Whose the place is; None for nobody's, and where who began to write it was killed."""
    try:
        found: dict[str, str] = json.loads(kept.read_text()) if kept.is_file() else {}
        return found or None
    except ValueError:
        return None


def data_at_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-at", default="", metavar="ADDRESS",
        help="where the data lie instead of in the sink's folder, where checkpoint and records stay: "
        "s3a://bucket/…/data or hdfs://…/data; a landing that has begun stays where it is",
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
        said += "; `make setup` brings what s3a needs where TIDEMARK_LANDING_DATA asks for it, and a job "
        said += "finds it by SPARK_DIST_CLASSPATH (docs/scale.md)"
    return OSError(f"{address}: {said}")
