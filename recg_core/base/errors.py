"""The one exception that a user's mistake raises."""

from recg_core.base.secrets import without_secrets


class UserError(ValueError):
    """Something the user can mend: the message says what was found, where, and what to do.

    The command line prints the message alone and exits with status 1; any other exception is a
    defect of this project and keeps its traceback. Addresses in the message lose their secrets.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))
