"""Clickstream producer of the course: impressions and clicks, row by row or in batches."""
