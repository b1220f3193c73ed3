"""Pictures of series that data sets and alert streams share.

Series of stamps and epochs without stamp enter; drawn axes leave. Knows neither data sets nor alerts.
"""
