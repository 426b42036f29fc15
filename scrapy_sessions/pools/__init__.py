"""Pools of sessions: what a request asks for, and whose turn it is."""
