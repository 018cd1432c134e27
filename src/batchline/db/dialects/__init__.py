"""The differences between the databases, one topic per module.

SQLAlchemy calls both MySQL and MariaDB "mysql"; `dialect.is_mariadb` tells them apart.
"""
