class ServerUnavailable(Exception):
    """The server is not installed and cannot be downloaded. The message names the missing part.

    A server that fails to start raises RuntimeError instead, so that tests which skip on this
    exception do not hide a real error.
    """
