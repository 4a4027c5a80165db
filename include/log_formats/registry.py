"""All formats that are detected by each line, in the order in which they are tried.

To add one, write it in the module of its family and add it here; docs/formats.md describes it.

The modules that define formats do not import Polars, so that a DAG file can check a LogFormat. `reader`
and what it imports do. Patterns are regular expressions of Polars, whose time is linear in the line: no
look-around, no backreferences. ASCII classes are spelled out, since `\\s` and `\\d` would mean Unicode's.
"""

from include.log_formats import apache, aws
from include.log_formats.grammar import TextFormat

TEXT_FORMATS: tuple[TextFormat, ...] = (*apache.FORMATS, *aws.FORMATS)
