"""Crawls of real applications, each in a process of its own on the loopback interface: ``tox -e field``."""
