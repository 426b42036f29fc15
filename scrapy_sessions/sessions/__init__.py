"""Live sessions and the manager that creates, loads, saves and deletes them."""
