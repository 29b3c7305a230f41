"""Faults, one each, and the whole report that each must get."""

EMBED = "models/embed/config.pbtxt"
TOPIC = "models/topic/config.pbtxt"
LLM = "models/llm/config.pbtxt"
ROUTER = "ensembles/router/config.pbtxt"

# file, what stands there, what stands there instead, and the whole report
BROKEN = {
    "an unknown field": (
        EMBED,
        "max_batch_size: 8",
        "max_batch: 8",
        [
            f'{EMBED}:2: does not parse, column 1: Message type "inference.ModelConfig" has no '
            'field named "max_batch"'
        ],
    ),
    "an unknown data type": (
        EMBED,
        "TYPE_STRING",
        "TYPE_TEXT",
        [
            f'{EMBED}:6: does not parse, column 16: Enum type "inference.DataType" has no value '
            "named TYPE_TEXT"
        ],
    ),
    "a missing bracket": (
        ROUTER,
        "  ]\n}\n",
        "  ]\n",
        [f'{ROUTER}:21: does not parse, column 3: Expected "}}"'],
    ),
    "a name that is not its folder's": (
        EMBED,
        'backend: "python"',
        'backend: "python"\nname: "embedder"',
        [f"{EMBED}:2: name is 'embedder' and its folder is 'embed': make them the same"],
    ),
    "no backend": (
        TOPIC,
        'backend: "python"',
        "",
        [f'{TOPIC}:1: names no backend: add one, such as backend: "python"'],
    ),
    "an unknown backend": (
        LLM,
        'backend: "engine"',
        'backend: "motor"',
        [
            f"{LLM}:1: backend 'motor' is none of Triton's and ROOT/backends has no motor/model.py",
        ],
    ),
    "a version that does not exist": (
        EMBED,
        "max_batch_size: 8",
        "max_batch_size: 8\nversion_policy { specific { versions: [ 1, 3 ] } }",
        [f"{EMBED}:3: version_policy wants version 3, and there is [1]"],
    ),
    "a model file of another name": (
        EMBED,
        "max_batch_size: 8",
        'max_batch_size: 8\ndefault_model_filename: "embed.py"',
        [f"{EMBED}:1: backend 'python' needs ROOT/models/embed/1/embed.py, which does not exist"],
    ),
    "a missing environment": (
        EMBED,
        "dynamic_batching",
        'parameters { key: "A" value: { string_value: "b" } }\n'
        'parameters {\n key: "EXECUTION_ENV_PATH"\n value { string_value: "/nowhere" }\n}\n'
        "dynamic_batching",
        [f"{EMBED}:14: EXECUTION_ENV_PATH is '/nowhere', which does not exist"],
    ),
    "an input that is there twice": (
        TOPIC,
        "output {",
        'input { name: "EMBEDDING" data_type: TYPE_FP32 dims: 4 }\noutput {',
        [f"{TOPIC}:4: input 'EMBEDDING' is there twice"],
    ),
    "a tensor without a type": (
        LLM,
        "data_type: TYPE_STRING dims: [ -1 ]",
        "dims: [ -1 ]",
        [f"{LLM}:5: output 'text_output' has no data_type"],
    ),
    "a tensor without dims": (
        LLM,
        "dims: [ -1 ]",
        "",
        [f"{LLM}:5: output 'text_output' has no dims"],
    ),
    "a dimension of 0": (
        LLM,
        "dims: [ -1 ]",
        "dims: [\n 2,\n 0 ]",
        [f"{LLM}:7: output 'text_output' has a dimension of 0: use 1 or more, or -1 for any"],
    ),
    "a reshape to another size": (
        EMBED,
        "dims: [ 4 ]",
        "dims: [ 4 ] reshape: { shape: [ 2, 3 ] }",
        [
            f"{EMBED}:11: output 'EMBEDDING' has dims [4] and is reshaped to [2, 3]: "
            "another number of elements"
        ],
    ),
    "labels that do not exist": (
        TOPIC,
        "labels.txt",
        "names.txt",
        [f"{TOPIC}:8: label_filename 'ROOT/models/topic/names.txt' does not exist"],
    ),
    "fewer values than labels": (
        "models/topic/labels.txt",
        "work\n",
        "work\ncode\n",
        [
            f"{TOPIC}:8: ROOT/models/topic/labels.txt has 3 labels and output 'PROBABILITIES' has "
            "2 values: one label a line, as many as values"
        ],
    ),
    "a label that is there twice": (
        "models/topic/labels.txt",
        "work\n",
        "chat\n",
        [
            "models/topic/labels.txt:1: has the label 'chat' twice, and models are bound by label",
        ],
    ),
    "dynamic batching without batches": (
        LLM,
        "max_batch_size: 0",
        "dynamic_batching { }",
        [f"{LLM}:2: dynamic_batching does nothing while max_batch_size is 0: set it above 1"],
    ),
    "a preferred batch above the limit": (
        EMBED,
        "[ 4, 8 ]",
        "[ 4, 16 ]",
        [f"{EMBED}:14: preferred_batch_size 16 is not within 1 and max_batch_size 8"],
    ),
    "a default priority that does not exist": (
        EMBED,
        "max_queue_delay_microseconds: 500",
        "priority_levels: 2\n  default_priority_level: 3",
        [f"{EMBED}:16: default_priority_level 3 is not within 1 and priority_levels 2"],
    ),
    "a cache on a decoupled model": (
        LLM,
        "max_batch_size: 0",
        "response_cache { enable: true }",
        [f"{LLM}:2: is decoupled and has a response cache, which Triton refuses: remove one"],
    ),
    "gpus of a group on the CPU": (
        EMBED,
        "count: 1",
        "gpus: [ 0 ]",
        [f"{EMBED}:17: instance_group is KIND_CPU and names gpus [0]: remove one"],
    ),
    "a warm-up of an unknown input": (
        EMBED,
        'key: "TEXT"',
        'key: "TXT"',
        [
            f"{EMBED}:20: warm-up 'one' gives no input 'TEXT'",
            f"{EMBED}:23: warm-up 'one' gives 'TXT', which is no input of the model",
        ],
    ),
    "a warm-up of another type and shape": (
        EMBED,
        "value { data_type: TYPE_STRING dims: [ 1 ]",
        "value { data_type: TYPE_FP32 dims: [ 1, 2 ]",
        [
            f"{EMBED}:23: warm-up 'one', input 'TEXT': data_type is TYPE_FP32 and the input's is "
            "TYPE_STRING",
            f"{EMBED}:23: warm-up 'one', input 'TEXT': dims are [1, 2] and the input's are [1]",
        ],
    ),
    "a warm-up above the limit": (
        EMBED,
        "batch_size: 1",
        "batch_size: 9",
        [f"{EMBED}:22: warm-up 'one' has a batch of 9 and max_batch_size is 8"],
    ),
    "a warm-up file that does not exist": (
        EMBED,
        "zero_data: true",
        'input_data_file: "text"',
        [f"{EMBED}:23: warm-up 'one', input 'TEXT': ROOT/models/embed/warmup/text does not exist"],
    ),
    "an ensemble without its platform": (
        ROUTER,
        'platform: "ensemble"',
        "",
        [f'{ROUTER}:7: has ensemble_scheduling, so it needs platform: "ensemble"'],
    ),
    "an instance group of an ensemble": (
        ROUTER,
        "max_batch_size: 8",
        "max_batch_size: 8\ninstance_group { kind: KIND_CPU }",
        [f"{ROUTER}:3: is an ensemble, which can have no instance_group"],
    ),
    "a step that calls no model": (
        ROUTER,
        '"topic"',
        '"topics"',
        [f"{ROUTER}:16: step 2 calls model 'topics', which is in no repository"],
    ),
    "a step of a version that does not exist": (
        ROUTER,
        "model_version: -1",
        "model_version: 2",
        [f"{ROUTER}:11: step 1 (embed) wants version 2, which does not exist"],
    ),
    "a step with smaller batches": (
        TOPIC,
        "max_batch_size: 8",
        "max_batch_size: 4",
        [f"{ROUTER}:16: step 2 (topic) takes batches of 4 and the ensemble of 8: make them fit"],
    ),
    "a step that is decoupled": (
        TOPIC,
        "response_cache { enable: true }",
        "model_transaction_policy { decoupled: true }",
        [
            f"{ROUTER}:16: step 2 (topic) is decoupled, and no cancel reaches it through an "
            "ensemble: call it directly"
        ],
    ),
    "an unknown input of a step": (
        ROUTER,
        'key: "EMBEDDING" value: "vector" }\n      output_map { key: "PROB',
        'key: "VECTOR" value: "vector" }\n      output_map { key: "PROB',
        [
            f"{ROUTER}:18: step 2 (topic) is given no 'EMBEDDING'",
            f"{ROUTER}:18: step 2: model 'topic' has no input 'VECTOR', only EMBEDDING",
        ],
    ),
    "an unknown output of a step": (
        ROUTER,
        'key: "PROBABILITIES"',
        'key: "SCORES"',
        [f"{ROUTER}:19: step 2: model 'topic' has no output 'SCORES', only PROBABILITIES"],
    ),
    "an input that is mapped twice": (
        ROUTER,
        'input_map { key: "TEXT" value: "TEXT" }',
        'input_map { key: "TEXT" value: "TEXT" }\n      input_map { key: "TEXT" value: "TEXT" }',
        [f"{ROUTER}:13: step 1 (embed) maps its input 'TEXT' twice"],
    ),
    "another type along an edge": (
        TOPIC,
        "TYPE_FP32 dims: 4",
        "TYPE_FP16 dims: 4",
        [
            f"{ROUTER}:18: tensor 'vector' is TYPE_FP32 [-1, 4] as output 'EMBEDDING' of step 1 "
            "(embed) and TYPE_FP16 [-1, 4] as input 'EMBEDDING' of step 2 (topic)"
        ],
    ),
    "another size along an edge": (
        TOPIC,
        "dims: 4",
        "dims: 5",
        [
            f"{ROUTER}:18: tensor 'vector' is TYPE_FP32 [-1, 4] as output 'EMBEDDING' of step 1 "
            "(embed) and TYPE_FP32 [-1, 5] as input 'EMBEDDING' of step 2 (topic)"
        ],
    ),
    "a step without the batch dimension": (
        TOPIC,
        "max_batch_size: 8",
        "",
        [
            f"{ROUTER}:5: tensor 'TOPIC' is TYPE_FP32 [2] as output 'PROBABILITIES' of step 2 "
            "(topic) and TYPE_FP32 [-1, 2] as the ensemble's output",
            f"{ROUTER}:18: tensor 'vector' is TYPE_FP32 [-1, 4] as output 'EMBEDDING' of step 1 "
            "(embed) and TYPE_FP32 [4] as input 'EMBEDDING' of step 2 (topic)",
            f"{TOPIC}:10: dynamic_batching does nothing while max_batch_size is 0: set it above 1",
        ],
    ),
    "an output of another type": (
        ROUTER,
        'name: "TOPIC" data_type: TYPE_FP32',
        'name: "TOPIC" data_type: TYPE_INT32',
        [
            f"{ROUTER}:5: tensor 'TOPIC' is TYPE_FP32 [-1, 2] as output 'PROBABILITIES' of step 2 "
            "(topic) and TYPE_INT32 [-1, 2] as the ensemble's output"
        ],
    ),
    "an output that nothing makes": (
        ROUTER,
        'value: "TOPIC"',
        'value: "topic"',
        [
            f"{ROUTER}:5: tensor 'TOPIC', the ensemble's output, is made by no step and is "
            "no input",
            f"{ROUTER}:19: tensor 'topic', output 'PROBABILITIES' of step 2 (topic), is used by "
            "nothing: remove it",
        ],
    ),
    "an input that nothing uses": (
        ROUTER,
        "output [",
        'input { name: "USER" data_type: TYPE_STRING dims: 1 }\noutput [',
        [f"{ROUTER}:4: tensor 'USER', the ensemble's input, is used by nothing: remove it"],
    ),
    "a tensor that is made twice": (
        ROUTER,
        'value: "vector" }\n    },',
        'value: "TEXT" }\n    },',
        [
            f"{ROUTER}:13: tensor 'TEXT' is made by output 'EMBEDDING' of step 1 (embed) and by "
            "the ensemble's input: rename one",
            f"{ROUTER}:18: tensor 'vector', input 'EMBEDDING' of step 2 (topic), is made by no "
            "step and is no input",
        ],
    ),
}
