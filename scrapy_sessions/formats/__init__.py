"""File formats of cookies and sessions, and their import."""
