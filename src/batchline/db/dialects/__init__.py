"""Every difference between the databases, by topic, and nothing else.

SQLAlchemy calls both MySQL and MariaDB "mysql"; `dialect.is_mariadb` tells them apart.
"""
