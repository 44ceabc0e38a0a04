"""Makes a key or a name fit to be shown."""


def shown(name: str) -> str:
    """``name`` on one line: what would steer a terminal is escaped (it may come from anybody)."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
