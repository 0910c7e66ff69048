"""The settings of the contexts that send mails."""

from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta
from msgspec.structs import force_setattr

from shared.config.secrets import SecretUrl
from shared.config.settings import Settings

MailAddress: TypeAlias = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\Z")]


class MailSettings(Settings, frozen=True, kw_only=True):
    """How mails leave; `mail_dir` is beside the databases unless it is set."""

    mail_dir: Annotated[Path | None, Meta(description="where mails are written when no SMTP server is set")] = None
    smtp_url: Annotated[SecretUrl | None, Meta(description="smtp[s]://user:password@host:port that sends mails")] = None
    mail_from: Annotated[MailAddress, Meta(description="the sender of mails")] = "shop@chorus.example"

    def __post_init__(self) -> None:
        if self.mail_dir is None:
            force_setattr(self, "mail_dir", self.data_dir / "mail")
