"""Everything that speaks SQL: tables, statements, and the differences between databases."""
