class ServerUnavailable(Exception):
    """This machine cannot provide the server; the text says in one sentence what is missing.

    It means "cannot be had here", never "is broken": a server that is there but
    fails to start raises RuntimeError, so that a test suite that skips on this
    exception does not hide a real fault.
    """
