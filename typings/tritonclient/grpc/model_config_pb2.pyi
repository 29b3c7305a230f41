# The fields of Triton's model_config.proto that are read here.
from collections.abc import MutableMapping, Sequence
from typing import Final

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DataType: EnumTypeWrapper
TYPE_INVALID: Final[int]
TYPE_STRING: Final[int]

class ModelTensorReshape(Message):
    @property
    def shape(self) -> Sequence[int]: ...

class ModelInput(Message):
    name: str
    data_type: int
    optional: bool
    @property
    def dims(self) -> Sequence[int]: ...
    @property
    def reshape(self) -> ModelTensorReshape: ...

class ModelOutput(Message):
    name: str
    data_type: int
    label_filename: str
    @property
    def dims(self) -> Sequence[int]: ...
    @property
    def reshape(self) -> ModelTensorReshape: ...

class ModelInstanceGroup(Message):
    KIND_AUTO: Final[int]
    KIND_GPU: Final[int]
    KIND_CPU: Final[int]
    KIND_MODEL: Final[int]
    name: str
    kind: int
    count: int
    @property
    def gpus(self) -> Sequence[int]: ...

class ModelDynamicBatching(Message):
    max_queue_delay_microseconds: int
    priority_levels: int
    default_priority_level: int
    @property
    def preferred_batch_size(self) -> Sequence[int]: ...

class ModelEnsembling(Message):
    class Step(Message):
        model_name: str
        model_version: int
        @property
        def input_map(self) -> MutableMapping[str, str]: ...
        @property
        def output_map(self) -> MutableMapping[str, str]: ...

    @property
    def step(self) -> Sequence[Step]: ...

class ModelWarmup(Message):
    class Input(Message):
        data_type: int
        zero_data: bool
        random_data: bool
        input_data_file: str
        @property
        def dims(self) -> Sequence[int]: ...

    name: str
    batch_size: int
    count: int
    @property
    def inputs(self) -> MutableMapping[str, Input]: ...

class ModelTransactionPolicy(Message):
    decoupled: bool

class ModelResponseCache(Message):
    enable: bool

class ModelParameter(Message):
    string_value: str

class ModelVersionPolicy(Message):
    class Specific(Message):
        @property
        def versions(self) -> Sequence[int]: ...

    @property
    def specific(self) -> Specific: ...

class ModelConfig(Message):
    name: str
    platform: str
    backend: str
    runtime: str
    max_batch_size: int
    default_model_filename: str
    @property
    def version_policy(self) -> ModelVersionPolicy: ...
    @property
    def input(self) -> Sequence[ModelInput]: ...
    @property
    def output(self) -> Sequence[ModelOutput]: ...
    @property
    def dynamic_batching(self) -> ModelDynamicBatching: ...
    @property
    def ensemble_scheduling(self) -> ModelEnsembling: ...
    @property
    def instance_group(self) -> Sequence[ModelInstanceGroup]: ...
    @property
    def parameters(self) -> MutableMapping[str, ModelParameter]: ...
    @property
    def model_warmup(self) -> Sequence[ModelWarmup]: ...
    @property
    def model_transaction_policy(self) -> ModelTransactionPolicy: ...
    @property
    def response_cache(self) -> ModelResponseCache: ...
