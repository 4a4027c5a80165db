"""The web server's access log: a generator of believable traffic, and the replay of log files."""
