"""The detection engine: pure, single-threaded, and told the time.

Nothing in this package imports Django, does I/O, starts a thread or reads a clock.
"""
