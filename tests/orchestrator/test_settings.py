from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.domain.catalogue import Capability
from orchestrator.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FLEET_HOME", "FLEET_CONFIG", "FLEET_WORKER__SLOTS"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_file_the_embedded_catalogue_is_used() -> None:
    models = load_settings().models
    assert set(models) == {"llm_small", "llm_large"}
    assert Capability.TOOLS in models["llm_small"].capabilities
    assert models["llm_small"].input_price < models["llm_large"].input_price


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("fleet.toml").write_text("[worker]\nslots = 8\ncount = 2\n")
    monkeypatch.setenv("FLEET_WORKER__SLOTS", "9")
    worker = load_settings().worker
    assert (worker.slots, worker.count, worker.lease_s) == (9, 2, 10.0)


def test_a_files_models_take_the_place_of_the_embedded_ones() -> None:
    Path("fleet.toml").write_text('[models.mine]\nprovider = "triton"\nmodel = "llm_mine"\n')
    models = load_settings().models
    assert list(models) == ["mine"]
    assert models["mine"].served_as == "llm_mine"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[worker]\nslot = 8\n", "worker.slot: there is no such setting"),
        ("[worker]\nslots = 0\n", "worker.slots: Input should be greater"),
        ("[worker\n", "is not TOML"),
        ('[api]\nlisten = "banana"\n', "api.listen: 'banana' must be host:port"),
        ('[api]\nlisten = "0.0.0.0:1"\n', "api: other machines can reach .*'0.0.0.0:1', and there"),
        ('[api]\nlisten = "[::]:1"\n', "set keys up, or listen on 127.0.0.1"),
        ('log_level = "loud"\n', "log_level: must be one of debug, info, warning, error"),
        ('[models.m]\nprovider = "nobody"\n', "models.m.provider"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(text: str, says: str) -> None:
    Path("fleet.toml").write_text(text)
    with pytest.raises(SettingsError, match=says):
        load_settings()


@pytest.mark.parametrize(
    "text",
    [
        '[api]\nlisten = "[::1]:1"\n',
        '[api]\nlisten = "localhost:1"\n',
        f'[api]\nlisten = "0.0.0.0:1"\nkeys = {{ "{"0" * 64}" = "acme" }}\n',
    ],
)
def test_the_api_listens_on_this_machine_or_asks_for_keys(text: str) -> None:
    Path("fleet.toml").write_text(text)
    assert load_settings().api.listen in text


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_WORKERS__SLOTS", "9")
    with pytest.raises(SettingsError, match="FLEET_WORKERS__SLOTS"):
        load_settings()


def test_a_named_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"can't read nowhere\.toml"):
        load_settings(Path("nowhere.toml"))


def test_the_redis_url_hides_in_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_REDIS__URL", "redis://:hunter2@127.0.0.1:1/0")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert settings.redis.address.endswith("hunter2@127.0.0.1:1/0")


def test_the_limits_of_the_state_are_settings(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text("[limits]\nlive_runs = 7\n[limits.weights]\nacme = 2.0\n")
    limits = load_settings(file).limits.of_the_state()
    assert (limits.live_runs, limits.weights, limits.waiting_runs) == (7, {"acme": 2.0}, 50)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits.weights]\nacme = 0", "limits.weights.acme: Input should be greater than 0"),
        ("[limits]\nrequest_ttl_s = 900\nrun_ttl_s = 600", "must not be above run_ttl_s 600"),
    ],
)
def test_limits_that_can_not_hold_stop_the_start(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        load_settings(file)


def test_budgets_are_read_for_tenants_and_agents(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(
        '[budgets.default]\nlimit_micros = 5\nperiod = "day"\n'
        '[budgets.tenants.acme]\nlimit_micros = 7\nperiod = "total"\n'
        '[budgets.agents."acme/writer"]\nlimit_micros = 1\nperiod = "month"\n'
        "[limits]\nusage_days = 30\n"
    )
    limits = load_settings(file).state_limits
    acme, other = (list(limits.budgets.binding(name, "writer")) for name in ("acme", "other"))
    assert [(name, rule.limit_micros, rule.period) for name, rule in acme] == [
        ("", 7, "total"),
        ("writer", 1, "month"),
    ]
    assert [(name, rule.limit_micros) for name, rule in other] == [("", 5)]
    assert limits.usage_days == 30


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[budgets.tenants.acme]\nlimit_micros = -1\nperiod = 'day'", "limit_micros"),
        ("[budgets.tenants.acme]\nlimit_micros = 1.5\nperiod = 'day'", "limit_micros"),
        ("[budgets.tenants.acme]\nlimit_micros = 9007199254740992\nperiod = 'day'", "limit"),
        ("[budgets.tenants.acme]\nlimit_micros = 1\nperiod = 'week'", "'day', 'month' or 'total'"),
        ("[budgets.default]\nlimit_micros = 1", "budgets.default.period"),
        ("[budgets.agents.'no such!']\nlimit_micros = 1\nperiod = 'day'", "budgets.agents"),
        ("[budgets.tenant.acme]\nlimit_micros = 1\nperiod = 'day'", "no such setting"),
    ],
)
def test_a_wrong_budget_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match="budgets") as error:
        load_settings(file)
    assert said in str(error.value)
