"""The file of endpoints: each fault is named with its place, no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.webhooks.config import ConfigError, read_config
from streams.webhooks.signing import Secret
from tests.webhooks.receiver import OTHER_SECRET, SECRET

FULL = """
[endpoints.hubspot]
url = "https://hooks.example.com/nps?key=1"
secrets = ["env:NEW", "file:secrets/old"]
types = ["nps.passive-detected.v1", "nps.passive-withdrawn.v1"]
surveys = ["relationship-2026"]
segments = { country = ["NO", "SE"], plan = ["pro"] }
start = "beginning"
concurrency = 4

[endpoints.zendesk-2]
url = "env:ZENDESK_URL"
secrets = ["env:NEW"]
"""
ENVIRONMENT = {
    "NEW": SECRET,
    "ZENDESK_URL": "https://zendesk.example/hidden-part",
    "NPS_SECRET": SECRET,
    "EMPTY": "",
    "SHORT": "whsec_c2hvcnQ=",
    "PLAIN": "planted secret",
}


def read(folder: Path, text: str, private_hosts: tuple[str, ...] = ()) -> list[object]:
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "secrets" / "old").write_text(OTHER_SECRET + "\n")
    (folder / "secrets" / "binary").write_bytes(b"\xff")
    (folder / "webhooks.toml").write_text(text)
    return list(read_config(folder / "webhooks.toml", private_hosts, ENVIRONMENT))


def problems(folder: Path, text: str, private_hosts: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, private_hosts)
    said = [problem.removeprefix(f"{folder / 'webhooks.toml'}: ") for problem in caught.value.problems]
    assert "planted" not in str(said)
    assert SECRET not in str(said)
    return said


def test_a_full_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    read(tmp_path, FULL)
    hubspot, zendesk = read_config(tmp_path / "webhooks.toml", (), ENVIRONMENT)
    assert (hubspot.name, hubspot.host, hubspot.start, hubspot.concurrency) == (
        "hubspot",
        "hooks.example.com",
        "beginning",
        4,
    )
    text = b"event-1.1.{}"
    assert [secret.sign(text) for secret in hubspot.secrets] == [
        Secret(SECRET).sign(text),
        Secret(OTHER_SECRET).sign(text),
    ]
    assert (zendesk.start, zendesk.concurrency, zendesk.filter.types) == ("now", None, None)
    assert str(zendesk.url) == "https://zendesk.example/hidden-part"
    for endpoint in (hubspot, zendesk):
        assert "hidden" not in repr(endpoint)
        assert SECRET.removeprefix("whsec_")[:8] not in repr((endpoint, endpoint.secrets))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "ftp://x.example/"', "url must be an address such as https://crm.example.com/hooks/nps"),
        ('url = "https:///"', "url must be an address"),
        ('url = "x.example"', "url must be an address"),
        ('url = "https://x.example:99999/"', "url must be an address"),
        ('url = "https://user:planted@x.example/"', "url must have no user, password or fragment in it"),
        ('url = "https://x.example/#planted"', "url must have no user, password or fragment in it"),
        ('url = "http://x.example/"', "url must begin with https:// (x.example is not in NPS_WEBHOOKS_PRIVATE_HOSTS)"),
        ('url = "https://10.0.0.1/"', "url must not be a private or link-local address (10.0.0.1 is not in"),
        ('url = "https://[::1]/"', "url must not be a private or link-local address (::1 is not in"),
        ('url = "https://169.254.169.254/"', "url must not be a private or link-local address"),
        ('url = "env:NOBODY"', "url names the variable NOBODY, which is not set"),
        ('url = "env:PLAIN"', "url must be an address"),
        ("url = 1", ".url: url must be a string"),
        ('secrets = ["whsec_planted"]', "secrets[0] must say where it is: env:NAME or file:PATH"),
        ('secrets = ["env:"]', "secrets[0] must say where it is"),
        ('secrets = ["env:EMPTY"]', "secrets[0] names the variable EMPTY, which is not set"),
        ('secrets = ["env:NPS_SECRET"]', "secrets[0] names a variable that begins with NPS_: those are settings"),
        ('secrets = ["env:NEW", "env:PLAIN"]', "secrets[1] must be whsec_ and 24 to 64 bytes in base64"),
        ('secrets = ["env:SHORT"]', "secrets[0] must be whsec_ and 24 to 64 bytes in base64"),
        ('secrets = ["file:nothing"]', "secrets[0] names the file nothing, which cannot be read: No such file"),
        ('secrets = ["file:secrets/binary"]', "secrets[0] names the file secrets/binary, which is not text in UTF-8"),
        ("secrets = []", ".secrets: secrets must be a list of 1 to 2 strings"),
        ('secrets = ["a", "b", "c"]', ".secrets: secrets must be a list of 1 to 2 strings"),
        ('secrets = "planted"', ".secrets: secrets must be a list"),
        ('types = ["nps.passive-detected"]', "types[0] is no type of event; did you mean nps.passive-detected.v1?"),
        ("types = []", ".types: types must be a list of types of events"),
        ("surveys = [1]", ".surveys[0]: surveys must be a list of survey ids"),
        ('segments = { Country = ["NO"] }', ".segments.Country: a segment's name must match [a-z]"),
        ('segments = { all = ["NO"] }', ".segments.all: a segment's name must match [a-z]"),
        ('segments = { country = "NO" }', ".segments.country: segments must be a table of lists"),
        ('start = "later"', '.start: start must be "now" or "beginning"'),
        ("concurrency = 0", ".concurrency: concurrency must be an integer from 1 to 256"),
        ("concurrency = 257", ".concurrency: concurrency must be"),
        ('ca_file = "nothing"', "ca_file cannot be used: No such file"),
        ('ca_file = "webhooks.toml"', "ca_file cannot be used: "),
        ('secret = "planted"', ".secret is not known; did you mean secrets?"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, line: str, said: str) -> None:
    fields = {"url": 'url = "https://x.example/"', "secrets": 'secrets = ["env:NEW"]'}
    fields[line.partition(" =")[0]] = line
    (problem,) = problems(tmp_path, "[endpoints.a]\n" + "\n".join(fields.values()))
    assert problem.startswith("endpoints.a." + said.lstrip("."))


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = """
    nonsense = 1
    [endpoints.Upper]
    url = "https://x.example/"
    secrets = ["env:NEW"]
    [endpoints.b]
    types = ["x"]
    secrets = ["env:NOBODY"]
    url = "http://x.example/"
    [endpoints.c]
    url = "https://x.example/"
    """
    said = problems(tmp_path, text)
    assert [problem.split()[0] for problem in said] == [
        "nonsense",
        "endpoints.Upper:",
        "endpoints.b.url",
        "endpoints.b.secrets[0]",
        "endpoints.b.types[0]",
        "endpoints.c.secrets",
    ]


def test_a_field_that_is_wrong_or_unknown_hides_no_other_fault(tmp_path: Path) -> None:
    text = """
    [endpoints.a]
    url = "ftp://x.example/"
    secrets = ["env:NOBODY", "env:NEW"]
    types = ["foo", "nps.score-changed.v1"]
    surveys = [1]
    segments = { country = "NO" }
    start = "later"
    ca_file = "nothing"
    concurency = 1
    [endpoints.b]
    url = 1
    secrets = ["env:NOBODY", 1]
    types = ["foo", 1]
    [endpoints.c]
    types = ["foo"]
    """
    assert {problem.split()[0].rstrip(":") for problem in problems(tmp_path, text)} == {
        "endpoints.a.url",
        "endpoints.a.secrets[0]",
        "endpoints.a.types[0]",
        "endpoints.a.surveys[0]",
        "endpoints.a.segments.country",
        "endpoints.a.start",
        "endpoints.a.ca_file",
        "endpoints.a.concurency",
        "endpoints.b.url",
        "endpoints.b.secrets[0]",
        "endpoints.b.secrets[1]",
        "endpoints.b.types[0]",
        "endpoints.b.types[1]",
        "endpoints.c.url",
        "endpoints.c.secrets",
        "endpoints.c.types[0]",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "endpoints must be 1 to 64 tables [endpoints.NAME]"),
        ("endpoints = 1", "endpoints must be 1 to 64 tables"),
        ("[endpoints]", "endpoints must be 1 to 64 tables"),
        ("[endpoints]\na = 1", "endpoints.a must be a table"),
        ("[endpoints", "is not TOML"),
    ],
)
def test_no_endpoints(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in problem for problem in problems(tmp_path, text))


def test_64_endpoints_and_no_more(tmp_path: Path) -> None:
    table = '[endpoints.e{}]\nurl = "https://x.example/"\nsecrets = ["env:NEW"]\n'
    assert len(read(tmp_path, "".join(table.format(n) for n in range(64)))) == 64
    assert problems(tmp_path, "".join(table.format(n) for n in range(65)))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_config(tmp_path / "nothing.toml", (), {})


def test_hosts_that_are_named_may_be_private_and_without_tls(tmp_path: Path) -> None:
    text = '[endpoints.a]\nurl = "http://10.0.0.1/x"\nsecrets = ["env:NEW"]'
    assert problems(tmp_path, text, ("10.0.0.2",))
    read(tmp_path, text, ("10.0.0.1",))
    (endpoint,) = read_config(tmp_path / "webhooks.toml", ("10.0.0.1",), ENVIRONMENT)
    assert endpoint.private_allowed
