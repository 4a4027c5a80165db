"""AWS Application Load Balancer.

Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
The client asked for a path; the load balancer writes a whole address, whose server is the virtual host
here. A time of -1 says that there is none.
"""

from include.log_formats.grammar import PORT, QUOTED, SIZE, STATUS, TextFormat

_SECONDS = r"-1|[0-9]+(?:\.[0-9]+)?"

FORMATS = (
    TextFormat(
        "alb",
        r"(?s)^(?:https?|h2|grpcs|wss?) (?P<time>[0-9T:.Z-]+)"
        rf" [^\t-\r ]+ \[?(?P<host>[^\t-\r \[\]]+?)\]?:{PORT} [^\t-\r ]+"
        rf" (?P<taken>{_SECONDS}) (?P<taken_b>{_SECONDS}) (?P<taken_c>{_SECONDS})"
        rf" (?P<status>{STATUS}) (?:[0-9]{{3}}|-) (?:[0-9]+|-) (?P<content_size>{SIZE})"
        r' "(?:(?P<method>[^\t-\r "\\]+) [a-z]+://(?P<vhost>[^/\t-\r "?\\]+)'
        rf'(?P<target>[/?]{QUOTED}) (?P<protocol>HTTP/[^\t-\r "\\]*)|(?P<request>{QUOTED}))"'
        rf' "(?P<user_agent>{QUOTED})"(?: [^\t-\r ]+ (?P<tls_version>[^\t-\r ]+))?(?:[ \t].*)?$',
        begins_with="^(?:https?|h2|grpcs|wss?) [0-9]{4}-",
    ),
)
