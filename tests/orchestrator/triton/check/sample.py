"""A small valid pair of repositories, to be broken in one place each."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.triton.check import Problem, check_repositories

EMBED = """\
backend: "python"
max_batch_size: 8
input [
  {
    name: "TEXT"
    data_type: TYPE_STRING
    dims: [ 1 ]
  }
]
output [
  { name: "EMBEDDING" data_type: TYPE_FP32 dims: [ 4 ] }
]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 500
}
instance_group [{ kind: KIND_CPU count: 1 }]
response_cache { enable: true }
model_warmup [
  {
    name: "one"
    batch_size: 1
    inputs { key: "TEXT" value { data_type: TYPE_STRING dims: [ 1 ] zero_data: true } }
  }
]
"""
TOPIC = """\
backend: "python"
max_batch_size: 8
input { name: "EMBEDDING" data_type: TYPE_FP32 dims: 4 }
output {
  name: "PROBABILITIES"
  data_type: TYPE_FP32
  dims: 2
  label_filename: "labels.txt"
}
dynamic_batching { }
response_cache { enable: true }
"""
LLM = """\
backend: "engine"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [{ name: "text_input" data_type: TYPE_STRING dims: [ 1 ] }]
output [{ name: "text_output" data_type: TYPE_STRING dims: [ -1 ] }]
"""
ROUTER = """\
platform: "ensemble"
max_batch_size: 8
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] } ]
output [
  { name: "TOPIC" data_type: TYPE_FP32 dims: [ 2 ] }
]
ensemble_scheduling {
  step [
    {
      model_name: "embed"
      model_version: -1
      input_map { key: "TEXT" value: "TEXT" }
      output_map { key: "EMBEDDING" value: "vector" }
    },
    {
      model_name: "topic"
      model_version: -1
      input_map { key: "EMBEDDING" value: "vector" }
      output_map { key: "PROBABILITIES" value: "TOPIC" }
    }
  ]
}
"""
MODEL = "class TritonPythonModel:\n    pass\n"


@dataclass(frozen=True)
class Repositories:
    root: Path

    @property
    def paths(self) -> list[Path]:
        return [self.root / "models", self.root / "ensembles"]

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new, 1))

    def check(self) -> list[Problem]:
        return check_repositories(self.paths, self.root / "backends")

    def said(self) -> list[str]:
        return [str(p).removeprefix(f"{self.root}/") for p in self.check()]
