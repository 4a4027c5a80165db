"""Small valid things to test with; a test names only the field it is about."""


def build_line(
    host: str = "192.0.2.7", user: str = "-", time: str = "17/May/2015:10:05:03 +0000",
    request: str = "GET /a HTTP/1.1", status: str = "200", size: str = "512",
    referrer: str = "-", user_agent: str = "Mozilla/5.0",
) -> str:  # fmt: skip
    """A line in combined format."""
    return f'{host} - {user} [{time}] "{request}" {status} {size} "{referrer}" "{user_agent}"'


def build_common_line(**changed: str) -> str:
    return build_line(**changed).rpartition(' "')[0].rpartition(' "')[0]
