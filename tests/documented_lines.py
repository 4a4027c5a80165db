"""Lines of servers' documentation, and the fields that a reader gets of them."""

from datetime import UTC, datetime


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


ARN = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067"
LB = "app/my-loadbalancer/50dc6c495c0c9188"

# docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
ALB_LINES = {
    "http": (
        f'http 2018-07-02T22:23:00.186641Z {LB} 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 200 '
        f'200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - {ARN} '
        '"Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" '
        '"-" "10.0.0.1:80" "200" "-" "-"',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 200, "content_size": 366, "user_agent": "curl/7.46.0", "seconds_taken": 0.001,
         "vhost": "www.example.com:80", "timestamp": utc("2018-07-02T22:23:00.186641")},
    ),
    "https": (
        f'https 2018-07-02T22:23:00.186641Z {LB} 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 '
        '200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 '
        f'TLSv1.2 {ARN} "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" '
        '"arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 '
        '2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_123456',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 200, "content_size": 57, "user_agent": "curl/7.46.0", "seconds_taken": 0.171,
         "vhost": "www.example.com:443", "timestamp": utc("2018-07-02T22:23:00.186641"),
         "tls_version": "TLSv1.2"},
    ),
    "HTTP/2": (
        f'h2 2018-07-02T22:23:00.186641Z {LB} 10.0.1.252:48160 10.0.0.66:9000 0.000 0.002 0.000 200 200 5 '
        '257 "GET https://10.0.2.105:773/ HTTP/2.0" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
        f'{ARN} "Root=1-58337327-72bd00b0343d75b906739c42" "-" "-" 1 2018-07-02T22:22:48.364000Z '
        '"redirect" "https://example.com:80/" "-" "10.0.0.66:9000" "200" "-" "-"',
        {"host": "10.0.1.252", "method": "GET", "endpoint": "/", "protocol": "HTTP/2.0",
         "status": 200, "content_size": 257, "user_agent": "curl/7.46.0", "seconds_taken": 0.002,
         "vhost": "10.0.2.105:773", "timestamp": utc("2018-07-02T22:23:00.186641"),
         "tls_version": "TLSv1.2"},
    ),
    "secured WebSocket": (
        f'wss 2018-07-02T22:23:00.186641Z {LB} 10.0.0.140:44244 10.0.0.171:8010 0.000 0.001 0.000 101 101 '
        '218 786 "GET https://10.0.0.30:443/ HTTP/1.1" "-" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
        f'{ARN} "Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 1 2018-07-02T22:22:48.364000Z '
        '"forward" "-" "-" "10.0.0.171:8010" "101" "-" "-"',
        {"host": "10.0.0.140", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 101, "content_size": 786, "seconds_taken": 0.001, "vhost": "10.0.0.30:443",
         "timestamp": utc("2018-07-02T22:23:00.186641"),
         "tls_version": "TLSv1.2"},
    ),
    "Lambda that failed": (
        f'http 2018-11-30T22:23:00.186641Z {LB} 192.168.131.39:2817 - 0.000 0.001 0.000 502 - 34 366 '
        f'"GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - {ARN} '
        '"Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 0 2018-11-30T22:22:48.364000Z "forward" '
        '"-" "LambdaInvalidResponse" "-" "-" "-" "-"',
        {"host": "192.168.131.39", "method": "GET", "endpoint": "/", "protocol": "HTTP/1.1",
         "status": 502, "content_size": 366, "user_agent": "curl/7.46.0", "seconds_taken": 0.001,
         "vhost": "www.example.com:80", "timestamp": utc("2018-11-30T22:23:00.186641")},
    ),
    "nothing reached, IPv6, a query": (
        f'https 2018-07-02T22:23:00.186641Z {LB} [2001:db8::7]:2817 - -1 -1 -1 503 - 0 0 '
        '"POST https://a.example:443/x/y?z=1&q=%22 HTTP/1.1" "a \\"b\\" c" - - - "-" "-" "-"',
        {"host": "2001:db8::7", "method": "POST", "endpoint": "/x/y", "query": "z=1&q=%22",
         "protocol": "HTTP/1.1", "status": 503, "content_size": 0, "user_agent": 'a \\"b\\" c',
         "vhost": "a.example:443", "timestamp": utc("2018-07-02T22:23:00.186641")},
    ),
    "no request at all": (
        f'http 2018-07-02T22:23:00.186641Z {LB} 10.0.0.9:1 - -1 -1 -1 400 - 0 272 '
        '"- http://www.example.com:80- " "-" - - - "-" "-" "-"',
        {"host": "10.0.0.9", "endpoint": "- http://www.example.com:80- ", "status": 400,
         "content_size": 272, "timestamp": utc("2018-07-02T22:23:00.186641")},
    ),
}  # fmt: skip
# caddyserver.com/docs/logging, on one line as Caddy writes it.
CADDY = {
    "level": "info", "ts": 1646861401.5241024, "logger": "http.log.access", "msg": "handled request",
    "request": {
        "remote_ip": "127.0.0.1", "remote_port": "41342", "client_ip": "127.0.0.1",
        "proto": "HTTP/2.0", "method": "GET", "host": "localhost", "uri": "/",
        "headers": {"User-Agent": ["curl/7.82.0"], "Accept": ["*/*"]},
        "tls": {"resumed": False, "version": 772, "proto": "h2", "server_name": "example.com"},
    },
    "bytes_read": 0, "user_id": "", "duration": 0.000929675, "size": 10900, "status": 200,
    "resp_headers": {"Server": ["Caddy"], "Content-Type": ["text/html; charset=utf-8"]},
}  # fmt: skip
CADDY_ROW = {
    "host": "127.0.0.1", "method": "GET", "endpoint": "/", "protocol": "HTTP/2.0", "status": 200,
    "content_size": 10900, "user_agent": "curl/7.82.0", "vhost": "localhost",
    "seconds_taken": 0.000929675, "timestamp": utc("2022-03-09T21:30:01.524102"),
    "mime_type": "text/html", "tls_version": "TLSv1.3",  # 772 is 0x0304: RFC 8446, 4.1.2
}  # fmt: skip
# nginx with `log_format … escape=json`; the keys are its variables.
NGINX = {
    "time_local": "17/May/2015:10:05:03 +0200", "remote_addr": "2001:db8::9", "remote_user": "",
    "request": 'GET /a"b\\c?x=1 HTTP/1.1', "status": "404", "body_bytes_sent": "0",
    "request_time": "0.012", "http_referer": "https://example.org/\u00e4", "http_user_agent": "x\ty",
    "host": "example.org",
}  # fmt: skip
NGINX_ROW = {
    "host": "2001:db8::9", "method": "GET", "endpoint": '/a"b\\c', "query": "x=1",
    "protocol": "HTTP/1.1", "status": 404, "content_size": 0, "seconds_taken": 0.012,
    "referrer": "https://example.org/\u00e4", "user_agent": "x\ty", "vhost": "example.org",
    "timestamp": utc("2015-05-17T08:05:03"),
}  # fmt: skip
