"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something that the user can mend: one line with what, where, found and remedy.

    The command line prints the message alone; everything else keeps its traceback.
    """
