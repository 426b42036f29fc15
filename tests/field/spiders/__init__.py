"""One spider for each application, with the login that its site needs."""
