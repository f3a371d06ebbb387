"""Settings: each problem is said with the variable's name, nothing is guessed, nothing secret is shown."""

from __future__ import annotations

import ssl
from importlib.resources import files
from pathlib import Path

import pytest

from schemas.playbook import default_playbook
from streams.rules.windows import Window
from streams.settings import Settings, SettingsError

FROM_THE_CONTRACT = {
    "bootstrap_servers": "127.0.0.1:9092",
    "group_id": "nps",
    "topic_prefix": "nps.",
    "partitions": 12,
    "replication_factor": 1,
    "create_topics": True,
    "state_dir": Path(".nps/state"),
    "http_host": "127.0.0.1",
    "http_port": 6066,
    "commit_interval_ms": 100,
    "windows": (Window("1d", 24), Window("7d", 168), Window("30d", 720), Window("90d", 2160)),
    "segment_crosses": (),
    "segment_limit": 10_000,
    "passive_cooldown_days": 30,
    "event_max_age_days": 30,
    "score_changed_transitions": frozenset({"passive_to_promoter"}),
    "counts_retention_days": 400,
    "scores_interval_s": 10.0,
    "event_source": "/nps",
    "session_timeout_ms": 10_000,
    "transaction_timeout_ms": 30_000,
}


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> tuple[str, ...]:
    for name, value in environment.items():
        monkeypatch.setenv(f"NPS_{name}", value)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    return caught.value.problems


def test_defaults_are_those_of_the_contract() -> None:
    settings = Settings.from_environment()
    assert {name: getattr(settings, name) for name in FROM_THE_CONTRACT} == FROM_THE_CONTRACT


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("BOOTSTRAP_SERVERS", "kafka-1:9092, kafka-2:9092", "kafka-1:9092,kafka-2:9092"),
        ("BOOTSTRAP_SERVERS", "[::1]:9092", "[::1]:9092"),
        ("PARTITIONS", "48", 48),
        ("CREATE_TOPICS", "false", False),
        ("CREATE_TOPICS", "0", False),
        ("HTTP_PORT", "0", 0),
        ("WINDOWS", "12h,400d", (Window("12h", 12), Window("400d", 9600))),
        ("SEGMENT_CROSSES", "country+industry, plan+country", (("country", "industry"), ("plan", "country"))),
        ("SEGMENT_CROSSES", "", ()),
        ("SCORE_CHANGED_TRANSITIONS", "", frozenset()),
        (
            "SCORE_CHANGED_TRANSITIONS",
            "passive_to_detractor,passive_to_promoter",
            frozenset({"passive_to_detractor", "passive_to_promoter"}),
        ),
        ("SCORES_INTERVAL_S", "0.5", 0.5),
        ("TOPIC_PREFIX", "", ""),
        ("SSL_CA_FILE", "", None),
        ("LOG_LEVEL", "debug", "debug"),
    ],
)
def test_reads(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"NPS_{name}", text)
    assert getattr(Settings.from_environment(), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("BOOTSTRAP_SERVERS", "", "must name at least one broker"),
        ("BOOTSTRAP_SERVERS", "localhost", "'localhost' is not"),
        ("BOOTSTRAP_SERVERS", "localhost:70000", "must be host:port"),
        ("GROUP_ID", "", "must not be empty"),
        ("GROUP_ID", "two words", "without spaces"),
        ("TOPIC_PREFIX", "nps/", "letters, digits, '.', '_' and '-'"),
        ("TOPIC_PREFIX", "n" * 240, "at most 226 characters"),
        ("PARTITIONS", "0", "must be at least 1"),
        ("PARTITIONS", "many", "must be an integer, not 'many'"),
        ("REPLICATION_FACTOR", "0", "must be at least 1"),
        ("CREATE_TOPICS", "perhaps", "must be true or false"),
        ("STATE_DIR", "", "must not be empty"),
        ("HTTP_PORT", "65536", "must be at most 65535"),
        ("COMMIT_INTERVAL_MS", "1", "must be at least 10"),
        ("WINDOWS", "7w", "'7w'"),
        ("WINDOWS", "401d", "longer than the 400 days"),
        ("WINDOWS", "", "''"),
        ("SEGMENT_CROSSES", "country", "2 to 8 different segment names"),
        ("SEGMENT_CROSSES", "country+country", "2 to 8 different segment names"),
        ("SEGMENT_CROSSES", "a+b+c+d+e+f+g+h+i", "2 to 8 different segment names"),
        ("SEGMENT_CROSSES", "Country+plan", "'Country'"),
        ("SEGMENT_CROSSES", "all+plan", "'all'"),
        ("SEGMENT_CROSSES", "plan+country,country+plan", "is there twice"),
        ("SEGMENT_CROSSES", ",".join(f"a+b{n}" for n in range(33)), "at most 32"),
        ("SEGMENT_LIMIT", "-1", "must be at least 1"),
        ("PASSIVE_COOLDOWN_DAYS", "-1", "must be at least 0"),
        ("EVENT_MAX_AGE_DAYS", "x", "must be an integer"),
        ("SCORE_CHANGED_TRANSITIONS", "passive_to_promotor", "did you mean passive_to_promoter?"),
        ("SCORE_CHANGED_TRANSITIONS", "promoter_to_passive", "always published as passive-detected"),
        ("SCORE_CHANGED_TRANSITIONS", "promoter_to_promoter", "unknown"),
        ("COUNTS_RETENTION_DAYS", "0", "must be at least 1"),
        ("SCORES_INTERVAL_S", "inf", "finite"),
        ("EVENT_SOURCE", "", "printable"),
        ("SESSION_TIMEOUT_MS", "10", "must be at least 1000"),
        ("TRANSACTION_TIMEOUT_MS", "900001", "must be at most 900000"),
        ("TRANSACTION_TIMEOUT_MS", "9000", "at least NPS_SESSION_TIMEOUT_MS"),
        ("BROKER_WAIT_S", "-1", "must be at least 0"),
        ("LOG_LEVEL", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
        ("SECURITY_PROTOCOL", "TLS", "'SASL_SSL'"),
        ("SASL_MECHANISM", "OAUTHBEARER", "'SCRAM-SHA-512'"),
        ("SASL_USERNAME", "ola", "has no effect with NPS_SECURITY_PROTOCOL=PLAINTEXT"),
        ("SSL_CA_FILE", "/no/such/file", "must be a file that exists"),
    ],
)
def test_refuses_and_names_the_variable(name: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = problems(monkeypatch, **{name: text})
    assert problem.startswith(f"NPS_{name}: ")
    assert said in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"COMMIT_INTERVAL_MS": "5000", "SESSION_TIMEOUT_MS": "4000"}, "NPS_SESSION_TIMEOUT_MS"),
        (
            {"COMMIT_INTERVAL_MS": "5000", "SESSION_TIMEOUT_MS": "6000", "TRANSACTION_TIMEOUT_MS": "5000"},
            "NPS_TRANSACTION_TIMEOUT_MS",
        ),
        ({"COUNTS_RETENTION_DAYS": "60"}, "NPS_WINDOWS"),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_PASSWORD": "x"}, "NPS_SASL_USERNAME"),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_USERNAME": "x"}, "NPS_SASL_PASSWORD"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_KEY_FILE": __file__}, "NPS_SSL_CERT_FILE"),
        ({"SSL_CA_FILE": __file__}, "NPS_SSL_CA_FILE"),
    ],
)
def test_refuses_what_does_not_go_together(
    environment: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = problems(monkeypatch, **environment)
    assert problem.startswith(f"{named}: ")


def test_names_every_problem_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, PARTITIONS="x", HTTP_PORT="-1", WINDOW="1d")
    assert [problem.split(":")[0] for problem in found] == ["NPS_WINDOW", "NPS_PARTITIONS", "NPS_HTTP_PORT"]


