"""Models as data: a version is added, parsed and loaded the same way by every part."""
