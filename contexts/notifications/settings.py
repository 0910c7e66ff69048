"""The settings of notifications."""

from contexts.mail_settings import MailSettings


class NotificationsSettings(MailSettings, frozen=True, kw_only=True):
    """How letters to customers leave."""
