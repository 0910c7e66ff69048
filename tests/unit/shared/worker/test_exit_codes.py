"""A worker that cannot start says whether its configuration is wrong or its code: the one is not worth a restart."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.config.exit_codes import Exit
from tests.waiting import WITHIN_S

PROGRAM = """
import sys
import anyio
from pathlib import Path
from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.ports.broker import BrokerDeniedError, BrokerError, BrokerLoginError
from shared.streams.file import StreamsFileError
from shared.worker.main import run_member

def load():
    raise {error}

options = ConnectionOptions(servers=("nats://127.0.0.1:1",))
settings = Settings(data_dir=Path(sys.argv[1]), log_format="json")
sys.exit(anyio.run(lambda: run_member("till", load, settings=settings, connection=options)))
"""


@pytest.mark.parametrize(
    ("error", "code", "event"),
    [
        ('StreamsFileError(("streams.yaml:1: wrong",))', Exit.MISCONFIGURED, "bad configuration"),
        ('BrokerDeniedError("denied")', Exit.DENIED, "permission missing"),
        ('BrokerLoginError("refused")', Exit.MISCONFIGURED, "login refused"),
        ('BrokerError("away")', Exit.BROKER_AWAY, "broker away"),
        ('ExceptionGroup("", [BrokerDeniedError("denied")])', Exit.DENIED, "permission missing"),
        ('ExceptionGroup("", [BrokerLoginError("refused")])', Exit.MISCONFIGURED, "login refused"),
        ('ValueError("no number")', Exit.INTERNAL, "stopped by a fault"),
        ('KeyError("no key")', Exit.INTERNAL, "stopped by a fault"),
    ],
)
def test_only_a_wrong_configuration_is_called_one(tmp_path: Path, error: str, code: Exit, event: str) -> None:
    program = PROGRAM.format(error=error)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ended.returncode == code
    assert f'"event": "{event}"' in ended.stderr
    assert ("Traceback" in ended.stderr) is (code == Exit.INTERNAL)
