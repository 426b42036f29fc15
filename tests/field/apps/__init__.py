"""The applications: ``python -m tests.field.apps.NAME FOLDER`` serves one until its standard input ends.

Its first line of output is its URL. :mod:`tests.field.apps.watch` has the commands that it takes after that.
"""
