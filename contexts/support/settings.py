"""The settings of support."""

from typing import Annotated

from msgspec import Meta

from contexts.mail_settings import MailAddress, MailSettings


class SupportSettings(MailSettings, frozen=True, kw_only=True):
    """The operator's address, and how mails leave."""

    operator_email: Annotated[MailAddress, Meta(description="the address that is told of a new ticket")] = (
        "operator@chorus.example"
    )
