"""Reports of a day's summary as an HTML page, JSON and CSV. The only input is `summary.json`."""
