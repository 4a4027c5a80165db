"""Access log producer: generate realistic traffic, send log files, and follow live logs."""
