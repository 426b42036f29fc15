"""File formats of cookies and sessions, and importing them."""
