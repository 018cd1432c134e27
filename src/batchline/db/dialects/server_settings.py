"""Settings of MySQL and MariaDB with which Batchline cannot work."""

from sqlalchemy import Connection

from batchline.db.dialects.packets import SMALLEST_PACKET
from batchline.errors import ConfigurationError

NAMES = ("log_bin", "binlog_format", "max_allowed_packet")


def check_settings(connection: Connection) -> None:
    """Check the settings of the server.

    Raises:
        ConfigurationError: the server rejects statements that Batchline needs.
    """
    if connection.dialect.name not in ("mysql", "mariadb"):
        return
    query = f"SHOW VARIABLES WHERE Variable_name IN {NAMES}"
    found = {row[0]: str(row[1]) for row in connection.exec_driver_sql(query)}
    if found.get("log_bin") == "ON" and found.get("binlog_format") == "STATEMENT":
        raise ConfigurationError(
            "the server's binlog_format is STATEMENT, with which it rejects writes of READ "
            "COMMITTED transactions",
            hint="set binlog_format to ROW on the server, in its configuration file too",
        )
    if int(found["max_allowed_packet"]) < SMALLEST_PACKET:
        raise ConfigurationError(
            f"the server's max_allowed_packet must be at least {SMALLEST_PACKET}, got "
            f"{found['max_allowed_packet']}",
            hint="raise max_allowed_packet on the server, in its configuration file too",
        )
