"""Reads the secrets of the senders of webhooks from one setting, `SENDER=SECRET,…`. A sender may have two."""

from collections.abc import Collection, Mapping

from shared.config.secrets import Secret
from shared.config.settings import SettingsError

SECRET_LENGTH_AT_LEAST = 16


def secrets_in(text: Secret, senders: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """The secrets by sender, in the order of the text.

    Raises:
        SettingsError: it names another sender, or a secret is too short; no message quotes one.
    """
    found: dict[str, tuple[str, ...]] = {}
    for number, part in enumerate(filter(None, str(text).split(",")), 1):
        sender, _, secret = part.partition("=")
        if sender not in senders:
            there = ", ".join(senders) or "none"
            raise SettingsError((f"CHORUS_WEBHOOK_SECRETS: part {number} names no sender; there are {there}",))
        if len(secret) < SECRET_LENGTH_AT_LEAST:
            problem = f"the secret of {sender} is shorter than {SECRET_LENGTH_AT_LEAST} characters"
            raise SettingsError((f"CHORUS_WEBHOOK_SECRETS: {problem}",))
        found[sender] = (*found.get(sender, ()), secret)
    return found
