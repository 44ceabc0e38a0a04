"""The key of a private network: bytes, text or file; and never shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from crdtstats import Network
from crdtstats.errors import UsageError

KEY = bytes(range(32))
BASE16 = f"/key/swarm/psk/1.0.0/\n/base16/\n{KEY.hex()}\n"


@pytest.mark.parametrize(
    "given",
    [
        KEY,
        BASE16,
        BASE16.encode(),
        BASE16.upper().replace("/KEY/SWARM/PSK", "/key/swarm/psk").replace("BASE", "base"),
        BASE16.replace("\n", "\r\n"),
        BASE16.rstrip("\n"),
        "/key/swarm/psk/1.0.0/\n/base64/\n" + base64.b64encode(KEY).decode(),
        b"/key/swarm/psk/1.0.0/\n/bin/\n" + KEY,
    ],
    ids=["bytes", "text", "file bytes", "upper case", "crlf", "no last newline", "base64", "bin"],
)
def test_a_key_in_every_form(given: bytes | str, tmp_path: Path) -> None:
    assert Network(psk=given).psk == KEY
    assert Network.warpnet(psk=given).psk == KEY
    file = tmp_path / "swarm.key"
    if given != KEY:
        file.write_bytes(given if isinstance(given, bytes) else given.encode())
        assert Network(psk=file).psk == Network(psk=str(file)).psk == KEY


@pytest.mark.parametrize(
    "given",
    [
        b"",
        KEY + b"1",
        KEY.hex(),
        BASE16.replace("1.0.0", "2.0.0"),
        BASE16.replace("base16", "base32"),
        BASE16.replace("00", "0x"),
        BASE16.replace("1f", ""),
        "/no/such/swarm.key",
        "",
        "\0",
        "/",
        7,
        "/key/swarm/psk/1.0.0/\n/bin/\nshort",
        "/key/swarm/psk/1.0.0/\n/base64/\n!!!!",
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(given: object) -> None:
    with pytest.raises(UsageError) as refused:
        Network(psk=given)  # type: ignore[arg-type]
    assert KEY.hex()[2:12] not in str(refused.value)
    assert "psk" in str(refused.value) or "swarm.key" in str(refused.value)


def test_the_key_is_in_no_text_about_the_network() -> None:
    shown = repr(Network(psk=KEY)) + str(Network(psk=BASE16))
    assert "psk" not in shown
    assert KEY.hex() not in shown
