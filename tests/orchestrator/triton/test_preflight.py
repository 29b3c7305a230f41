"""What would keep a server from working is said before it is started."""

import socket
from pathlib import Path

import pytest

from orchestrator.triton import TritonConfig, UnfitEnvironmentError
from orchestrator.triton.preflight import (
    check_glibc,
    check_numpy,
    check_paths,
    check_shared_memory,
    check_stub,
    choose_ports,
)


@pytest.mark.parametrize("version", ["glibc 2.35", "glibc 2.36", "glibc 2.101", "glibc 3.0"])
def test_a_new_enough_c_library_is_taken(version: str) -> None:
    check_glibc(version)


@pytest.mark.parametrize("version", ["glibc 2.31", "glibc 2.9", ""])
def test_an_old_or_other_c_library_is_refused(version: str) -> None:
    with pytest.raises(UnfitEnvironmentError, match=r"needs glibc 2\.35 or newer"):
        check_glibc(version)


def test_a_folder_with_a_blank_in_its_name_is_refused() -> None:
    check_paths([Path("/srv/fleet")])
    with pytest.raises(UnfitEnvironmentError, match="'/srv/my fleet/run' has a blank"):
        check_paths([Path("/srv/fleet"), Path("/srv/my fleet/run")])


def test_numpy_2_is_refused_with_what_to_do() -> None:
    check_numpy("1.26.4")
    with pytest.raises(UnfitEnvironmentError, match=r"^numpy 2\.1\.0 is .*pip install 'numpy<2'"):
        check_numpy("2.1.0")
    with pytest.raises(UnfitEnvironmentError, match="numpy is not installed"):
        check_numpy(None)


def test_too_little_shared_memory_is_refused_with_what_to_do() -> None:
    check_shared_memory(64 << 20)
    with pytest.raises(UnfitEnvironmentError, match=r"/dev/shm has 8 MiB free .* --shm-size"):
        check_shared_memory(8 << 20)


def test_a_python_without_a_stub_is_refused_with_those_that_have_one(tmp_path: Path) -> None:
    for minor in ("3.11", "3.12"):
        (tmp_path / minor).mkdir()
    with pytest.raises(UnfitEnvironmentError, match=r"only for 3\.11, 3\.12"):
        check_stub(tmp_path / "3.99" / "triton_python_backend_stub")


def test_free_ports_are_three_different_ones(tmp_path: Path) -> None:
    ports = choose_ports(TritonConfig(repositories=(), runtime_dir=tmp_path))
    assert len({ports.grpc, ports.http, ports.metrics}) == 3


def test_a_given_port_is_taken_as_it_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    config = TritonConfig(repositories=(), runtime_dir=tmp_path, grpc_port=port)
    assert choose_ports(config).grpc == port


def test_one_port_for_two_endpoints_is_refused(tmp_path: Path) -> None:
    config = TritonConfig(repositories=(), runtime_dir=tmp_path, grpc_port=8001, http_port=8001)
    with pytest.raises(UnfitEnvironmentError, match="three different ports"):
        choose_ports(config)
