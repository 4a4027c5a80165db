"""Reports: a day's summary as a page, as JSON and as CSV. Made from `summary.json` alone."""
