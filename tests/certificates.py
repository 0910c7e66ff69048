"""Makes certificates for tests of TLS, with openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest


def openssl(directory: Path, *words: str) -> None:
    """Run openssl in a directory."""
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True, timeout=30)


def make_certificates(directory: Path) -> Path:
    """An authority, and certificates of it for a server at 127.0.0.1 and for a client; and a client of another one."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so there is no certificate to speak TLS with")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for authority in ("ca", "other-ca"):
        constraint = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        out = ("-keyout", f"{authority}.key", "-out", f"{authority}.pem")
        openssl(directory, "req", "-x509", *key, "-subj", f"/CN={authority}", *constraint, *out)
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "other-ca")):
        signed = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-addext", "subjectAltName=IP:127.0.0.1",
                  "-addext", "basicConstraints=critical,CA:FALSE")  # fmt: skip  # Python 3.13 is strict about it.
        out = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl(directory, "req", "-x509", *key, "-subj", f"/CN={name}", *signed, *out)
    return directory
