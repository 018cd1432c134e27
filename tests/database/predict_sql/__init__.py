"""`batchline predict` with SQL on both sides."""
