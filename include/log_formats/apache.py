r"""Common and combined lines, as most servers write them, both also with a virtual host in front.

Source: https://httpd.apache.org/docs/2.4/logs.html and nginx's `combined`. A field without quotes has no
space. A request or referrer with a quote that the server did not escape is read until the fields behind
it fit.
"""

from include.log_formats.grammar import (
    HOST_NAME,
    IPV4,
    LAZY_QUOTED,
    PORT,
    QUOTED,
    SIZE,
    STATUS,
    TextFormat,
)

_WORD_CHARACTER = r'[^\t-\r "]'
# The client's name by RFC 1413. An address here is from X-Forwarded-For: another format.
_IDENT = r'(?:[^\t-\r ":,.\[]+|[A-Za-z_][^\t-\r ":,\[]*)'
# Text between brackets is no user: it is an address in some formats of ingress-nginx.
_USER = (
    rf'(?:"(?P<user_2>{QUOTED})"'
    r'|(?P<user>(?:[^\t-\r "\\\[]|\\[^\t-\r ])(?:[^\t-\r "\\]|\\[^\t-\r ])*)'
    r'|(?P<user_3>\[(?:[^\t-\r "\\\]]|\\[^\t-\r ])*))'
)
_TIME = r'\[(?P<time>[^\]"]*)\]'
_STATUS_AND_SIZE = rf"(?P<status>{STATUS}) (?P<content_size>{SIZE})"
# What follows a user agent: its closing quote and any further fields, or nothing if the line is cut off.
_END = r'(?:"(?:[ \t].*)?|\\?)$'
# A referrer as it must look where other fields stand before it.
_URL = rf"-|(?:[a-z][a-z0-9+.-]*:|/){QUOTED}|"
_REST = (
    rf'(?:[ \t]+"(?P<referrer>{LAZY_QUOTED})"[ \t]+"(?P<user_agent>{LAZY_QUOTED}){_END}'
    rf'|[ \t]+"(?P<referrer_2>{QUOTED})\\?$'
    rf'|(?:[ \t]+{_WORD_CHARACTER}+)+[ \t]+"(?P<referrer_3>{_URL})"'
    rf'[ \t]+"(?P<user_agent_2>{LAZY_QUOTED}){_END}'
    rf"|(?:[ \t]+{_WORD_CHARACTER}+)*[ \t]*$)"
)
_REQUEST_AND_REST = rf'{_TIME} "(?P<request>{LAZY_QUOTED})" {_STATUS_AND_SIZE}{_REST}'
_ADDRESS = (
    rf"{IPV4}(?::{PORT})?"
    rf"|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*(?:%[0-9A-Za-z_.~-]+)?\]?(?::{PORT})?"
)
# A name alone is a virtual host only before an address: of two names nobody knows which is the client.
_VHOST = (
    rf"(?:(?P<vhost>(?:{HOST_NAME}|\[[0-9A-Fa-f.:]+\]):{PORT})"
    rf" +(?P<host>{_WORD_CHARACTER}*[0-9A-Za-z:]{_WORD_CHARACTER}*)"
    rf"|(?P<vhost_2>{HOST_NAME}|{IPV4}:{PORT}) +(?P<host_2>{_ADDRESS}))"
)

FORMATS = (
    # Nearly all lines, by a pattern that is fast because each step can go one way only. The next one
    # reads the same in them.
    TextFormat(
        "common",
        rf"(?s)^(?P<host>{_WORD_CHARACTER}+) (?:-|[A-Za-z_]+) (?P<user>[0-9A-Za-z_.@-]+) {_TIME} "
        rf'"(?P<request>[^"\\]*)" {_STATUS_AND_SIZE}'
        r'(?: "(?P<referrer>[^"\\]*)" "(?P<user_agent>[^"\\]*)"(?:[ \t].*)?)?$',
        combined_name="combined",
    ),
    TextFormat(
        "common",
        rf"(?s)^(?P<host>{_WORD_CHARACTER}*) +{_IDENT}(?: +{_USER} +| {{2,}}){_REQUEST_AND_REST}",
        has_escapes=True,
        combined_name="combined",
    ),
    TextFormat(
        "vhost_common",
        rf"(?s)^{_VHOST} +{_IDENT} +{_USER} +{_REQUEST_AND_REST}",
        has_escapes=True,
        combined_name="vhost_combined",
    ),
)
