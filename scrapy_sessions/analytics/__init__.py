"""Counters of sessions by hour, and their events."""
