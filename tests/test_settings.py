"""Settings: who wins, what is refused, and that the page about them is current."""

from pathlib import Path

import pytest

from nuska.addresses import TcpAddress, UnixAddress
from nuska.domain.limits import Limits
from nuska.settings import (
    FIELDS,
    Settings,
    SettingsError,
    as_markdown,
    default_data_directory,
    load_settings,
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nuska.toml"
    path.write_text(
        """
        listen = "127.0.0.1:1"
        access_log = true
        allowed_hosts = ["queue.example"]
        admin_mode = true

        [limits]
        max_message_ttl = 7200
        client_id_uuid_safe = "off"

        [server]
        idle_timeout = 5
        """
    )
    return path


def problems(**sources: object) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(**sources)
    return raised.value.problems


def test_nothing_given_means_every_default() -> None:
    assert load_settings() == Settings()
    assert load_settings().limits == Limits()


def test_a_file_may_set_every_table(file: Path) -> None:
    settings = load_settings(file=file)
    assert settings.address == TcpAddress("127.0.0.1", 1)
    assert settings.allowed_hosts == ("queue.example",)
    assert settings.limits.max_message_ttl == 7200
    assert settings.limits.admin_mode
    assert not settings.limits.client_id_uuid_safe
    assert settings.server.idle_timeout == 5.0


def test_the_environment_may_name_the_file(file: Path) -> None:
    assert load_settings(environment={"NUSKA_CONFIG": str(file)}).access_log


def test_a_flag_beats_the_environment_which_beats_the_file(file: Path) -> None:
    environment = {"NUSKA_LISTEN": "127.0.0.1:2", "NUSKA_MAX_MESSAGE_TTL": "9000"}
    settings = load_settings(file=file, environment=environment)
    assert (settings.listen, settings.limits.max_message_ttl) == ("127.0.0.1:2", 9000)
    settings = load_settings(
        file=file, environment=environment, flags={"listen": "127.0.0.1:3", "access_log": False}
    )
    assert (settings.listen, settings.access_log) == ("127.0.0.1:3", False)


def test_a_flag_that_was_not_given_hides_nothing(file: Path) -> None:
    settings = load_settings(file=file, flags={"listen": None, "access_log": None})
    assert (settings.listen, settings.access_log) == ("127.0.0.1:1", True)


def test_a_default_given_on_purpose_beats_a_lower_source(file: Path) -> None:
    assert load_settings(file=file, flags={"listen": Settings().listen}).listen == Settings().listen


def test_variables_of_other_programs_and_of_the_client_are_left_alone() -> None:
    environment = {"PATH": "/bin", "NUSKA_URL": "http://x", "NUSKA_PROJECT": "p"}
    assert load_settings(environment=environment) == Settings()


def test_lists_and_truths_can_be_written_in_the_environment() -> None:
    environment = {"NUSKA_ALLOWED_HOSTS": "a.example, b.example,", "NUSKA_ADMIN_MODE": "true"}
    settings = load_settings(environment=environment)
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert settings.limits.admin_mode


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('lissten = "a"\nstore = 5\n[limits]\nmax_wait = -1\n[servers]\na = 1\n')
    environment = {"NUSKA_MAX_MESAGE_TTL": "1", "NUSKA_MAX_CONNECTIONS": "many"}
    found = "\n".join(problems(file=path, environment=environment, flags={"log_format": "xml"}))
    for expected in (
        f"{path}: lissten: no such setting; perhaps listen",
        f"{path}: store: Expected str, not 5",
        f"{path}: limits.max_wait: Expected int >= 0, not -1",
        f"{path}: servers: no such setting",
        "NUSKA_MAX_MESAGE_TTL: no such setting; perhaps NUSKA_MAX_MESSAGE_TTL",
        "NUSKA_MAX_CONNECTIONS: Expected int, not 'many'",
        "--log-format: 'xml' is none of 'auto', 'human', 'json'",
    ):
        assert expected in found
    assert len(found.splitlines()) == 7


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("NUSKA_ACCESS_LOG", "maybe", "NUSKA_ACCESS_LOG: Expected bool, not 'maybe'"),
        ("NUSKA_PORT", "65536", "NUSKA_PORT: Expected int <= 65535, not '65536'"),
        ("NUSKA_LOG_LEVEL", "loud", "'loud' is none of 'debug', 'info', 'warning', 'error'"),
        ("NUSKA_CLIENT_ID_UUID_SAFE", "loose", "'loose' is none of 'strict', 'off'"),
        ("NUSKA_METRICS", "here", "unix:PATH; path and off are possible, too"),
    ],
)
def test_a_refused_value_is_shown_beside_what_would_do(
    variable: str, text: str, sentence: str
) -> None:
    [problem] = problems(environment={variable: text})
    assert sentence in problem


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("NUSKA_PORT", "65536"),
        ("NUSKA_PORT", "-1"),
        ("NUSKA_HEAD_TIMEOUT", "0"),
        ("NUSKA_HEAD_TIMEOUT", "nan"),
        ("NUSKA_HEAD_TIMEOUT", "inf"),
        ("NUSKA_MAX_CONNECTIONS", "0"),
        ("NUSKA_DEFAULT_MESSAGE_TTL", "59"),
        ("NUSKA_MAX_MESSAGES_PER_PAGE", "0"),
        ("NUSKA_LISTEN", "8888"),
        ("NUSKA_LISTEN", "::1:8888"),
        ("NUSKA_LISTEN", "localhost:http"),
        ("NUSKA_LISTEN", "unix:"),
        ("NUSKA_METRICS", "sometimes"),
        ("NUSKA_ACCESS_LOG", "maybe"),
        ("NUSKA_CLIENT_ID_UUID_SAFE", "loose"),
        ("NUSKA_PUBLIC_URL", "mq.example.net"),
        ("NUSKA_PUBLIC_URL", "ftp://mq.example.net"),
        ("NUSKA_PUBLIC_URL", "https://user:word@mq.example.net"),
        ("NUSKA_PUBLIC_URL", "https://mq.example.net/?a=b"),
        ("NUSKA_REQUIRE_CONFIRMATION", "some"),
        ("NUSKA_SUBSCRIBER_TYPES", "http,ftp"),
        ("NUSKA_ALLOWED_NETWORKS", "10.0.0.0/33"),
        ("NUSKA_ALLOWED_NETWORKS", "intranet"),
        ("NUSKA_DEFAULT_SUBSCRIPTION_TTL", "59"),
    ],
)
def test_a_value_that_cannot_be_is_refused(variable: str, text: str) -> None:
    [problem] = problems(environment={variable: text})
    assert variable in problem or variable.removeprefix("NUSKA_").lower() in problem


