"""Counters and events of sessions, by the hour."""
