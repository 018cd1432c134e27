"""Files as blocks of rows."""
