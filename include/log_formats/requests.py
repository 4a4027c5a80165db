"""The request of a line: method, path, query and protocol. Whole columns."""

import polars as pl

from include.log_formats.grammar import METHOD

_ODD_REQUEST = (
    rf"(?s)^(?P<method>{METHOD}) "
    r"(?:(?:(?P<target>.*?) )?(?P<protocol>HTTP/[^ ]*)|(?P<target_2>.*))$"
)


def split_requests(requests: pl.Series) -> pl.DataFrame:
    """Take requests apart.

    HTTP/0.9 has no protocol. What is no request at all (a TLS handshake sent to a plain port, say) has no
    method, and its text as the target.

    Args:
        requests: STRING, as the client sent it: `GET /a?b=c HTTP/1.1`.

    Returns:
        `method`, `target` and `protocol` (STRING).
    """
    words = requests.str.splitn(" ", 4).struct.unnest()
    method, target, protocol, more = words.get_columns()
    is_usual = (
        more.is_null() & protocol.str.starts_with("HTTP/") & method.str.contains(rf"^{METHOD}$")
    ).fill_null(False)
    if not is_usual.all():
        odd = (
            requests.str.extract_groups(_ODD_REQUEST)
            if not is_usual.any()
            else (
                pl.select(pl.when(~is_usual).then(requests))
                .to_series()
                .str.extract_groups(_ODD_REQUEST)
            )
        )
        odd_method, odd_target, odd_protocol, odd_target_2 = odd.struct.unnest().get_columns()
        odd_target = odd_target.fill_null(odd_target_2)
        odd_target = odd_target.zip_with(odd_method.is_not_null(), requests)
        method = method.zip_with(is_usual, odd_method)
        target = target.zip_with(is_usual, odd_target)
        protocol = protocol.zip_with(is_usual, odd_protocol)
    return pl.DataFrame({"method": method, "target": target, "protocol": protocol})