@pytest.mark.parametrize(
    ("mistyped", "nearest"),
    [("PARTITION", "PARTITIONS"), ("BOOTSTRAP_SERVER", "BOOTSTRAP_SERVERS"), ("SASL_PASSWRD", "SASL_PASSWORD")],
)
def test_refuses_an_unknown_name_and_says_the_nearest(
    mistyped: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = problems(monkeypatch, **{mistyped: "1"})
    assert problem.startswith(f"NPS_{mistyped}: ")
    assert problem.endswith(f"did you mean NPS_{nearest}?")


def test_never_repeats_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2"
    found = problems(monkeypatch, SASL_PASSWORD=secret, SSL_KEY_PASSWORD=secret, PARTITIONS="x")
    assert secret not in "".join(found)
    monkeypatch.delenv("NPS_PARTITIONS")
    monkeypatch.delenv("NPS_SSL_KEY_PASSWORD")
    monkeypatch.setenv("NPS_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("NPS_SASL_USERNAME", "ola")
    settings = Settings.from_environment()
    assert secret not in repr(settings) + str(settings) + settings.model_dump_json()


def test_kafka_arguments_without_security() -> None:
    assert Settings().kafka() == {"bootstrap_servers": "127.0.0.1:9092", "security_protocol": "PLAINTEXT"}


def test_kafka_arguments_with_sasl_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "SCRAM-SHA-256", "SASL_USERNAME": "ola",
        "SASL_PASSWORD": "hunter2", "SSL_CHECK_HOSTNAME": "false",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"NPS_{name}", value)
    arguments = Settings.from_environment().kafka()
    context = arguments.pop("ssl_context")
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname is False
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert arguments == {
        "bootstrap_servers": "127.0.0.1:9092",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "ola",
        "sasl_plain_password": "hunter2",
    }


def test_a_certificate_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPS_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("NPS_SSL_CA_FILE", __file__)
    settings = Settings.from_environment()
    with pytest.raises(SettingsError, match="NPS_SSL_CA_FILE: cannot be used"):
        settings.kafka()


def test_a_playbook_is_read_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings.from_environment().playbook() is default_playbook()
    own = tmp_path / "playbook.toml"
    text = files("schemas").joinpath("playbook.toml").read_text("utf-8")
    own.write_text(text.replace("What would have gone beyond them?", "How could we surprise you?"), "utf-8")
    monkeypatch.setenv("NPS_PLAYBOOK_FILE", str(own))
    asked = Settings.from_environment().playbook().follow_up_question("expectations_met", "en")
    assert asked.endswith("How could we surprise you?")


def test_every_hole_of_a_playbook_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "playbook.toml"
    own.write_text("[actions.unknown]\n7 = 'other'\n")
    found = problems(monkeypatch, PLAYBOOK_FILE=str(own))
    assert "NPS_PLAYBOOK_FILE: actions.unknown.8 is missing" in found
    assert "NPS_PLAYBOOK_FILE: questions.indifferent is missing" in found
    own.write_bytes(b"\xff")
    assert problems(monkeypatch, PLAYBOOK_FILE=str(own)) == (
        "NPS_PLAYBOOK_FILE: cannot be read as UTF-8 text (UnicodeDecodeError)",
    )
