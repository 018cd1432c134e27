"""The database: tables, statements, and what differs between databases."""
