"""Tests of the ready-made logins."""