def test_limits_that_contradict_each_other_are_refused() -> None:
    [problem] = problems(environment={"NUSKA_MAX_CLAIM_TTL": "100"})
    assert problem == "default_claim_ttl (300) is more than max_claim_ttl (100)"


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"NUSKA_SMTP_MODE": "self_local"}, "smtp_host"),
        ({"NUSKA_SMTP_MODE": "third_part", "NUSKA_SMTP_COMMAND": " "}, "smtp_command"),
        ({"NUSKA_SMTP_USER_NAME": "me", "NUSKA_SMTP_SECURITY": "none"}, "encrypted"),
        ({"NUSKA_MAIL_FROM": "nobody"}, "mail_from"),
        ({"NUSKA_ALLOWED_NETWORKS": "10.0.0.1/8"}, "10.0.0.1/8"),
    ],
)
def test_what_does_not_go_together_about_sending_is_refused(
    environment: dict[str, str], word: str
) -> None:
    [problem] = problems(environment=environment)
    assert word in problem


def test_a_secret_that_cannot_be_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "nuska.toml"
    path.write_text("[mail]\nsmtp_user_password = 12345\n")
    [problem] = problems(file=path)
    assert "smtp_user_password" in problem
    assert "12345" not in problem


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    [missing] = problems(file=tmp_path / "none.toml")
    assert "No such file" in missing
    broken = tmp_path / "broken.toml"
    broken.write_text("listen = ")
    [unreadable] = problems(file=broken)
    assert str(broken) in unreadable


def test_zaqars_names_for_the_halves_of_the_address_work() -> None:
    settings = load_settings(environment={"NUSKA_BIND": "::1", "NUSKA_PORT": "0"})
    assert settings.address == TcpAddress("::1", 0)
    assert str(settings.address) == "[::1]:0"


def test_an_address_from_a_later_source_replaces_both_halves() -> None:
    settings = load_settings(environment={"NUSKA_PORT": "9000"}, flags={"listen": "unix:/tmp/n"})
    assert settings.address == UnixAddress("/tmp/n")


def test_data_go_where_the_user_keeps_them() -> None:
    assert default_data_directory({"XDG_DATA_HOME": "/srv"}) == Path("/srv/nuska")
    home = Path.home() / ".local" / "share" / "nuska"
    assert default_data_directory({}) == default_data_directory({"XDG_DATA_HOME": "here"}) == home


def test_every_setting_has_one_name_and_a_meaning() -> None:
    assert all(field.meaning.endswith(".") for field in FIELDS.values())
    assert set(Limits.__struct_fields__) <= set(FIELDS)


def test_the_page_of_settings_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == as_markdown()
