"""Settings of providers, retries and several Tritons."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.settings import Settings, SettingsError, load_settings


def read(folder: Path, text: str) -> Settings:
    file = folder / "fleet.toml"
    file.write_text(text)
    return load_settings(file)


def test_the_well_known_providers_are_there_without_a_setting() -> None:
    providers = Settings().providers
    assert list(providers) == ["openai", "anthropic", "ollama"]
    key = providers["openai"].key
    assert key is not None
    assert key.env == "OPENAI_API_KEY"
    assert providers["ollama"].key is None


def test_a_table_of_a_known_provider_changes_only_what_it_names(tmp_path: Path) -> None:
    openai = read(tmp_path, "[providers.openai]\nmax_connections = 7\n").providers["openai"]
    assert (openai.max_connections, openai.kind) == (7, "openai")
    assert openai.base_url.startswith("https://")


def test_the_environment_changes_a_provider(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEET_PROVIDERS__OLLAMA__BASE_URL", "http://gpu:1/v1")
    providers = read(tmp_path, "[providers.openai]\nmax_connections = 7\n").providers
    assert providers["ollama"].base_url == "http://gpu:1/v1"
    assert providers["openai"].max_connections == 7


def test_secrets_of_a_provider_hide_in_repr(tmp_path: Path) -> None:
    settings = read(tmp_path, '[providers.ollama.headers]\nx-key = "hunter2"\n')
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[models.m]\nprovider = "lab"\n', r"models\.m\.provider is 'lab'; .* \[providers\.lab\]"),
        ('[providers.triton]\nkind = "openai"\n', "triton is no name for a provider"),
        ('[providers.lab]\nbase_url = "http://x/v1"\n', r"providers\.lab\.kind"),
        (
            '[providers.lab]\nkind = "openai"\nbase_url = "http://me:pw@x/v1"\n',
            "put the secret in key",
        ),
        ('[providers.lab]\nkind = "openai"\nbase_url = "x"\n', "must be http://host"),
        ('[providers.lab]\nkind = "openai"\nbase_url = "http://x:99999/v1"\n', "[Pp]ort"),
        ('[providers.lab]\nkind = "cohere"\nbase_url = "http://x"\n', r"providers\.lab\.kind"),
        ("[retries]\nbreaker_rest_s = inf\n", r"retries\.breaker_rest_s: .*finite"),
        ("[models.m]\nquality = { hard = nan }\n", r"models\.m\.quality\.hard"),
        ("[models.m]\nquality = { hard = 95 }\n", r"models\.m\.quality\.hard"),
        ('[triton]\naddress = "a:1"\naddresses = ["b:1"]\n', "either address or addresses"),
        ('[triton]\naddresses = ["banana"]\n', "'banana' must be host:port"),
        ('[triton]\naddresses = ["a:1", "a:1"]\n', "names a server twice"),
    ],
)
def test_a_wrong_setting_is_said_in_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as refused:
        read(tmp_path, text)
    assert "pw" not in str(refused.value)


def test_several_tritons_are_elsewhere_and_have_metrics_each(tmp_path: Path) -> None:
    triton = read(tmp_path, '[triton]\naddresses = ["a:1", "b:2"]\nmetrics_port = 9\n').triton
    assert triton.is_elsewhere
    assert triton.grpc_addresses == ("a:1", "b:2")
    assert triton.metrics_urls == ("http://a:9/metrics", "http://b:9/metrics")
    assert not Settings().triton.is_elsewhere
    assert Settings().triton.grpc_addresses == ("127.0.0.1:8001",)
