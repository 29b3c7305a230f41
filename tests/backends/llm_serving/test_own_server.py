"""Where the server is, and what its answers mean."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from backends.llm_serving.own_server import Endpoint, endpoint_of, readiness


@pytest.mark.parametrize(
    ("command", "endpoint"),
    [
        ("tritonserver", Endpoint("127.0.0.1", 8000)),
        ("tritonserver --http-address 127.0.0.2 --http-port 81", Endpoint("127.0.0.2", 81)),
        ("tritonserver --http-address=0.0.0.0 --http-port=81", Endpoint("127.0.0.1", 81)),
        ("tritonserver --http-port 81 --allow-http=false", None),
    ],
)
def test_the_servers_port_stands_in_its_command_line(
    command: str, endpoint: Endpoint | None
) -> None:
    assert endpoint_of(command.split()) == endpoint


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[3]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield Endpoint("127.0.0.1", server.server_port)
        server.shutdown()
        serving.join()


def test_only_a_plain_yes_or_no_is_an_answer(endpoint: Endpoint) -> None:
    assert readiness(endpoint, "200", "1")()
    assert not readiness(endpoint, "400", "1")()
    with pytest.raises(http.client.HTTPException, match="403"):
        readiness(endpoint, "403", "1")()
