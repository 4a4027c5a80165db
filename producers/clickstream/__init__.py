"""The clickstream of the course: impressions and clicks, row by row or batch by batch."""
